"""The bundle of a market-risk run: the graph that gives tomorrow's log-variance, and what turns it into a tail."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from leanrisk.core.errors import ModelError
from leanrisk.core.version import __version__
from leanrisk.data.market_features import MarketPanel
from leanrisk.models.market.historical_simulation import asset_tail
from leanrisk.pipelines.market_lean import LeanVariance
from leanrisk.pipelines.market_tails import TAILS
from leanrisk.pipelines.market_walk import Walk
from leanrisk.registry.bundle import check_replaceable, write_bundle
from leanrisk.registry.reference import reference_rows
from leanrisk.techniques.lean_model import LeanModel


def write_market_bundle(
    folder: Path, walk: Walk, panel: MarketPanel, result: Mapping[str, Any] | None, *, residuals: int
) -> None:
    """Write the lean model of the walk's last fit to `folder`; with `result` None, none is there afterwards.

    The graph's answer is the logarithm of the next day's variance. The card says how to go on from there
    (`tails`): variance is `level * exp(answer)`, a value at risk `quantile * sqrt(exp(answer))`, both as of the last
    day of the panel; they move with every day, by filtered historical simulation over the last `residuals` days.
    """
    check_replaceable(folder)
    if result is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    served = walk.model.served if isinstance(walk.model, LeanVariance) else None
    if served is None or not isinstance(served.model, LeanModel):
        raise ModelError("A bundle of market risk holds a lean model: this walk has none. Walk first.")
    model = served.model
    rows = panel.dataset
    write_bundle(
        folder,
        graph=model.graph,
        encoder=model.scoring_encoder,
        schema=rows.schema.keeping(served.features),
        reference=reference_rows(model.encoder),
        card={
            "features": list(model.features),
            "taught": model.facts,
            "tails": tails_now(walk, panel, residuals=residuals),
            "gates": result["gates"],
            "created": result["created"],
        },
        facts={
            "leanrisk": __version__,
            "scenario": result["scenario"],
            "seed": result["seed"],
            "data": result["data"]["sha256"],
            "lineage": list(served.lineage),
            "precision": served.precision,
            "objective": "variance",
        },
        training=model.save,
    )


def tails_now(walk: Walk, panel: MarketPanel, *, residuals: int) -> dict[str, Any]:
    """Return level, quantiles and shortfalls in units of forecast volatility, from the last `residuals` days."""
    known = np.flatnonzero(~np.isnan(walk.variance[:-1]).any(axis=1))[-residuals:]
    told = walk.variance[known]
    standard = panel.returns_next[known] / np.sqrt(told)
    found: dict[str, Any] = {
        "as_of": str(panel.days[-1]),
        "level": float(np.mean(panel.variance_next[known] / told)),
    }
    for name, tail in TAILS.items():
        last = asset_tail(standard, tail=tail)
        found[name] = {"quantile": last.quantile, "shortfall": last.shortfall}
    return found
