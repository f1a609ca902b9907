"""What one column alone says of the outcome, in the units of a scorecard: information value and its shape."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leanrisk.core.metrics import psi_edges

_BINS = 10
_LEAST_STEP = 1e-12


def binned(values: npt.NDArray[np.float32], *, category: bool) -> npt.NDArray[np.int64]:
    """Return the bin of each value, int64 (rows,): tenths for a quantity, the code for a category, -1 where missing."""
    known = ~np.isnan(values)
    bins = np.full(values.size, -1, dtype=np.int64)
    if category:
        bins[known] = values[known].astype(np.int64)
    elif known.any():
        bins[known] = np.searchsorted(psi_edges(values[known].astype(np.float64), _BINS), values[known], side="right")
    return bins


def information_value(bins: npt.NDArray[np.int64], labels: npt.NDArray[np.float32]) -> float:
    """Return `sum (goods share - bads share) * ln(goods share / bads share)` over the bins.

    A column that tells nothing has 0. Half a row is added to each cell, so that an empty one gives a number. Source:
    Siddiqi (2006), "Credit Risk Scorecards", chapter 6.
    """
    goods, bads = _counts(bins, labels)
    good_share, bad_share = (
        (goods + 0.5) / (goods.sum() + 0.5 * goods.size),
        (bads + 0.5) / (bads.sum() + 0.5 * bads.size),
    )
    return float(((good_share - bad_share) * np.log(good_share / bad_share)).sum())


def is_monotonic(bins: npt.NDArray[np.int64], labels: npt.NDArray[np.float32]) -> bool:
    """Return whether the bad rate only rises, or only falls, from bin to bin; missing values (-1) are left out."""
    known = bins >= 0
    if not known.any():
        return True
    goods, bads = _counts(bins[known], labels[known])
    steps = np.diff(bads / (goods + bads))
    return bool((steps >= -_LEAST_STEP).all() or (steps <= _LEAST_STEP).all())


def _counts(
    bins: npt.NDArray[np.int64], labels: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    places = np.unique(bins, return_inverse=True)[1]
    size = int(places.max(initial=-1)) + 1
    bads = np.bincount(places, weights=labels, minlength=size).astype(np.float64)
    return np.bincount(places, minlength=size).astype(np.float64) - bads, bads
