"""The graph's front end: raw numbers and category codes to tokens, as `Encoder.lookups` and `FieldTable` do it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from leanrisk.core.inputs import Fields, NumericField, TableLayout
from leanrisk.models.graph_builder import GraphBuilder
from leanrisk.models.quantization import TABLE, Quantization, TableSteps, codes_of, row_owners

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FrontEnd:
    """What the front end reads: the fields, the table (rows, width + 1) and the token of each look-up.

    With a `plan` what follows from other constants is left out of the file, and worked out when the graph is loaded;
    the table is int8 if the plan says so.
    """

    fields: Fields
    table: Floats
    lookup_tokens: tuple[int, ...]
    plan: Quantization | None = None

    @property
    def tokens(self) -> int:
        """Number of latent tokens."""
        return max(self.lookup_tokens) + 1

    def add_to(self, graph: GraphBuilder) -> str:
        """Add the front end for the graph inputs `numeric` and `category`; return tokens (rows, tokens, width + 1)."""
        table = _Table.of(graph, self.table, TableLayout.of(self.fields).runs, self.plan)
        parts = []
        if self.fields.numeric:
            parts.append(self._numbers(graph, table))
        if self.fields.category:
            parts.append(self._categories(graph, table))
        tokens = parts[0] if len(parts) == 1 else graph.op("Add", *parts)
        return tokens if table.columns is None else graph.op("Mul", tokens, table.columns)

    def _numbers(self, graph: GraphBuilder, table: _Table) -> str:
        edges = _Edges.of(graph, self.fields.numeric, packed=self.plan is not None)
        knot, special, code_row = _knots(graph, self.fields.numeric, edges)
        fields = self.fields.numeric
        hop = _hop(fields)
        steps = np.arange(len(fields), dtype=np.float32) * hop**2
        flat = _integers(graph, graph.op("Add", knot, graph.constant(steps)))
        over = graph.op("Sub", "numeric", graph.op("Gather", edges.floors, flat))
        share = graph.op("Mul", over, graph.op("Gather", edges.inverses, flat))
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
        return self._weighted_sum(graph, index, weight, table)

    def _weighted_sum(self, graph: GraphBuilder, index: str, weight: str, table: _Table) -> str:
        count = len(self.fields.numeric)
        owner = np.array(self.lookup_tokens[: 2 * count : 2])
        places, present = _padded(np.concatenate([owner, owner]), self.tokens)
        depth, width = present.shape[1], self.table.shape[1]
        where = graph.op("Gather", index, graph.constant(places), axis=1)
        share = graph.op("Gather", weight, graph.constant(places), axis=1)
        shares = present.ravel() * np.tile(table.factors[:count], 2)[places]
        if not (shares == 1).all():
            share = graph.op("Mul", share, graph.constant(shares))
        share = graph.op("Reshape", share, graph.constant([0, self.tokens, 1, depth]))
        read = table.read(graph, where)
        read = graph.op("Reshape", read, graph.constant([0, self.tokens, depth, width]))
        return graph.op("Squeeze", graph.op("MatMul", share, read), graph.constant([2]))

    def _categories(self, graph: GraphBuilder, table: _Table) -> str:
        numbers = len(self.fields.numeric)
        owner = np.array(self.lookup_tokens[2 * numbers :])
        places, present = _padded(owner, self.tokens)
        starts = np.array(TableLayout.of(self.fields).starts[numbers:], dtype=np.int64)
        index = graph.op("Add", "category", graph.constant(starts))
        where = graph.op("Gather", index, graph.constant(places), axis=1)
        read = table.read(graph, where)
        shares = present.ravel() * table.factors[numbers:][places]
        if not (shares == 1).all():
            read = graph.op("Mul", read, graph.constant(shares.reshape(-1, 1)))
        depth, width = present.shape[1], self.table.shape[1]
        read = graph.op("Reshape", read, graph.constant([0, self.tokens, depth, width]))
        return graph.op("ReduceSum", read, graph.constant([2]), keepdims=0)


@dataclass(frozen=True)
class _Table:
    """Name of the table (rows, width + 1), and what its numbers are multiplied with to mean what they say.

    `factors` (fields,): for each field's rows; `columns`: name of the factors of the columns, None where they are in.
    """

    name: str
    factors: Floats
    columns: str | None = None
    codes: bool = False

    @classmethod
    def of(
        cls, graph: GraphBuilder, table: Floats, runs: tuple[tuple[int, int], ...], plan: Quantization | None
    ) -> _Table:
        if plan is None or TABLE not in plan.parts:
            return cls(graph.constant(table, name="table"), np.ones(len(runs), dtype=np.float32))
        steps = TableSteps.of(table, row_owners(runs, len(table)))
        codes = graph.constant(codes_of(table, steps.whole), name="table")
        columns = graph.constant(steps.columns)
        if plan.arithmetic != "unpacked":
            return cls(codes, steps.fields, columns, codes=True)
        return cls(graph.op("Mul", graph.op("Cast", codes, to=TensorProto.FLOAT), columns), steps.fields)

    def read(self, graph: GraphBuilder, where: str) -> str:
        """Add the look-up of these rows, as float32."""
        read = graph.op("Gather", self.name, where)
        return graph.op("Cast", read, to=TensorProto.FLOAT) if self.codes else read


@dataclass(frozen=True)
class _Edges:
    """Names of the edges of all fields: in blocks (blocks, hop), the first of each block (fields, hop), and flat."""

    blocks: str
    firsts: str
    floors: str
    inverses: str

    @classmethod
    def of(cls, graph: GraphBuilder, fields: tuple[NumericField, ...], *, packed: bool) -> _Edges:
        hop = _hop(fields)
        edges = np.full((len(fields), hop**2), np.inf, dtype=np.float32)
        for place, entry in enumerate(fields):
            edges[place, : len(entry.edges)] = entry.edges
        blocks = graph.constant(edges.reshape(-1, hop))
        if not packed:
            lows, inverses = _intervals(fields, hop)
            return cls(blocks, graph.constant(edges[:, ::hop]), graph.constant(lows), graph.constant(inverses))
        # Constants of constants: whoever loads the graph works them out once. Behind a field's last edge stands
        # infinity, whose places nobody reads.
        split = graph.op("Reshape", blocks, graph.constant([len(fields), hop, hop]))
        firsts = graph.op("Gather", split, graph.constant(np.array(0, dtype=np.int64)), axis=2)
        floors = graph.op("Reshape", blocks, graph.constant([-1]))
        lower = graph.op("Slice", floors, graph.constant([0]), graph.constant([edges.size - 1]))
        upper = graph.op("Slice", floors, graph.constant([1]), graph.constant([edges.size]))
        return cls(blocks, firsts, floors, graph.op("Div", graph.number(1.0), graph.op("Sub", upper, lower)))


def _knots(graph: GraphBuilder, fields: tuple[NumericField, ...], edges: _Edges) -> tuple[str, str, str]:
    """Add the search for each number's knot; return (knot, special, row of the special value).

    The search takes two hops over about the square root of the number of edges each: a comparison with every edge would
    move seven times the memory per row.
    """
    hop = _hop(fields)
    value = graph.op("Unsqueeze", "numeric", graph.constant([2]))
    zero, one = graph.number(0.0), graph.number(1.0)
    reached = _count(graph, graph.op("GreaterOrEqual", value, edges.firsts))
    block = graph.op("Max", graph.op("Sub", reached, one), zero)
    steps = np.arange(len(fields), dtype=np.float32) * hop
    place_of_block = _integers(graph, graph.op("Add", block, graph.constant(steps)))
    near = graph.op("Gather", edges.blocks, place_of_block)
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
