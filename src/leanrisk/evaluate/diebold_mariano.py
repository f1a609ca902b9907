"""Whether one forecast loses less than another over time, with the days' own dependence taken into account."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import DataError, Fault
from leanrisk.core.measurement import Interval
from leanrisk.evaluate.intervals import LEVEL, normal_quantile

_FEWEST_DAYS = 20


def loss_difference(
    before: npt.ArrayLike, after: npt.ArrayLike, *, level: float = LEVEL, relative: bool = False
) -> Interval:
    """Return the mean daily loss `after` minus `before` with its two-sided limits; both of shape (days,).

    For a panel each day's loss is the mean over its assets: assets of one day move together, so days are what is drawn.
    `relative` gives the difference as a share of the mean loss before, its limits by the delta method. The variance of
    the mean is Newey and West's with Bartlett weights and floor(4 (T / 100)^(2/9)) lags. Source: Diebold, Mariano
    (1995), "Comparing predictive accuracy", with Newey, West (1987). Raises `DataError` for fewer than 20 days.
    """
    old, new = (np.asarray(losses, dtype=np.float64) for losses in (before, after))
    if old.shape != new.shape or old.ndim != 1 or old.size < _FEWEST_DAYS or not np.isfinite(old + new).all():
        raise DataError(
            Fault(
                "not-comparable",
                f"two forecasts are compared on {_FEWEST_DAYS} days or more with finite losses: {old.shape} and "
                f"{new.shape} were given.",
                "Score the same days with both.",
            )
        )
    if not relative:
        value, moves = float((new - old).mean()), new - old
    else:
        base = float(old.mean())
        if base == 0.0:
            raise DataError(Fault("zero-base", "a relative difference needs a loss before: it is 0.", "Ask plainly."))
        value = float(new.mean()) / base - 1.0
        moves = (new - (1.0 + value) * old) / base
    half = normal_quantile(level) * math.sqrt(_mean_variance(moves))
    return Interval(value, value - half, value + half)


def _mean_variance(values: npt.NDArray[np.float64]) -> float:
    """Return the variance of the mean of a series that depends on its own past, never below zero."""
    days = values.size
    centred = values - values.mean()
    lags = int(4 * (days / 100) ** (2 / 9))
    total = float(centred @ centred) / days
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag]) / days
    return max(0.0, total) / days
