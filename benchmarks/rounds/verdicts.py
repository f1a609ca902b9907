"""Differences between two models, round by round and pooled over the rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from leanrisk.core.measurement import Interval
from leanrisk.evaluate.bootstrap import metric_difference
from leanrisk.evaluate.delong import auc_difference

_NORMAL = 1.959964

Scores = npt.NDArray[np.float64]


def difference(labels: npt.ArrayLike, before: Scores, after: Scores, metric: str, *, seed: int) -> Interval:
    """Return metric(after) - metric(before) with its paired 95 % interval: DeLong for AUC, bootstrap for the rest."""
    if metric == "auc":
        return auc_difference(labels, before, after)
    return metric_difference(labels, before, after, metric, seed=seed)


def pooled(found: Sequence[Interval]) -> Interval:
    """Return the mean of independent differences with its 95 % interval; each round weighs the same."""
    widths = [(each.hi - each.lo) / (2 * _NORMAL) for each in found]
    mean = float(np.mean([each.value for each in found]))
    error = math.sqrt(sum(width**2 for width in widths)) / len(found)
    return Interval(mean, mean - _NORMAL * error, mean + _NORMAL * error)
