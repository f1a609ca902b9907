"""Rates of bads, each pulled towards that of the coarser entity as far as its own outcomes are few."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", float, npt.NDArray[np.float64])


def smoothed(bads: Number, known: Number, above: Number, strength: float) -> Number:
    """Return `(bads + strength * above) / (known + strength)`, and `above` itself where nothing weighs.

    Empirical Bayes with a prior of `strength` outcomes at the coarser rate (Efron and Morris, 1975, "Data Analysis
    Using Stein's Estimator"; the beta-binomial case).
    """
    weight = known + strength
    if isinstance(weight, np.ndarray):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(weight > 0, (bads + strength * above) / weight, above)
    return (bads + strength * above) / weight if weight > 0 else above


def book_rate(bads: Number, known: Number) -> Number:
    """Return the rate of the whole book, `(bads + 1) / (known + 2)`: one half while nothing is known (Laplace)."""
    return (bads + 1.0) / (known + 2.0)
