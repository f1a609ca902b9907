"""Between which two knots a number lies, and how far along: the piecewise-linear reading of a numeric field."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leanrisk.core.inputs import NumericField

Numbers = npt.NDArray[np.float32]


def knot_and_share(entry: NumericField, values: Numbers) -> tuple[npt.NDArray[np.int32], Numbers]:
    """Return each value's lower row among the field's own rows, and the weight of the row above it; both (rows,).

    values: float32 (rows,), contiguous. A missing value or a special code reads its own row alone, with share 0.
    Between knots e_j <= x < e_(j+1) the share is (x - e_j) * (1 / (e_(j+1) - e_j)), held within 0..1, in float32.
    """
    edges = np.array(entry.edges, dtype=np.float32)
    place = _inner_edges_reached(edges, values)
    inverse = np.float32(1.0) / (edges[1:] - edges[:-1])
    share = values - edges.take(place)
    # Far outside the edges the product may overflow: infinity is held at 1 like any other number.
    with np.errstate(over="ignore"):
        share *= inverse.take(place)
    np.maximum(share, np.float32(0.0), out=share)
    np.minimum(share, np.float32(1.0), out=share)
    lower = place.astype(np.int32)
    lower += 1 + len(entry.codes)
    for code_place, code in enumerate(entry.codes):
        special = values == np.float32(code)
        lower[special] = 1 + code_place
        share[special] = 0.0
    empty = np.isnan(values)
    lower[empty] = 0
    share[empty] = 0.0
    return lower, share


def _inner_edges_reached(edges: Numbers, values: Numbers) -> npt.NDArray[np.uint8]:
    """Return the lower knot's place: how many edges but the first and the last lie at or below each value.

    Up to 254 vectorised comparisons, which cost a third of a binary search whose every branch is a surprise.
    """
    reached = np.zeros(values.shape, dtype=np.uint8)
    at_least = np.empty(values.shape, dtype=np.bool_)
    for edge in edges[1:-1]:
        np.greater_equal(values, edge, out=at_least)
        reached += at_least.view(np.uint8)
    return reached
