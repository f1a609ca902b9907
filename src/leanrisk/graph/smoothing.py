"""Rates of bads, each pulled towards that of the coarser entity as far as its own outcomes are few."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Number = TypeVar("Number", float, Floats)


def smoothed(bads: Floats, known: Floats, above: Floats | float, strength: float, out: Floats | None = None) -> Floats:
    """Return `(bads + strength * above) / (known + strength)`, and `above` itself where nothing weighs.

    Empirical Bayes with a prior of `strength` outcomes at the coarser rate (Efron and Morris, 1975, "Data Analysis
    Using Stein's Estimator"; the beta-binomial case). `out`: an array that takes the rates.
    """
    if strength > 0:
        return np.divide(bads + strength * above, known + strength, out=out)
    rates = np.where(known > 0, bads / np.where(known > 0, known, 1.0), above)
    if out is None:
        return rates
    out[...] = rates
    return out


def book_rate(bads: Number, known: Number) -> Number:
    """Return the rate of the whole book, `(bads + 1) / (known + 2)`: one half while nothing is known (Laplace)."""
    return (bads + 1.0) / (known + 2.0)
