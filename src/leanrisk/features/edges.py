"""Quantile edges: the knots between which a numeric field is read piecewise linearly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_SAMPLE = 200_000
_FARTHEST, _NEAREST = np.float32(1e37), np.float32(1e-37)
"""Edges lie within the one and apart by the other, so that no distance between two, nor its inverse, overflows."""


def quantile_edges(values: npt.NDArray[np.float32], *, bins: int) -> tuple[float, ...]:
    """Return at most `bins` + 1 strictly increasing float32 edges, near-equal numbers of `values` between them.

    values: float32, NaN and special codes already removed; a column without spread gets two edges one unit apart, so
    that a knot interval always exists. A column with few distinct values gets each of them as an edge.
    Source: Gorishniy, Rubachev, Babenko (2022), "On Embeddings for Numerical Features in Tabular Deep Learning", eq. 1.
    """
    if values.size > _SAMPLE:
        values = values[:: values.size // _SAMPLE + 1]
    values = np.clip(values, -_FARTHEST, _FARTHEST)
    distinct = np.unique(values)
    if distinct.size > bins + 1:
        shares = np.linspace(0.0, 1.0, bins + 1)
        distinct = np.unique(np.quantile(values, shares, method="nearest").astype(np.float32))
    distinct = distinct[np.diff(distinct, prepend=-np.float32(np.inf)) > _NEAREST]
    if distinct.size == 0:
        distinct = np.zeros(1, dtype=np.float32)
    if distinct.size == 1:
        distinct = np.array([distinct[0], distinct[0] + max(1.0, abs(float(distinct[0])))], dtype=np.float32)
    return tuple(float(edge) for edge in distinct)
