"""What is known of each asset's volatility at the close of a day, and the next day's outcome.

Every figure of day t is computed from prices up to the close of t alone; a property test changes all later prices and
sees that no bit moves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import DataError, Fault
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data.market_prices import Prices

Floats = npt.NDArray[np.float64]

TARGET, RETURN = "log_variance_next", "return_next"
HISTORY = 66
"""Days that the longest window looks back; the first day with features comes after as many."""
WEEK, MONTH = 5, 22
_FLOOR = 1e-7
"""Least daily variance, a move of 0.03 %: a day without a trade has no logarithm."""
_DECAYS = (0.94, 0.985)


@dataclass(frozen=True)
class MarketPanel:
    """Rows of one asset at one close, days in order and assets in order within a day; see `market_panel`.

    `days` are the trading days of the rows, `proxy` (days, assets) the day's own variance and `returns` (days, assets)
    its log return. `variance_next` and `returns_next`, of the same shape, belong to the day after and are NaN on the
    last one.
    """

    dataset: Dataset
    days: npt.NDArray[np.datetime64]
    assets: tuple[str, ...]
    proxy: Floats
    returns: Floats
    proxy_name: str
    true_vol: Floats | None = None

    @property
    def variance_next(self) -> Floats:
        """Variance of the day after, (days, assets)."""
        return _next(self.proxy)

    @property
    def returns_next(self) -> Floats:
        """Log return of the day after, (days, assets)."""
        return _next(self.returns)

    @property
    def true_vol_next(self) -> Floats | None:
        """The simulator's volatility of the day after, (days, assets), None where it is not known."""
        return None if self.true_vol is None else _next(self.true_vol)

    def rows(self, first: int, last: int) -> Dataset:
        """Return the rows of days `first` up to, not including, `last`."""
        width = len(self.assets)
        return Dataset(self.dataset.frame.slice(first * width, (last - first) * width), self.dataset.schema)

    @cached_property
    def _columns(self) -> dict[str, Floats]:
        shape = (self.days.size, len(self.assets))
        return {
            name: self.dataset.frame[name].to_numpy().reshape(shape).astype(np.float64)
            for name in self.dataset.features
        }

    def feature(self, name: str) -> Floats:
        """Return one feature as (days, assets)."""
        return self._columns[name]


def market_panel(prices: Prices) -> MarketPanel:
    """Return features known at each close, from day `HISTORY` on, with the next day's log-variance as target.

    The variance of a day is, in this order of preference, the realised one that was given, the overnight move squared
    plus Garman and Klass's estimate from the bar, or the return squared. Sources: Corsi (2009) for daily, weekly and
    monthly means (HAR); Garman, Klass (1980); Parkinson (1980); Patton, Sheppard (2015) for the falls alone. Raises
    `DataError` for fewer days than a window and a target need.
    """
    if prices.days < HISTORY + 2:
        raise DataError(
            Fault("too-few-days", f"a panel needs more than {HISTORY + 1} days: it has {prices.days}.", "Bring more.")
        )
    variance, name = daily_variance(prices)
    features = {**_own_features(prices, variance), **_shared_features(prices, variance)}
    kept = {key: values[HISTORY:] for key, values in features.items()}
    days = prices.dates[HISTORY:]
    proxy, returns = variance[HISTORY:], prices.returns[HISTORY:]
    width = len(prices.assets)
    frame = pl.DataFrame(
        {
            "date": pl.Series(np.repeat(days, width)),
            "asset": list(prices.assets) * days.size,
            **{key: values.astype(np.float32).ravel() for key, values in kept.items()},
            TARGET: np.log(_next(proxy)).ravel(),
            RETURN: _next(returns).ravel(),
        }
    ).with_columns(pl.col(TARGET, RETURN).fill_nan(None))
    true_vol = None if prices.true_vol is None else prices.true_vol[HISTORY:]
    return MarketPanel(Dataset(frame, panel_schema(kept)), days, prices.assets, proxy, returns, name, true_vol)


def panel_schema(features: Iterable[str]) -> Schema:
    """Return the schema of a panel with these feature columns."""
    return Schema(
        columns=(
            Column("date", Kind.DATE, Role.TIME),
            Column("asset", Kind.CATEGORY, Role.ID),
            *(Column(name, Kind.NUMERIC) for name in features),
            Column(TARGET, Kind.NUMERIC, Role.TARGET, note="Logarithm of the next day's variance."),
            Column(RETURN, Kind.NUMERIC, Role.EXPOST, note="Log return of the next day."),
        ),
        positive=(),
        name="market-panel",
        description="Features of assets at the close of a day, and the next day's variance.",
    )


def daily_variance(prices: Prices) -> tuple[Floats, str]:
    """Return each day's variance of log returns, (days, assets), and what it was made from."""
    if prices.realised is not None:
        return np.maximum(prices.realised, _FLOOR), "realised"
    bar = garman_klass(prices)
    if bar is None or prices.open is None:
        return np.maximum(prices.returns**2, _FLOOR), "squared-return"
    return np.maximum(_overnight(prices) ** 2 + bar, _FLOOR), "garman-klass"


def garman_klass(prices: Prices) -> Floats | None:
    """Return `0.5 log(H / L)^2 - (2 log 2 - 1) log(C / O)^2` of each bar, (days, assets); None without bars."""
    if prices.open is None or prices.high is None or prices.low is None:
        return None
    span, body = np.log(prices.high / prices.low), np.log(prices.close / prices.open)
    return np.asarray(0.5 * span**2 - (2 * math.log(2) - 1) * body**2, dtype=np.float64)


def parkinson(prices: Prices) -> Floats | None:
    """Return `log(H / L)^2 / (4 log 2)` of each bar, (days, assets); None without bars."""
    if prices.high is None or prices.low is None:
        return None
    return np.asarray(np.log(prices.high / prices.low) ** 2 / (4 * math.log(2)), dtype=np.float64)


def _overnight(prices: Prices) -> Floats:
    moves = np.zeros_like(prices.close)
    if prices.open is not None:
        moves[1:] = np.log(prices.open[1:] / prices.close[:-1])
    return moves


def _own_features(prices: Prices, variance: Floats) -> dict[str, Floats]:
    """Return what an asset's own past says, each (days, assets)."""
    returns = prices.returns
    usual = np.sqrt(np.maximum(_mean(returns**2, MONTH), _FLOOR))
    month = _mean(variance, MONTH)
    found = {
        "variance_day": np.log(variance),
        "variance_week": np.log(_mean(variance, WEEK)),
        "variance_month": np.log(month),
        "variance_quarter": np.log(_mean(variance, HISTORY)),
        "variance_ever": np.log(_mean_so_far(variance)),
        "squares_week": _log(_mean(returns**2, WEEK)),
        "squares_month": _log(_mean(returns**2, MONTH)),
        "falls_week": _log(_mean(np.minimum(returns, 0.0) ** 2, WEEK)),
        "falls_month": _log(_mean(np.minimum(returns, 0.0) ** 2, MONTH)),
        "return_day": returns / usual,
        "return_week": _mean(returns, WEEK) * WEEK / usual,
        "return_month": _mean(returns, MONTH) * MONTH / usual,
        "peak_month": np.log(_rolling_max(variance, MONTH) / month),
    }
    for decay in _DECAYS:
        found[f"variance_decayed_{round(1000 * decay)}"] = np.log(_decayed(variance, decay))
    squares = _decayed(returns**2, _DECAYS[0])
    found["squares_decayed"] = _log(squares)
    if (spread := parkinson(prices)) is not None:
        found["range_day"], found["range_week"] = _log(spread), _log(_mean(spread, WEEK))
        found["overnight_day"] = _overnight(prices) / usual
    return found


def _shared_features(prices: Prices, variance: Floats) -> dict[str, Floats]:
    """Return what all assets of a day see alike, each (days, assets): the market's move, unrest and spread."""
    shape = prices.close.shape
    found: dict[str, Floats] = {}
    if shape[1] > 1:
        move = prices.returns.mean(axis=1, keepdims=True)
        mean = np.log(variance.mean(axis=1, keepdims=True))
        usual = np.sqrt(np.maximum(_mean(move**2, MONTH), _FLOOR))
        found = {
            "market_variance_day": mean,
            "market_variance_week": np.log(_mean(variance, WEEK).mean(axis=1, keepdims=True)),
            "market_variance_month": np.log(_mean(variance, MONTH).mean(axis=1, keepdims=True)),
            "market_return_day": move / usual,
            "market_return_week": _mean(move, WEEK) * WEEK / usual,
            "market_squares_month": _log(_mean(move**2, MONTH)),
            "spread_day": prices.returns.std(axis=1, keepdims=True) / usual,
        }
    if prices.fear is not None:
        level = np.log(np.maximum(prices.fear, 1.0))[:, None]
        found["fear"], found["fear_week"] = level, level - _mean(level, WEEK)
    return {name: np.broadcast_to(values, shape) for name, values in found.items()}


def _next(values: Floats) -> Floats:
    return np.vstack([values[1:], np.full((1, values.shape[1]), np.nan)])


def _log(values: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(values, _FLOOR)), dtype=np.float64)


def _mean(values: Floats, window: int) -> Floats:
    """Return the mean over the last `window` days, fewer at the start.

    Summed anew for each day: no later value, and no rounding of earlier sums, can reach it.
    """
    total = values.copy()
    for back in range(1, window):
        total[back:] += values[:-back]
    return np.asarray(total / np.minimum(np.arange(1, values.shape[0] + 1), window)[:, None], dtype=np.float64)


def _rolling_max(values: Floats, window: int) -> Floats:
    highest = values.copy()
    for back in range(1, window):
        np.maximum(highest[back:], values[:-back], out=highest[back:])
    return highest


def _mean_so_far(values: Floats) -> Floats:
    return np.asarray(np.cumsum(values, axis=0) / np.arange(1, values.shape[0] + 1)[:, None], dtype=np.float64)


def _decayed(values: Floats, decay: float) -> Floats:
    """Return the exponentially weighted mean, which starts at the first day's value."""
    found = np.empty_like(values)
    state = values[0]
    for day, today in enumerate(values):
        state = decay * state + (1 - decay) * today if day else today
        found[day] = state
    return found
