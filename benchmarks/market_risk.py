"""Market risk: every model on a simulated market and three public panels, losses beside CPU-seconds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.runner import Bar, Outcome
from leanrisk.core.progress import Progress
from leanrisk.data.market_prices import Prices, prices_of, read_prices
from leanrisk.data.simulate.market import MarketSize, simulate_market
from leanrisk.pipelines.market import Walked, walk_models
from leanrisk.pipelines.market_models import UNROUNDED
from leanrisk.pipelines.market_recipe import LEAN, MarketRecipe
from leanrisk.pipelines.market_scores import comparison, daily_losses, model_row
from leanrisk.scenarios.market import market_recipe

Values = dict[str, float | int | str]

_HOME = Path(os.environ.get("LEANRISK_DATA", "../shared/data"))
_FEAR = "market_vix"
_SEED = 0
_RIVALS = ("har", "garch", "lightgbm")
"""Incumbents that the lean model must not be worse than; the others are shown beside them."""
_MARGIN = 0.01


def run(preset: str, progress: Progress) -> Outcome:
    """Return the rows of all models, book by book, and lean against each incumbent with Diebold-Mariano intervals."""
    figures: Values = {}
    bars: list[Bar] = []
    for name, (maker, changes) in _BOOKS.items():
        if preset == "smoke" and name != "simulated":
            continue
        prices = maker(preset)
        if prices is None:
            figures[f"{name}_note"] = "the public data are not on this machine"
            continue
        recipe = market_recipe("market-risk", preset="smoke" if preset == "smoke" else "standard", changes=changes)
        bars += _book(figures, name, prices, recipe, progress)
    return Outcome(figures, tuple(bars))


def _book(figures: Values, book: str, prices: Prices, recipe: MarketRecipe, progress: Progress) -> list[Bar]:
    done = walk_models(prices, recipe, seed=_SEED, also=(UNROUNDED,), progress=progress)
    figures[f"{book}_assets"] = len(prices.assets)
    figures[f"{book}_test_days"] = done.period.stop - done.period.test
    rows = {n: model_row(walk, done.risks[n], done.panel, done.period) for n, walk in done.walks.items()}
    for name, row in rows.items():
        figures |= _row(f"{book}_{name}", row)
    return [*_against(figures, book, done, recipe), *_rounded(figures, book, rows)]


def _row(where: str, row: Mapping[str, Any]) -> Values:
    portfolio, assets = row["portfolio"], row["assets"]
    return {
        f"{where}_mae": round(row["mae"]["value"], 4),
        f"{where}_qlike": round(row["qlike"]["value"], 4),
        f"{where}_pinball_99": round(row["pinball_99"]["value"], 4),
        f"{where}_exceedances_99": portfolio["99"]["exceedances"],
        f"{where}_expected_99": round(portfolio["99"]["expected"], 1),
        f"{where}_kupiec_p": round(portfolio["99"]["kupiec_p"], 4),
        f"{where}_christoffersen_p": round(portfolio["99"]["coverage_p"], 4),
        f"{where}_z2_97.5": round(portfolio["97.5"]["z2"], 3),
        f"{where}_zone_last": str(portfolio["zones"]["last"]),
        f"{where}_zone_worst": str(portfolio["zones"]["worst"]),
        f"{where}_assets_kupiec_rejected": assets["99"]["kupiec_rejected"],
        f"{where}_fits_cpu_s": round(row["train"]["cpu_s"], 2),
        f"{where}_refit_cpu_s": round(row["train"]["refit"]["cpu_s"], 3) if row["train"]["refit"] else -1.0,
    }


def _against(figures: Values, book: str, done: Walked, recipe: MarketRecipe) -> list[Bar]:
    losses = {name: daily_losses(risk, done.panel, done.period) for name, risk in done.risks.items()}
    bars = []
    for rival in recipe.models:
        found = comparison(losses[rival], losses[LEAN])
        for loss in ("mae", "qlike", "pinball_99"):
            for part in ("value", "lo", "hi"):
                figures[f"{book}_lean_less_{rival}_{loss}_{part}"] = round(found[loss][part], 4)
        if rival in _RIVALS:
            bars += [
                Bar.at_most(f"{book}: {loss} of lean over {rival}, as a share", found[loss]["value"], _MARGIN)
                for loss in ("mae", "qlike")
            ]
    return bars


def _rounded(figures: Values, book: str, rows: Mapping[str, Any]) -> list[Bar]:
    """Compare the lean model in int8 with itself in fp32: size, absolute error, and zones (claim C6)."""
    whole, codes = rows[UNROUNDED], rows[LEAN]
    figures[f"{book}_lean_bytes"], figures[f"{book}_lean_unrounded_bytes"] = codes["bytes"], whole["bytes"]
    moved = sum(whole["portfolio"]["zones"][which] != codes["portfolio"]["zones"][which] for which in ("last", "worst"))
    rise = codes["mae"]["value"] / whole["mae"]["value"] - 1.0
    return [
        Bar.at_most(f"{book}: MAE of int8 over fp32, as a share", rise, 0.01),
        Bar.at_most(f"{book}: zones that int8 moves", moved, 0),
    ]


def _simulated(preset: str) -> Prices:
    return prices_of(simulate_market(MarketSize(8, 1000, 7) if preset == "smoke" else MarketSize(30, 2000, 7)))


def _public(place: str, assets: int, days: int, *, fear: bool = True) -> Callable[[str], Prices | None]:
    def read(preset: str) -> Prices | None:
        file = _HOME / place
        if not file.exists():
            return None
        return read_prices(file, fear=_HOME / _FEAR if fear else None).of(assets, days)

    return read


_BOOKS: Mapping[str, tuple[Callable[[str], Prices | None], tuple[str, ...]]] = {
    "simulated": (_simulated, ()),
    "sp500_panel": (_public("market_sp500_5yr_panel", 40, 0), ("walk.first=500",)),
    "sp500_long": (
        _public("market_long_prices/sp500_20_stocks_1990_2022.parquet", 20, 4000),
        ("walk.refit_every=500",),
    ),
    "sp500_realized": (
        _public("market_sp500_realized_vol", 1, 0, fear=False),
        ("walk.first=1000", "walk.refit_every=250"),
    ),
}
