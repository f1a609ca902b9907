"""Constants of a packed graph that follow a rule: the rule is written, and worked out when the graph is loaded."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from leanrisk.models.graph_builder import GraphBuilder

_LEAST = 256
"""Numbers of a constant from which on a rule is shorter than they are."""
_LEAST_RUN = 32
"""Numbers of a run from which on it saves more bytes than a constant of its own takes."""
_MOST_TOGETHER = 32
_BITS = np.array([128, 64, 32, 16, 8, 4, 2, 1], dtype=np.uint8)


def add_runs(graph: GraphBuilder, matrix: npt.NDArray[np.int64]) -> str:
    """Add a matrix whose rows mostly read `head, first, first + 1, ..., tail, tail`, and return its name.

    Each such row is told by four numbers. Where rows do not read so, what differs is written out: single numbers where
    they are few, as the codes of a number's special values are, whole rows otherwise.
    """
    if not graph.packed or matrix.size < _LEAST or matrix.shape[1] < 3:
        return graph.constant(matrix, narrow=True)
    head, first, tail = matrix[:, :1], matrix[:, 1:2], matrix[:, -1:]
    place = np.arange(matrix.shape[1], dtype=np.int64)
    length = 1 + np.cumprod(matrix[:, 1:] == first + place[:-1], axis=1).sum(axis=1, keepdims=True)
    ruled = np.where(place == 0, head, np.where(place < length, first - 1 + place, tail))
    cells = np.argwhere(ruled != matrix)
    odd = np.unique(cells[:, 0])
    by_cell = 3 * len(cells) < odd.size * matrix.shape[1]
    if not by_cell and 2 * odd.size > len(matrix):
        return graph.constant(matrix, narrow=True)
    places = graph.constant(place)
    heads, before, lengths, tails = _columns(graph, [head, first - 1, length, tail])
    run = graph.op("Add", before, places)
    told = graph.op("Where", graph.op("Less", places, lengths), run, tails)
    start = graph.op("Equal", places, graph.constant(np.array(0, dtype=np.int64)))
    told = graph.op("Where", start, heads, told)
    if not odd.size:
        return told
    if by_cell:
        return graph.op("ScatterND", told, graph.constant(cells), graph.constant(matrix[tuple(cells.T)]))
    return graph.op("ScatterND", told, graph.constant(odd.reshape(-1, 1)), graph.constant(matrix[odd]))


def _columns(graph: GraphBuilder, columns: list[npt.NDArray[np.int64]]) -> tuple[str, ...]:
    """Add columns (rows, 1): few rows as one constant, whose widest number then sets the bytes of all."""
    if len(columns[0]) > _MOST_TOGETHER:
        return tuple(map(graph.constant, columns))
    whole = graph.constant(np.concatenate(columns, axis=1))
    return graph.ops("Split", whole, results=len(columns), axis=1, num_outputs=len(columns))


def add_numbers(graph: GraphBuilder, numbers: npt.NDArray[np.float32]) -> str:
    """Add numbers (n,), long runs of those that 16 bits hold exactly in 16, and return their name."""
    with np.errstate(over="ignore"):
        short = np.concatenate([[False], numbers.astype(np.float16).astype(np.float32) == numbers, [False]])
    edges = np.flatnonzero(short[1:] != short[:-1]).reshape(-1, 2)
    runs = [(int(start), int(end)) for start, end in edges if end - start >= _LEAST_RUN]
    if not graph.packed or not runs:
        return graph.constant(numbers)
    bounds = sorted({0, numbers.size, *(bound for run in runs for bound in run)})
    parts = [graph.constant(numbers[start:end]) for start, end in pairwise(bounds)]
    return graph.op("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]


def add_bits(graph: GraphBuilder, flags: npt.NDArray[np.bool_]) -> str:
    """Add flags (n,), eight of them to a byte, and return their name."""
    if not graph.packed or flags.size < _LEAST:
        return graph.constant(flags)
    packed = graph.constant(np.packbits(flags).reshape(-1, 1))
    set_ = graph.op("Mod", graph.op("Div", packed, graph.constant(_BITS)), graph.constant(np.array(2, dtype=np.uint8)))
    flat = graph.op("Reshape", set_, graph.constant([-1]))
    kept = graph.op("Slice", flat, graph.constant([0]), graph.constant([flags.size]))
    return graph.op("Cast", kept, to=TensorProto.BOOL)
