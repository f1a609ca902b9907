"""How good a quantile forecast and its expected shortfall are: pinball loss, FZ0 loss, and a test of the shortfall.

Returns and forecasts are signed: a value at risk of 2 % at 99 % is the quantile -0.02 of the return at `tail` = 0.01,
and the expected shortfall is the mean return beyond it, below it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError, DataError, Fault

Floats = npt.NDArray[np.float64]


def exceedances(returns: npt.ArrayLike, quantile: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return where the return fell below its quantile forecast; any shape, the same for both."""
    told, seen = _aligned(returns, quantile)
    return told < seen


def pinball_losses(returns: npt.ArrayLike, quantile: npt.ArrayLike, *, tail: float) -> Floats:
    """Return `(tail - 1{r < q}) (r - q)`, the loss whose mean the true quantile minimises; any shape.

    Source: Koenker, Bassett (1978), "Regression quantiles".
    """
    told, seen = _aligned(returns, quantile)
    _check_tail(tail)
    return np.asarray((tail - (told < seen)) * (told - seen), dtype=np.float64)


def fz0_losses(returns: npt.ArrayLike, quantile: npt.ArrayLike, shortfall: npt.ArrayLike, *, tail: float) -> Floats:
    """Return the FZ0 loss of quantile and expected shortfall together, any shape; both forecasts must be below zero.

    `-1{r <= q} (q - r) / (tail e) + q / e + log(-e) - 1`: the member of Fissler and Ziegel's class whose differences do
    not depend on the unit. Source: Patton, Ziegel, Chen (2019), "Dynamic semiparametric models for expected shortfall
    (and value-at-risk)", equation 6. Raises `DataError` for forecasts that are not below zero, or a shortfall above its
    quantile.
    """
    told, seen = _aligned(returns, quantile)
    _, mean = _aligned(returns, shortfall)
    _check_tail(tail)
    if (mean >= 0).any() or (seen >= 0).any() or (mean > seen).any():
        raise DataError(
            Fault(
                "not-a-shortfall",
                "an expected shortfall lies below zero and not above its quantile: some do not.",
                "Forecast both from one distribution.",
            )
        )
    beyond = (told <= seen) * (seen - told)
    return np.asarray(-beyond / (tail * mean) + seen / mean + np.log(-mean) - 1.0, dtype=np.float64)


def shortfall_statistic(
    returns: npt.ArrayLike, quantile: npt.ArrayLike, shortfall: npt.ArrayLike, *, tail: float
) -> float:
    """Return Z2: 0 is expected of a right forecast, below zero the losses beyond the quantile were larger than told.

    `Z2 = -sum(r 1{r < q} / (n tail e)) + 1` with e the shortfall, below zero. At 97.5 %, values under about -0.70 are
    rejected at 5 % and under -1.8 at 0.01 %, for tails from normal to Student's t. Source: Acerbi, Szekely (2014),
    "Backtesting expected shortfall", test 2 and its table of critical values for 250 days.
    """
    told, seen = _aligned(returns, quantile)
    _, mean = _aligned(returns, shortfall)
    _check_tail(tail)
    return float(1.0 - (told * (told < seen) / (tail * mean)).sum() / told.size)


def _check_tail(tail: float) -> None:
    if not (math.isfinite(tail) and 0 < tail < 0.5):
        raise ConfigError(f"A tail is a share below one half, such as 0.01 for 99 %: it is {tail!r}. Correct it.")


def _aligned(returns: npt.ArrayLike, forecast: npt.ArrayLike) -> tuple[Floats, Floats]:
    told, seen = np.asarray(returns, dtype=np.float64), np.asarray(forecast, dtype=np.float64)
    if told.shape != seen.shape or told.size == 0 or not np.isfinite(told).all() or not np.isfinite(seen).all():
        raise DataError(
            Fault(
                "not-aligned",
                f"there must be one finite forecast for each return: {seen.shape} against {told.shape}.",
                "Score the same days again.",
            )
        )
    return told, seen
