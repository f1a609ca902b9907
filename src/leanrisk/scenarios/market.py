"""`run` for a market-risk scenario: finds recipe and prices, and hands them to the walk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leanrisk.core.config import read_toml
from leanrisk.core.errors import ConfigError
from leanrisk.core.progress import Progress, Silent
from leanrisk.data.market_prices import Prices, prices_of, read_prices
from leanrisk.data.read import to_frame
from leanrisk.data.simulate.market import MarketSize, simulate_market
from leanrisk.pipelines.market_recipe import MarketRecipe
from leanrisk.scenarios.catalogue import load_scenario

_SILENT = Silent()


def run_scenario(
    scenario: str,
    *,
    data: Any = None,
    schema: Any = None,
    out: Path | str = "run",
    seed: int = 0,
    preset: str = "standard",
    changes: Sequence[str] = (),
    resume: bool = False,
    progress: Progress = _SILENT,
) -> dict[str, Any]:
    """Return the content of result.json after a market-risk run; `data` is a file, a folder or a table of prices.

    Raises `ConfigError` for a schema or a resumption, neither of which such a run knows.
    """
    from leanrisk.pipelines.market import run_market

    if schema is not None:
        raise ConfigError("A market-risk run tells prices by their columns: it takes no schema. Leave out --schema.")
    if resume:
        raise ConfigError("A market-risk run takes minutes and starts anew: it cannot be resumed. Leave out --resume.")
    recipe = market_recipe(scenario, preset=preset, changes=changes)
    prices, name = prices_for(recipe, data, seed=seed, progress=progress)
    return run_market(prices, recipe, out=out, seed=seed, name=name, preset=preset, progress=progress)


def market_recipe(scenario: str, *, preset: str = "standard", changes: Sequence[str] = ()) -> MarketRecipe:
    """Return the recipe of a shipped market scenario or of a TOML file."""
    values = read_toml(scenario) if scenario.endswith(".toml") else load_scenario(scenario)
    return MarketRecipe.from_dict(values, preset=preset, changes=changes)


def prices_for(recipe: MarketRecipe, data: Any, *, seed: int, progress: Progress = _SILENT) -> tuple[Prices, str]:
    """Return the prices of a run and a name for them: those of a file or table, or a simulated market."""
    asked = recipe.data
    if data is None:
        with progress.track("simulating a market") as advance:
            bars = simulate_market(MarketSize(asked.assets, asked.days, seed))
            advance(1)
        return prices_of(bars), "Simulated market"
    with progress.track("reading prices") as advance:
        if isinstance(data, Path | str):
            prices, name = read_prices(data, fear=asked.fear), Path(data).stem
        else:
            prices, name = prices_of(to_frame(data)), "table"
        advance(1)
    return prices.of(asked.assets, asked.days), name
