"""The graph's front end: raw numbers and category codes to tokens, as `Encoder.lookups` and `FieldTable` do it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from leanrisk.core.inputs import Fields, NumericField, TableLayout
from leanrisk.models.graph_builder import GraphBuilder

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FrontEnd:
    """What the front end reads: the fields, the table (rows, width + 1) and the token of each look-up."""

    fields: Fields
    table: Floats
    lookup_tokens: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Number of latent tokens."""
        return max(self.lookup_tokens) + 1

    def add_to(self, graph: GraphBuilder) -> str:
        """Add the front end for the graph inputs `numeric` and `category`; return tokens (rows, tokens, width + 1)."""
        parts = []
        if self.fields.numeric:
            parts.append(self._numbers(graph))
        if self.fields.category:
            parts.append(self._categories(graph))
        return parts[0] if len(parts) == 1 else graph.op("Add", *parts)

    def _numbers(self, graph: GraphBuilder) -> str:
        knot, special, code_row = _knots(graph, self.fields.numeric)
        fields = self.fields.numeric
        hop = _hop(fields)
        steps = np.arange(len(fields), dtype=np.float32) * hop**2
        flat = _integers(graph, graph.op("Add", knot, graph.constant(steps)))
        floors, inverses = _intervals(fields, hop)
        over = graph.op("Sub", "numeric", graph.op("Gather", graph.constant(floors), flat))
        share = graph.op("Mul", over, graph.op("Gather", graph.constant(inverses), flat))
        zero, one = graph.number(0.0), graph.number(1.0)
        share = graph.op("Min", graph.op("Max", share, zero), one)
        # A special value reads its own row alone: share 0, and the upper look-up repeats the lower one.
        share = graph.op("Where", special, zero, share)
        firsts = np.array([1 + len(f.codes) for f in fields], dtype=np.float32)
        row = graph.op("Where", special, code_row, graph.op("Add", knot, graph.constant(firsts)))
        starts = np.array(TableLayout.of(self.fields).starts[: len(fields)], dtype=np.int64)
        lower = graph.op("Add", _integers(graph, row), graph.constant(starts))
        upper = graph.op("Add", lower, _integers(graph, graph.op("Not", special)))
        index = graph.op("Concat", lower, upper, axis=1)
        weight = graph.op("Concat", graph.op("Sub", one, share), share, axis=1)
        return self._weighted_sum(graph, index, weight)

    def _weighted_sum(self, graph: GraphBuilder, index: str, weight: str) -> str:
        count = len(self.fields.numeric)
        owner = np.array(self.lookup_tokens[: 2 * count : 2])
        places, present = _padded(np.concatenate([owner, owner]), self.tokens)
        depth, width = present.shape[1], self.table.shape[1]
        where = graph.op("Gather", index, graph.constant(places), axis=1)
        share = graph.op("Gather", weight, graph.constant(places), axis=1)
        if not present.all():
            share = graph.op("Mul", share, graph.constant(present.ravel()))
        share = graph.op("Reshape", share, graph.constant([0, self.tokens, 1, depth]))
        read = graph.op("Gather", graph.constant(self.table, name="table"), where)
        read = graph.op("Reshape", read, graph.constant([0, self.tokens, depth, width]))
        return graph.op("Squeeze", graph.op("MatMul", share, read), graph.constant([2]))

    def _categories(self, graph: GraphBuilder) -> str:
        numbers = len(self.fields.numeric)
        owner = np.array(self.lookup_tokens[2 * numbers :])
        places, present = _padded(owner, self.tokens)
        starts = np.array(TableLayout.of(self.fields).starts[numbers:], dtype=np.int64)
        index = graph.op("Add", "category", graph.constant(starts))
        where = graph.op("Gather", index, graph.constant(places), axis=1)
        read = graph.op("Gather", graph.constant(self.table, name="table"), where)
        if not present.all():
            read = graph.op("Mul", read, graph.constant(present.reshape(-1, 1)))
        depth, width = present.shape[1], self.table.shape[1]
        read = graph.op("Reshape", read, graph.constant([0, self.tokens, depth, width]))
        return graph.op("ReduceSum", read, graph.constant([2]), keepdims=0)


def _knots(graph: GraphBuilder, fields: tuple[NumericField, ...]) -> tuple[str, str, str]:
    """Add the search for each number's knot; return (knot, special, row of the special value).

    The search takes two hops over about the square root of the number of edges each: a comparison with every edge would
    move seven times the memory per row.
    """
    hop = _hop(fields)
    edges = np.full((len(fields), hop**2), np.inf, dtype=np.float32)
    for place, entry in enumerate(fields):
        edges[place, : len(entry.edges)] = entry.edges
    value = graph.op("Unsqueeze", "numeric", graph.constant([2]))
    zero, one = graph.number(0.0), graph.number(1.0)
    reached = _count(graph, graph.op("GreaterOrEqual", value, graph.constant(edges[:, ::hop])))
    block = graph.op("Max", graph.op("Sub", reached, one), zero)
    steps = np.arange(len(fields), dtype=np.float32) * hop
    place_of_block = _integers(graph, graph.op("Add", block, graph.constant(steps)))
    near = graph.op("Gather", graph.constant(edges.reshape(-1, hop)), place_of_block)
    within = _count(graph, graph.op("GreaterOrEqual", value, near))
    # `within` counts the block's own first edge, which is what "minus one" takes off again.
    knot = graph.op("Add", graph.op("Mul", block, graph.number(hop)), graph.op("Sub", within, one))
    lasts = np.array([len(f.edges) - 2 for f in fields], dtype=np.float32)
    knot = graph.op("Min", graph.op("Max", knot, zero), graph.constant(lasts))
    special = graph.op("IsNaN", "numeric")
    deepest = max(len(f.codes) for f in fields)
    if not deepest:
        return knot, special, zero
    codes = np.full((len(fields), deepest), np.nan, dtype=np.float32)
    for place, entry in enumerate(fields):
        codes[place, : len(entry.codes)] = entry.codes
    same = graph.op("Cast", graph.op("Equal", value, graph.constant(codes)), to=TensorProto.FLOAT)
    ranks = graph.constant(np.arange(1, deepest + 1, dtype=np.float32).reshape(-1, 1))
    code_row = graph.op("Squeeze", graph.op("MatMul", same, ranks), graph.constant([2]))
    return knot, graph.op("Or", special, graph.op("Greater", code_row, zero)), code_row


def _hop(fields: tuple[NumericField, ...]) -> int:
    return math.ceil(math.sqrt(max(len(entry.edges) for entry in fields)))


def _intervals(fields: tuple[NumericField, ...], hop: int) -> tuple[Floats, Floats]:
    floors = np.zeros((len(fields), hop**2), dtype=np.float32)
    inverses = np.zeros_like(floors)
    for place, entry in enumerate(fields):
        own = np.array(entry.edges, dtype=np.float32)
        floors[place, : own.size] = own
        inverses[place, : own.size - 1] = np.float32(1.0) / (own[1:] - own[:-1])
    return floors.ravel(), inverses.ravel()


def _count(graph: GraphBuilder, truth: str) -> str:
    numbers = graph.op("Cast", truth, to=TensorProto.FLOAT)
    return graph.op("ReduceSum", numbers, graph.constant([2]), keepdims=0)


def _integers(graph: GraphBuilder, numbers: str) -> str:
    return graph.op("Cast", numbers, to=TensorProto.INT64)


def _padded(owner: npt.NDArray[np.int64], tokens: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return look-up places (tokens * longest,) and which are real (tokens, longest), from each look-up's token."""
    members = [np.flatnonzero(owner == token) for token in range(tokens)]
    depth = max(len(places) for places in members)
    places = np.zeros((tokens, depth), dtype=np.int64)
    present = np.zeros((tokens, depth), dtype=np.float32)
    for token, own in enumerate(members):
        places[token, : own.size] = own
        present[token, : own.size] = 1.0
    return places.ravel(), present
