"""Constants of a packed graph that follow a rule: the rule is written, and worked out when the graph is loaded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from leanrisk.models.graph_builder import GraphBuilder

_LEAST = 256
"""Numbers of a constant from which on a rule is shorter than they are."""
_BITS = np.array([128, 64, 32, 16, 8, 4, 2, 1], dtype=np.uint8)


def add_runs(graph: GraphBuilder, matrix: npt.NDArray[np.int64]) -> str:
    """Add a matrix whose rows mostly read `head, first, first + 1, ..., tail, tail`, and return its name.

    Each such row is told by four numbers; rows that do not read so are written out.
    """
    if not graph.packed or matrix.size < _LEAST or matrix.shape[1] < 3:
        return graph.constant(matrix, narrow=True)
    head, first, tail = matrix[:, :1], matrix[:, 1:2], matrix[:, -1:]
    place = np.arange(matrix.shape[1], dtype=np.int64)
    length = 1 + np.cumprod(matrix[:, 1:] == first + place[:-1], axis=1).sum(axis=1, keepdims=True)
    ruled = np.where(place == 0, head, np.where(place < length, first - 1 + place, tail))
    odd = np.flatnonzero((ruled != matrix).any(axis=1))
    if 2 * odd.size > len(matrix):
        return graph.constant(matrix, narrow=True)
    places = graph.constant(place)
    run = graph.op("Add", graph.constant(first - 1), places)
    told = graph.op("Where", graph.op("Less", places, graph.constant(length)), run, graph.constant(tail))
    start = graph.op("Equal", places, graph.constant(np.array(0, dtype=np.int64)))
    told = graph.op("Where", start, graph.constant(head), told)
    if not odd.size:
        return told
    return graph.op("ScatterND", told, graph.constant(odd.reshape(-1, 1)), graph.constant(matrix[odd]))


def add_bits(graph: GraphBuilder, flags: npt.NDArray[np.bool_]) -> str:
    """Add flags (n,), eight of them to a byte, and return their name."""
    if not graph.packed or flags.size < _LEAST:
        return graph.constant(flags)
    packed = graph.constant(np.packbits(flags).reshape(-1, 1))
    set_ = graph.op("Mod", graph.op("Div", packed, graph.constant(_BITS)), graph.constant(np.array(2, dtype=np.uint8)))
    flat = graph.op("Reshape", set_, graph.constant([-1]))
    kept = graph.op("Slice", flat, graph.constant([0]), graph.constant([flags.size]))
    return graph.op("Cast", kept, to=TensorProto.BOOL)
