"""A line from the features of all assets to the log-variance: HAR with everything else in it, held by a small ridge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError

Floats = npt.NDArray[np.float64]

_RIDGE = 1e-3


@dataclass(frozen=True)
class VarianceLine:
    """Weights (columns,) of standardised features, a constant, and the spread of the residuals.

    Missing values count as the column's mean. The forecast is made a mean by half the residuals' variance. Sources:
    Corsi (2009) for the HAR terms; Hoerl, Kennard (1970) for the ridge, `1e-3` of the rows on standardised columns.
    """

    weights: Floats
    constant: float
    middles: Floats
    spreads: Floats
    residual: float

    @classmethod
    def fit(cls, features: npt.ArrayLike, log_variance: npt.ArrayLike) -> VarianceLine:
        """Return the line through `features` (rows, columns) and `log_variance` (rows,); raises `ModelError`."""
        known, logs = np.asarray(features, dtype=np.float64), np.asarray(log_variance, dtype=np.float64)
        if logs.size < 2 or not np.isfinite(logs).all():
            raise ModelError("A line needs two rows or more with finite log-variances: it lacks some. Leave those out.")
        # A column that is never known has no mean; it is held at zero.
        middles = np.nan_to_num(np.nansum(known, axis=0) / np.maximum(1, (~np.isnan(known)).sum(axis=0)))
        filled = np.where(np.isnan(known), middles, known)
        spreads = filled.std(axis=0)
        spreads[spreads == 0] = 1.0
        scaled, constant = (filled - middles) / spreads, float(logs.mean())
        moments = scaled.T @ scaled + _RIDGE * logs.size * np.eye(scaled.shape[1])
        weights = np.linalg.solve(moments, scaled.T @ (logs - constant))
        residual = float((logs - constant - scaled @ weights).var())
        return cls(weights, constant, middles, spreads, residual)

    def log_variance(self, features: npt.ArrayLike) -> Floats:
        """Return the logarithm of the mean variance of the day after each row, shape (rows,)."""
        known = np.asarray(features, dtype=np.float64)
        scaled = (np.where(np.isnan(known), self.middles, known) - self.middles) / self.spreads
        return np.asarray(self.constant + scaled @ self.weights + 0.5 * self.residual, dtype=np.float64)
