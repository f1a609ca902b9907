"""The graph's front end: raw numbers and category codes to tokens, as `Encoder.lookups` and `FieldTable` do it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from leanrisk.core.inputs import Fields, TableLayout
from leanrisk.models.graph_builder import GraphBuilder
from leanrisk.models.graph_search import add_search
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
        read = [self._numbers(graph, table)] if self.fields.numeric else []
        tokens = self._with_categories(graph, table, read) if self.fields.category else read[0]
        return tokens if table.columns is None else graph.op("Mul", tokens, table.columns)

    def _numbers(self, graph: GraphBuilder, table: _Table) -> str:
        """Add the tokens that read numbers: the first ones, as numbers come before categories."""
        owner = self._owner[: len(self.fields.numeric)]
        places, present = _padded(owner, int(owner.max()) + 1)
        tokens, depth = present.shape
        read = add_search(graph, self.fields.numeric, places, present)
        # What stands on an empty place counts nothing: its whole is zero, and so is its share.
        factors = table.factors[places].reshape(tokens, 1, depth)
        whole = factors * present.reshape(tokens, 1, depth)
        share = read.share if (factors == 1).all() else graph.op("Mul", read.share, graph.constant(factors))
        weight = graph.op("Concat", graph.op("Sub", graph.constant(whole), share), share, axis=3)
        # A missing or special value reads its own row alone: its share of the row above is zero.
        above = graph.op("Add", read.row, graph.constant(np.array(1, dtype=np.int64)))
        index = graph.op("Squeeze", graph.op("Concat", read.row, above, axis=3), graph.constant([2]))
        return graph.op("Squeeze", graph.op("MatMul", weight, table.read(graph, index)), graph.constant([2]))

    def _with_categories(self, graph: GraphBuilder, table: _Table, numbers: list[str]) -> str:
        """Add the rows that categories read, and sum them into all tokens, with what `numbers` has of those."""
        count = len(self.fields.numeric)
        starts = np.array(TableLayout.of(self.fields).starts[count:], dtype=np.int64)
        read = [*numbers, table.read(graph, graph.op("Add", "category", graph.constant(starts)))]
        # One row for each token: itself, as far as numbers fill it, and which look-ups it sums, with what factor.
        token = np.arange(self.tokens)[:, None]
        sums = (self._owner[count:] == token) * table.factors[count:]
        itself = token == np.arange(self._owner[count - 1] + 1) if count else sums[:, :0]
        together = graph.constant(np.hstack([itself, sums]).astype(np.float32))
        return graph.op("MatMul", together, read[0] if len(read) == 1 else graph.op("Concat", *read, axis=1))

    @property
    def _owner(self) -> npt.NDArray[np.int64]:
        """The token of each field; a number's two look-ups are of one token."""
        pairs = 2 * len(self.fields.numeric)
        return np.array([*self.lookup_tokens[:pairs:2], *self.lookup_tokens[pairs:]])


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
