"""Confidence limits of AUC, alone and as a paired difference, by DeLong's variance in O(n log n).

DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988), eqs. 4-7; computed from midranks as in Sun & Xu,
IEEE Signal Processing Letters 21 (2014), algorithm 2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leanrisk.core.measurement import Interval
from leanrisk.core.metrics import Flags, Floats, checked, midranks
from leanrisk.evaluate.intervals import LEVEL, least_width, normal_quantile


def auc_interval(labels: npt.ArrayLike, scores: npt.ArrayLike, *, level: float = LEVEL) -> Interval:
    """Return AUC with its two-sided limits at `level`.

    The limits are those of logit(AUC), which keep their coverage near 1 and never leave [0, 1] (Pepe 2003, 5.2.4).
    Where DeLong's variance is zero or undefined (a perfect score, a single bad) they fall back on `least_width`.
    Raises `DataError` or `ModelError` as `core.metrics.checked` does.
    """
    bad, values = checked(labels, scores)
    z = normal_quantile(level)
    of_bads, of_goods = _placements(bad, values)
    value = float(of_bads.mean())
    variance = _variance(of_bads, of_goods)
    if variance <= 0.0 or value in (0.0, 1.0):
        width = least_width(min(of_bads.size, of_goods.size), level=level)
        return Interval(value, max(0.0, value - width), min(1.0, value + width))
    spread = value * (1.0 - value)
    centre, half = np.log(value / (1.0 - value)), z * np.sqrt(variance) / spread
    return Interval(value, float(_expit(centre - half)), float(_expit(centre + half)))


def auc_difference(
    labels: npt.ArrayLike, before: npt.ArrayLike, after: npt.ArrayLike, *, level: float = LEVEL
) -> Interval:
    """Return AUC(after) - AUC(before) on the same rows with its two-sided limits at `level`, paired.

    Each limit is a one-sided bound at (1 + level) / 2: ask for `ONE_SIDED_95` to get the bounds of a gate.
    Two scores that order all rows alike differ by exactly 0, limits included. Where they do not and the variance is
    zero or undefined all the same (both perfect, a single bad), the limits fall back on `least_width`.
    """
    bad, old = checked(labels, before)
    _, new = checked(labels, after)
    z = normal_quantile(level)
    ranks_old, ranks_new = midranks(old), midranks(new)
    if np.array_equal(ranks_old, ranks_new):
        return Interval(0.0, 0.0, 0.0)
    (old_bads, old_goods), (new_bads, new_goods) = _placements(bad, old), _placements(bad, new)
    of_bads, of_goods = new_bads - old_bads, new_goods - old_goods
    value = float(of_bads.mean())
    variance = _variance(of_bads, of_goods)
    half = (
        z * float(np.sqrt(variance)) if variance > 0.0 else least_width(min(of_bads.size, of_goods.size), level=level)
    )
    return Interval(value, max(-1.0, value - half), min(1.0, value + half))


def _placements(bad: Flags, values: Floats) -> tuple[Floats, Floats]:
    """Return each bad's share of goods scoring below it and each good's share of bads scoring above it (V10, V01)."""
    ranks = midranks(values)
    bads, goods = int(bad.sum()), int((~bad).sum())
    of_bads = (ranks[bad] - midranks(values[bad])) / goods
    of_goods = 1.0 - (ranks[~bad] - midranks(values[~bad])) / bads
    return of_bads, of_goods


def _variance(of_bads: Floats, of_goods: Floats) -> float:
    if min(of_bads.size, of_goods.size) < 2:
        return 0.0
    # Placements are sums of halves over a count: below this they differ by rounding alone.
    spread = float(of_bads.var(ddof=1) / of_bads.size + of_goods.var(ddof=1) / of_goods.size)
    return spread if spread > 1e-24 else 0.0


def _expit(value: float) -> float:
    return float(1.0 / (1.0 + np.exp(-value)))
