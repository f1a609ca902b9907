"""Quantile edges: the knots between which a numeric field is read piecewise linearly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_SAMPLE = 200_000
_END_ROWS = 5
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
        distinct = np.unique(_between_rows(values, bins))
    distinct = distinct[np.diff(distinct, prepend=-np.float32(np.inf)) > _NEAREST]
    if distinct.size == 0:
        distinct = np.zeros(1, dtype=np.float32)
    if distinct.size == 1:
        distinct = np.array([distinct[0], distinct[0] + max(1.0, abs(float(distinct[0])))], dtype=np.float32)
    return tuple(float(edge) for edge in distinct)


def _between_rows(values: npt.NDArray[np.float32], bins: int) -> npt.NDArray[np.float32]:
    """Return quantiles that are means of neighbouring values, and of the `_END_ROWS` outermost ones at both ends.

    An edge travels with the bundle; the amount of one applicant must not.
    """
    ordered = np.sort(values).astype(np.float64)
    places = np.linspace(0, ordered.size, bins + 1)[1:-1].astype(np.int64)
    inner = (ordered[places - 1] + ordered[places]) / 2
    ends = ordered[:_END_ROWS].mean(), ordered[-_END_ROWS:].mean()
    return np.concatenate([ends[:1], inner, ends[1:]]).astype(np.float32)
