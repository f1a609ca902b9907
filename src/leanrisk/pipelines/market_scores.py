"""Every figure of one model on the test: losses of variance and tails, backtests, zones, and what its fits took."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.measurement import Interval
from leanrisk.data.market_features import MarketPanel
from leanrisk.evaluate.coverage import christoffersen_coverage, christoffersen_independence, kupiec
from leanrisk.evaluate.diebold_mariano import loss_difference
from leanrisk.evaluate.traffic_light import Zone, traffic_light
from leanrisk.evaluate.value_at_risk import exceedances, fz0_losses, pinball_losses, shortfall_statistic
from leanrisk.evaluate.volatility import qlike_losses, volatility_errors
from leanrisk.pipelines.market_tails import TAILS, Risk, portfolio_returns
from leanrisk.pipelines.market_walk import Period, Walk

Floats = npt.NDArray[np.float64]
_LEVEL = 0.05


def daily_losses(risk: Risk, panel: MarketPanel, period: Period) -> dict[str, Floats]:
    """Return the mean loss over assets of each day of the test, (days,), by name: mae, qlike, pinball_99, pinball_97.5.

    mae is in per cent of price a day, pinball in hundredths of a per cent. `true_mae` compares with the simulator's
    volatility, where that is known, each model's level set on it alone.
    """
    days = slice(period.test, period.stop)
    proxy, returns = panel.variance_next[days], panel.returns_next[days]
    found = {
        "mae": volatility_errors(proxy, risk.variance).mean(axis=1),
        "qlike": qlike_losses(proxy, risk.variance).mean(axis=1),
    }
    for name, tail in TAILS.items():
        found[f"pinball_{name}"] = 1e4 * pinball_losses(returns, risk.quantile[name], tail=tail).mean(axis=1)
    truth = panel.true_vol_next
    if truth is not None:
        level = np.mean(truth[days] ** 2 / risk.variance)
        found["true_mae"] = volatility_errors(truth[days] ** 2, level * risk.variance).mean(axis=1)
    return found


def model_row(walk: Walk, risk: Risk, panel: MarketPanel, period: Period) -> dict[str, Any]:
    """Return one model's part of result.json."""
    losses = daily_losses(risk, panel, period)
    return {
        **{name: asdict(_mean(values)) for name, values in losses.items()},
        "method": risk.method,
        "portfolio": _portfolio(risk, panel, period),
        "assets": _assets(risk, panel, period),
        "bytes": walk.model.size_bytes,
        "train": {
            "fits": len(walk.fits),
            "first": asdict(walk.fits[0]),
            "refit": None if walk.refit is None else asdict(walk.refit),
            "cpu_s": walk.cost.cpu_s,
        },
    }


def comparison(before: dict[str, Floats], after: dict[str, Floats]) -> dict[str, Any]:
    """Return lean against an incumbent, by loss: the difference as a share of the incumbent's, with its interval."""
    return {name: asdict(loss_difference(before[name], after[name], relative=True)) for name in before}


def _mean(losses: Floats) -> Interval:
    return loss_difference(np.zeros(losses.size), losses)


def _portfolio(risk: Risk, panel: MarketPanel, period: Period) -> dict[str, Any]:
    """Return the backtests of the equally weighted portfolio: one series, so that the tests mean what they say."""
    returns = portfolio_returns(panel, period)
    found: dict[str, Any] = {}
    for name, tail in TAILS.items():
        quantile, shortfall = risk.portfolio_quantile[name], risk.portfolio_shortfall[name]
        hits = exceedances(returns, quantile)
        found[name] = {
            "exceedances": int(hits.sum()),
            "expected": tail * hits.size,
            "kupiec_p": kupiec(hits, tail=tail).p_value,
            "independence_p": christoffersen_independence(hits).p_value,
            "coverage_p": christoffersen_coverage(hits, tail=tail).p_value,
            "pinball": 1e4 * float(pinball_losses(returns, quantile, tail=tail).mean()),
            "fz0": float(fz0_losses(returns, quantile, shortfall, tail=tail).mean()),
            "z2": shortfall_statistic(returns, quantile, shortfall, tail=tail),
        }
    found["zones"] = asdict(traffic_light(exceedances(returns, risk.portfolio_quantile["99"])))
    return found


def _assets(risk: Risk, panel: MarketPanel, period: Period) -> dict[str, Any]:
    """Return the backtests of each asset by itself, counted: shares of exceedances, rejections, zones."""
    returns = panel.returns_next[period.test : period.stop]
    found: dict[str, Any] = {}
    for name, tail in TAILS.items():
        hits = exceedances(returns, risk.quantile[name])
        columns = list(np.ascontiguousarray(hits.T))
        found[name] = {
            "share": float(hits.mean()),
            "kupiec_rejected": sum(kupiec(column, tail=tail).p_value < _LEVEL for column in columns),
            "independence_rejected": sum(christoffersen_independence(column).p_value < _LEVEL for column in columns),
            "fz0": float(fz0_losses(returns, risk.quantile[name], risk.shortfall[name], tail=tail).mean()),
            "z2": shortfall_statistic(returns, risk.quantile[name], risk.shortfall[name], tail=tail),
        }
    lights = [traffic_light(column) for column in np.ascontiguousarray(exceedances(returns, risk.quantile["99"]).T)]
    for which in ("last", "worst"):
        counts = Counter(getattr(light, which) for light in lights)
        found[f"zones_{which}"] = {zone.value: counts[zone] for zone in Zone}
    return found
