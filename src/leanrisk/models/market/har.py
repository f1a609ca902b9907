"""HAR: tomorrow's variance from daily, weekly and monthly means of past variance, by least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError

Floats = npt.NDArray[np.float64]

_ROWS_PER_WEIGHT = 5


@dataclass(frozen=True)
class Har:
    """Weights of one asset's regression, the constant first, (1 + columns,).

    `logs`: logarithms on both sides, the forecast made unbiased by half the variance of the residuals. In levels, a
    forecast is held within the range of variances that the fit has seen, since a line may run below zero. Sources:
    Corsi (2009), "A simple approximate long-memory model of realized volatility"; of the range ("insanity filter"):
    Bollerslev, Patton, Quaedvlieg (2016), "Exploiting the errors", section 3.
    """

    weights: Floats
    logs: bool
    spread: float
    lowest: float
    highest: float

    @classmethod
    def fit(cls, past: npt.ArrayLike, variance: npt.ArrayLike, *, logs: bool = True) -> Har:
        """Return the regression of `variance` (days,) on `past` (days, columns), both in levels and above zero.

        Raises `ModelError` for fewer than five days a weight, or values that are no variances.
        """
        regressors, target = np.asarray(past, dtype=np.float64), np.asarray(variance, dtype=np.float64)
        needed = _ROWS_PER_WEIGHT * (regressors.shape[1] + 1)
        if target.size < needed:
            raise ModelError(f"HAR needs {needed} days or more: there are {target.size}. Lengthen the window.")
        if not (np.isfinite(regressors).all() and np.isfinite(target).all() and (target > 0).all()):
            raise ModelError("HAR needs finite variances above zero: some are not. Leave those days out.")
        design = _design(regressors, logs=logs)
        aim = np.log(target) if logs else target
        weights = np.asarray(np.linalg.lstsq(design, aim, rcond=None)[0], dtype=np.float64)
        residual = aim - design @ weights
        return cls(weights, logs, float(residual.var()), float(target.min()), float(target.max()))

    def forecast(self, past: npt.ArrayLike) -> Floats:
        """Return the variance of the day after each row of `past` (days, columns), shape (days,)."""
        told = _design(np.asarray(past, dtype=np.float64), logs=self.logs) @ self.weights
        if self.logs:
            return np.asarray(np.exp(told + 0.5 * self.spread), dtype=np.float64)
        return np.asarray(np.clip(told, self.lowest, self.highest), dtype=np.float64)


def _design(past: Floats, *, logs: bool) -> Floats:
    return np.column_stack([np.ones(past.shape[0]), np.log(past) if logs else past])
