"""From variance forecasts to value at risk and expected shortfall, day by day, from what was known the day before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.data.market_features import MarketPanel
from leanrisk.evaluate.value_at_risk import pinball_losses
from leanrisk.models.market.historical_simulation import Tail, asset_tail, portfolio_tail, student_tail
from leanrisk.pipelines.market_recipe import WalkConfig
from leanrisk.pipelines.market_walk import Period

Floats = npt.NDArray[np.float64]

TAILS = {"99": 0.01, "97.5": 0.025}
"""Levels by name: 99 % for the traffic light, 97.5 % for the expected shortfall of the Basel framework."""
FHS, STUDENT = "fhs", "student"
_STUDENT_EVERY = 20
"""Days that a fitted law stays: fitting it each day changes nothing that can be seen."""


@dataclass(frozen=True)
class Risk:
    """One model's forecasts over the test: variance with its level set, and tails by name.

    `variance`, `quantile[...]` and `shortfall[...]` are (days, assets), log returns; `portfolio_quantile[...]` and
    `portfolio_shortfall[...]` (days,) simple returns of the equally weighted portfolio. `method` is how the assets'
    tails were made, chosen on the burn-in by pinball loss; a portfolio's come from whole past days (`fhs`).
    """

    variance: Floats
    quantile: dict[str, Floats]
    shortfall: dict[str, Floats]
    portfolio_quantile: dict[str, Floats]
    portfolio_shortfall: dict[str, Floats]
    method: str


def risk_of(variance: Floats, panel: MarketPanel, period: Period, config: WalkConfig) -> Risk:
    """Return what forecasts `variance` (days, assets) say of the test's days.

    The level of a day's forecast is set so that, over the last `residuals` days whose outcomes were known, outcomes
    over forecasts had a mean of one: models that aim at squared returns and models that aim at a range are then judged
    alike. The tails are those of the standardised returns of the same days.
    """
    ahead, returns = panel.variance_next, panel.returns_next
    residuals = np.full_like(variance, np.nan)
    known = slice(period.start, period.stop)
    residuals[known] = returns[known] / np.sqrt(variance[known])
    method = _chosen(variance, residuals, returns, period)
    days = range(period.test, period.stop)
    size = (len(days), variance.shape[1])
    levels = np.empty(len(days))
    found = {name: (np.empty(size), np.empty(size), np.empty(len(days)), np.empty(len(days))) for name in TAILS}
    weights = np.full(size[1], 1.0 / size[1])
    volatility = np.sqrt(variance)
    for place, day in enumerate(days):
        past = _past(day, period, config)
        levels[place] = float(np.mean(ahead[past] / variance[past]))
        fresh = place % _STUDENT_EVERY == 0
        for name, tail in TAILS.items():
            if method == FHS or fresh:
                last = _tail(residuals[past], tail, method)
                found[name][0][place:], found[name][1][place:] = last.quantile, last.shortfall
            whole = portfolio_tail(residuals[past], volatility[day], weights, tail=tail)
            found[name][2][place], found[name][3][place] = whole.quantile, whole.shortfall
    scale = volatility[period.test : period.stop]
    return Risk(
        variance=levels[:, None] * variance[period.test : period.stop],
        quantile={name: parts[0] * scale for name, parts in found.items()},
        shortfall={name: parts[1] * scale for name, parts in found.items()},
        portfolio_quantile={name: parts[2] for name, parts in found.items()},
        portfolio_shortfall={name: parts[3] for name, parts in found.items()},
        method=method,
    )


def portfolio_returns(panel: MarketPanel, period: Period) -> Floats:
    """Return the simple returns of the equally weighted portfolio, rebalanced each day, over the test, (days,)."""
    return np.asarray(np.expm1(panel.returns_next[period.test : period.stop]).mean(axis=1), dtype=np.float64)


def _past(day: int, period: Period, config: WalkConfig) -> slice:
    """Return the days whose forecasts were out of sample and whose outcomes are known at the close of `day`."""
    return slice(max(period.start, day - config.residuals), day)


def _tail(residuals: Floats, tail: float, method: str) -> Tail:
    return asset_tail(residuals, tail=tail) if method == FHS else student_tail(residuals, tail=tail)


def _chosen(variance: Floats, residuals: Floats, returns: Floats, period: Period) -> str:
    """Return the method with the least pinball loss on the second half of the burn-in, its tails from the first."""
    middle = (period.start + period.test) // 2
    losses = dict.fromkeys((FHS, STUDENT), 0.0)
    if (middle - period.start) * variance.shape[1] * min(TAILS.values()) < 1:
        return STUDENT
    judged = slice(middle, period.test)
    for method in losses:
        for tail in TAILS.values():
            told = _tail(residuals[period.start : middle], tail, method).quantile * np.sqrt(variance[judged])
            losses[method] += float(pinball_losses(returns[judged], told, tail=tail).mean()) / tail
    return min(losses, key=lambda method: losses[method])
