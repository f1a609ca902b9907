"""Columns that say the same: clusters by rank correlation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]


def rank_correlations(values: npt.NDArray[np.float32]) -> Floats:
    """Return Spearman's correlation of each pair of columns of `values` (rows, columns), float64 (columns, columns).

    A missing value (NaN) takes the middle rank: it neither agrees nor disagrees. A column with one value has the
    correlation 0 with every other.
    """
    ranks = np.empty(values.shape, dtype=np.float64)
    for place in range(values.shape[1]):
        column = values[:, place]
        known = ~np.isnan(column)
        ranks[:, place] = 0.0
        if known.any():
            inside = rankdata(column[known])
            ranks[known, place] = inside - inside.mean()
    length = np.sqrt((ranks**2).sum(axis=0))
    length[length == 0] = np.inf
    unit = ranks / length
    found = np.clip(unit.T @ unit, -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    return np.asarray(found)


def clusters(correlations: Floats, *, at_least: float) -> npt.NDArray[np.int64]:
    """Return the number of the cluster of each column, int64 (columns,), counted from 0 in column order.

    `correlations` of each pair of columns, float64 (columns, columns), see `rank_correlations`.

    Two columns share a cluster only where every pair in it has an absolute rank correlation of `at_least` (complete
    linkage): a chain of neighbours does not make its two ends redundant.
    """
    count = correlations.shape[0]
    if count < 2:
        return np.zeros(count, dtype=np.int64)
    distance = 1.0 - np.abs(correlations)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(np.maximum(distance, 0.0), checks=False), method="complete")
    found = fcluster(tree, t=1.0 - at_least + 1e-12, criterion="distance")
    first = {number: place for place, number in reversed(list(enumerate(found)))}
    order = {number: place for place, number in enumerate(sorted(first, key=first.__getitem__))}
    return np.array([order[number] for number in found], dtype=np.int64)
