"""A simulated market: daily bars of stocks that share a factor, with regimes, jumps, leverage, and known volatility."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import ConfigError
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.core.seeding import generator

Floats = npt.NDArray[np.float64]

ASSETS, DAYS = 30, 2000
_MOST_ASSETS, _FEWEST_DAYS, _MOST_DAYS = 5_000, 50, 20_000
_FIRST_DAY = dt.date(2012, 1, 2)
_BARS = 39
"""Ten-minute bars of a session, from which high and low are taken."""
_OVERNIGHT = 0.2
"""Share of a day's variance that passes while the market is closed."""
_TICK = 1e-4
_BASE_VOL = 0.008
_STRESS = 1.3
"""What a stressed regime adds to the market's log-variance: its volatility nearly doubles."""
_INTO_STRESS, _OUT_OF_STRESS = 0.004, 0.02


@dataclass(frozen=True)
class Wave:
    """One mean-reverting part of a log-variance: its half-life in days, its spread, and its answer to returns.

    `leverage` is the correlation of its shocks with the day's standardised return: below zero, falls bring unrest.
    """

    half_life: float
    spread: float
    leverage: float

    @property
    def keeps(self) -> float:
        """Share of the part that is left a day later."""
        return float(0.5 ** (1.0 / self.half_life))


@dataclass(frozen=True)
class Jumps:
    """Sudden moves: the chance of one a day, its mean and its spread, in log price."""

    chance: float
    mean: float
    spread: float

    @property
    def variance(self) -> float:
        """What the jumps add to a day's variance, before anyone knows whether one comes."""
        return self.chance * (self.spread**2 + self.mean**2) - (self.chance * self.mean) ** 2


MARKET_WAVES = (Wave(4.0, 0.35, -0.6), Wave(70.0, 0.45, -0.3))
OWN_WAVES = (Wave(5.0, 0.40, -0.2), Wave(50.0, 0.40, 0.0))
MARKET_JUMPS, OWN_JUMPS = Jumps(0.008, -0.015, 0.015), Jumps(0.012, 0.0, 0.035)


@dataclass(frozen=True)
class MarketSize:
    """How many stocks (1 to 5,000) and days (50 to 20,000) are simulated; raises `ConfigError` outside."""

    assets: int = ASSETS
    days: int = DAYS
    seed: int = 7

    def __post_init__(self) -> None:
        for what, value, low, high in (
            ("assets", self.assets, 1, _MOST_ASSETS),
            ("days", self.days, _FEWEST_DAYS, _MOST_DAYS),
        ):
            if not low <= value <= high:
                raise ConfigError(
                    f"A market has {low:,} to {high:,} {what}: {value:,} were asked for. Choose a number in that range."
                )
        if self.seed < 0:
            raise ConfigError(f"A seed must not be negative: it is {self.seed}. Choose 0 or any larger whole number.")

    @property
    def rows(self) -> int:
        """Number of daily bars."""
        return self.assets * self.days


class _LogVariance:
    """The log-variance of one or more series: waves about a level, moved by the returns of the day before."""

    def __init__(self, waves: tuple[Wave, ...], level: Floats, rng: np.random.Generator) -> None:
        self._waves, self._level, self._rng = waves, level, rng
        self._parts = [wave.spread * rng.standard_normal(level.size) for wave in waves]

    def volatility(self, extra: float = 0.0) -> Floats:
        """Return the standard deviation of today's move, (series,), known before today's move is."""
        return np.exp(0.5 * (self._level + extra + sum(self._parts, np.zeros(self._level.size))))

    def step(self, moves: Floats) -> None:
        """Go on to tomorrow after today's standardised `moves`, (series,)."""
        for place, wave in enumerate(self._waves):
            fresh = self._rng.standard_normal(moves.size)
            shock = wave.leverage * moves + math.sqrt(1 - wave.leverage**2) * fresh
            keeps = wave.keeps
            self._parts[place] = keeps * self._parts[place] + wave.spread * math.sqrt(1 - keeps**2) * shock


def simulate_market(size: MarketSize) -> pl.DataFrame:
    """Return daily bars, one row per day and stock in that order, with the columns of `market_schema`.

    A stock's return is `beta * market + own`; either part has a log-variance of a fast and a slow wave that answers to
    its own falls, and the market's has a calm and a stressed regime (a two-state Markov chain). Jumps of the market and
    of single stocks come on top. High and low are those of 39 bars in a session; a fifth of a day's variance passes
    overnight. `_true_vol` is the standard deviation of that day's return given all that happened before it.
    """
    rng = generator(size.seed, "market")
    beta = rng.uniform(0.6, 1.5, size.assets)
    own_level = 2 * np.log(_BASE_VOL * np.exp(0.3 * rng.standard_normal(size.assets)))
    market = _LogVariance(MARKET_WAVES, np.array([2 * math.log(_BASE_VOL)]), rng)
    own = _LogVariance(OWN_WAVES, own_level, rng)
    close = np.log(rng.uniform(20.0, 200.0, size.assets))
    bars = np.empty((size.days, 5, size.assets))
    stressed = np.zeros(size.days, dtype=np.bool_)
    jumped = np.zeros((size.days, size.assets), dtype=np.bool_)
    in_stress = False
    for day in range(size.days):
        in_stress = rng.random() < ((1 - _OUT_OF_STRESS) if in_stress else _INTO_STRESS)
        stressed[day] = in_stress
        market_vol, own_vol = market.volatility(_STRESS * in_stress), own.volatility()
        market_path, market_move, market_jump = _paths(market_vol, MARKET_JUMPS, rng)
        own_path, own_move, own_jump = _paths(own_vol, OWN_JUMPS, rng)
        path = close[:, None] + np.cumsum(beta[:, None] * market_path + own_path, axis=1)
        jumped[day] = market_jump | own_jump
        variance = beta**2 * (market_vol**2 + MARKET_JUMPS.variance) + own_vol**2 + OWN_JUMPS.variance
        bars[day] = path[:, 0], path.max(axis=1), path.min(axis=1), path[:, -1], np.sqrt(variance)
        close = path[:, -1]
        market.step(market_move)
        own.step(own_move)
    return _frame(bars, stressed, jumped)


def _paths(volatility: Floats, jumps: Jumps, rng: np.random.Generator) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Return the steps of the day (series, 1 + bars), the diffusion's standardised move, and where a jump came."""
    series = volatility.size
    shares = np.concatenate([[_OVERNIGHT], np.full(_BARS, (1 - _OVERNIGHT) / _BARS)])
    steps = np.sqrt(shares) * rng.standard_normal((series, shares.size))
    moves = steps.sum(axis=1)
    steps = volatility[:, None] * steps
    comes = rng.random(series) < jumps.chance
    places = rng.integers(shares.size, size=series)
    sizes = jumps.mean + jumps.spread * rng.standard_normal(series)
    steps[np.arange(series), places] += np.where(comes, sizes, 0.0)
    # The mean of the jumps is taken out day by day, so that prices have no drift from it.
    steps[:, -1] -= jumps.chance * jumps.mean
    return steps, moves, comes


def market_schema() -> Schema:
    """Return the schema of the bars."""
    raw = "Raw material: what a model sees is computed from the bars up to the day."
    truth = "The simulator's truth; no bank has it."
    prices = (Column(name, Kind.NUMERIC, Role.IGNORED, note=raw) for name in ("open", "high", "low", "close"))
    return Schema(
        columns=(
            Column("date", Kind.DATE, Role.TIME),
            Column("asset", Kind.CATEGORY, Role.ID),
            *prices,
            Column("_true_vol", Kind.NUMERIC, Role.EXPOST, note=f"Volatility of the day's return. {truth}"),
            Column("_stressed", Kind.NUMERIC, Role.EXPOST, note=f"The market's regime. {truth}"),
            Column("_jump", Kind.NUMERIC, Role.EXPOST, note=f"Whether the price jumped. {truth}"),
        ),
        name="simulated-market",
        description="Simulated daily bars of stocks with a common factor, regimes, jumps and known volatility.",
    )


def _frame(bars: Floats, stressed: npt.NDArray[np.bool_], jumped: npt.NDArray[np.bool_]) -> pl.DataFrame:
    days, _, assets = bars.shape
    first = np.datetime64(_FIRST_DAY, "D")
    dates = np.busday_offset(first, np.arange(days))
    digits = len(str(assets))
    names = [f"S{number:0{digits}d}" for number in range(1, assets + 1)]
    prices = {
        name: np.maximum(_TICK, np.round(np.exp(bars[:, place]), 4)).ravel()
        for place, name in enumerate(("open", "high", "low", "close"))
    }
    return pl.DataFrame(
        {
            "date": pl.Series(np.repeat(dates, assets)),
            "asset": names * days,
            **prices,
            "_true_vol": bars[:, 4].ravel(),
            "_stressed": np.repeat(stressed, assets).astype(np.int8),
            "_jump": jumped.ravel().astype(np.int8),
        }
    )
