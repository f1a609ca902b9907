"""The market-risk job: walk all models forward, judge them, and hand over the lean one where it is not worse."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from leanrisk.core.files import replacing, writable_folder, write_json
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.version import __version__
from leanrisk.cost.ledger import Ledger
from leanrisk.data.market_features import MarketPanel, market_panel
from leanrisk.data.market_prices import Prices
from leanrisk.evaluate.diebold_mariano import loss_difference
from leanrisk.evaluate.gates import GateConfig, GateResult, Verdict, accepted
from leanrisk.evaluate.intervals import ONE_SIDED_95
from leanrisk.evaluate.volatility import qlike_losses
from leanrisk.pipelines.job import BUNDLE
from leanrisk.pipelines.machine import machine_facts
from leanrisk.pipelines.market_bundle import write_market_bundle
from leanrisk.pipelines.market_lean import LeanVariance, measured_variance
from leanrisk.pipelines.market_models import variance_model
from leanrisk.pipelines.market_recipe import LEAN, MarketRecipe
from leanrisk.pipelines.market_scores import comparison, daily_losses, model_row
from leanrisk.pipelines.market_tails import Risk, portfolio_returns, risk_of
from leanrisk.pipelines.market_walk import Period, Walk, walked
from leanrisk.registry.bundle import check_replaceable
from leanrisk.report.page import write_report

_SILENT = Silent()
_RESULT, _EVIDENCE, _FORECASTS = "result.json", "evidence.json", "forecasts.parquet"


@dataclass(frozen=True)
class Walked:
    """All models' walks over one panel, and what they say of the test's days, by name."""

    panel: MarketPanel
    period: Period
    walks: dict[str, Walk]
    risks: dict[str, Risk]
    ledger: Ledger

    def burn_in(self, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the mean QLIKE over assets of each day of the burn-in, the level set on the burn-in itself."""
        days = slice(self.period.start, self.period.test)
        ahead, told = self.panel.variance_next[days], self.walks[name].variance[days]
        return np.asarray(qlike_losses(ahead, told * np.mean(ahead / told)).mean(axis=1), dtype=np.float64)


def walk_models(
    prices: Prices, recipe: MarketRecipe, *, seed: int, also: Sequence[str] = (), progress: Progress = _SILENT
) -> Walked:
    """Return the walks of the recipe's models, of the lean one and of those named in `also`.

    Raises `DataError` for too short a history.
    """
    panel = market_panel(prices)
    period = Period.of(panel, recipe.walk)
    ledger = Ledger()
    walks = {}
    for name in (*recipe.models, LEAN, *also):
        model = variance_model(name, recipe, seed=seed)
        walks[name] = walked(name, model, panel, recipe.walk, ledger, progress=progress)
    risks = {}
    with progress.track("tails of the forecasts", len(walks)) as advance:
        for name, walk in walks.items():
            risks[name] = risk_of(walk.variance, panel, period, recipe.walk)
            advance(1)
    return Walked(panel, period, walks, risks, ledger)


def run_market(
    prices: Prices,
    recipe: MarketRecipe,
    *,
    out: Path | str,
    seed: int = 0,
    name: str = "",
    preset: str = "standard",
    progress: Progress = _SILENT,
) -> dict[str, Any]:
    """Return the content of result.json after the whole job.

    Writes into `out`: result.json, evidence.json, forecasts.parquet, report.html, report.zh.html and, where the gate
    lets the lean model through, bundle/.
    """
    folder = writable_folder(Path(out))
    check_replaceable(folder / BUNDLE)
    done = walk_models(prices, recipe, seed=seed, progress=progress)
    best, gate = _gate(done, recipe)
    kept, reason = accepted([gate], GateConfig())
    result = {
        "leanrisk": __version__,
        "scenario": recipe.name,
        "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "preset": preset,
        "machine": machine_facts(),
        "data": _data(done, prices, name),
        "market": _figures(done, recipe, best),
        "gates": [{**gate.to_dict(), "name": f"final: {gate.name}"}],
        "kept": kept,
        "reason": reason,
    }
    write_market_bundle(
        folder / BUNDLE,
        done.walks[LEAN],
        done.panel,
        result if kept else None,
        residuals=recipe.walk.residuals,
    )
    with replacing(folder / _FORECASTS) as part:
        _forecasts(done).write_parquet(part)
    write_json(folder / _EVIDENCE, {"market": _series(done, best), "limits": list(recipe.limits)})
    write_json(folder / _RESULT, result)
    for language, page in (("en", "report.html"), ("zh", "report.zh.html")):
        write_report(folder, out=folder / page, language=language)
    return result


def _gate(done: Walked, recipe: MarketRecipe) -> tuple[str, GateResult]:
    """Return the best incumbent on the burn-in, and whether lean is not worse there in QLIKE than it."""
    losses = {name: done.burn_in(name) for name in done.walks}
    best = min(recipe.models, key=lambda model: float(losses[model].mean()))
    found = loss_difference(losses[best], losses[LEAN], level=ONE_SIDED_95, relative=True)
    margin = recipe.qlike_margin
    verdict = Verdict.PASSED if found.hi < margin else Verdict.FAILED if found.lo > margin else Verdict.NOT_PROVEN
    return best, GateResult("qlike", verdict, found.value, found.lo, found.hi, margin, higher_is_better=False)


def _figures(done: Walked, recipe: MarketRecipe, best: str) -> dict[str, Any]:
    rows = {n: model_row(walk, done.risks[n], done.panel, done.period) for n, walk in done.walks.items()}
    losses = {name: daily_losses(risk, done.panel, done.period) for name, risk in done.risks.items()}
    lean = done.walks[LEAN].model
    assert isinstance(lean, LeanVariance)
    assert lean.served is not None
    stop = done.period.stop
    served = measured_variance(lean.served, done.panel.rows(stop - 60, stop), calls=2000)
    return {
        "models": rows,
        "best_incumbent": best,
        "against": {name: comparison(losses[name], losses[LEAN]) for name in recipe.models},
        "walk": asdict(recipe.walk),
        "lean": {
            "lineage": list(lean.served.lineage),
            "precision": lean.served.precision,
            "latency_ms": None if served.latency_ms is None else asdict(served.latency_ms),
            "features": served.features,
            "tuning": getattr(lean.served.model, "tuning", None),
        },
    }


def _data(done: Walked, prices: Prices, name: str) -> dict[str, Any]:
    days, period = done.panel.days, done.period
    digest = hashlib.sha256(np.ascontiguousarray(prices.close).tobytes() + prices.dates.astype(str).tobytes())
    return {
        "name": name,
        "assets": len(prices.assets),
        "days": prices.days,
        "features": len(done.panel.dataset.features),
        "variance": done.panel.proxy_name,
        "fear": prices.fear is not None,
        "sha256": digest.hexdigest(),
        "notes": list(prices.notes),
        "split": {
            "first_fit": [str(days[0]), str(days[period.start])],
            "burn_in": [str(days[period.start + 1]), str(days[period.test])],
            "test": [str(days[period.test + 1]), str(days[period.stop])],
            "test_days": period.stop - period.test,
        },
    }


def _series(done: Walked, best: str) -> dict[str, Any]:
    """Return the portfolio's returns with the value at risk of the lean model and of the best incumbent, day by day."""
    days = done.panel.days[done.period.test + 1 : done.period.stop + 1]
    return {
        "days": [str(day) for day in days],
        "returns": portfolio_returns(done.panel, done.period).tolist(),
        "quantiles": {name: done.risks[name].portfolio_quantile["99"].tolist() for name in (LEAN, best)},
        "best_incumbent": best,
    }


def _forecasts(done: Walked) -> pl.DataFrame:
    """Return one row for each test day and asset: the outcome, and each model's volatility and 99 % value at risk."""
    period, panel = done.period, done.panel
    days = panel.days[period.test + 1 : period.stop + 1]
    test = slice(period.test, period.stop)
    columns: dict[str, Any] = {
        "date": np.repeat(days, len(panel.assets)),
        "asset": list(panel.assets) * days.size,
        "return": panel.returns_next[test].ravel(),
        "variance": panel.variance_next[test].ravel(),
    }
    for name, risk in done.risks.items():
        columns[f"{name}_volatility"] = np.sqrt(risk.variance).ravel()
        columns[f"{name}_var_99"] = risk.quantile["99"].ravel()
    return pl.DataFrame(columns)
