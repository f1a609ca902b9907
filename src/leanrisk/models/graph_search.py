"""The graph's search for the knots of numbers: which row of the table a value reads, and its share of the next one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from leanrisk.core.inputs import Fields, NumericField, TableLayout
from leanrisk.models.graph_builder import GraphBuilder
from leanrisk.models.graph_runs import add_bits, add_numbers, add_runs

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """What the search found, both (rows, tokens, 1, depth): the lower `row`, int64, and the `share` of the next one."""

    row: str
    share: str


def add_search(graph: GraphBuilder, fields: Sequence[NumericField], places: Places, present: Floats) -> Found:
    """Add the search for the graph input `numeric` (rows, fields).

    `places` (tokens * depth,) says whose field stands where, `present` (tokens, depth) where one does; elsewhere the
    share is zero.

    The number of cuts of its field that a value reached is its interval, and tables by interval hold the rest. Every
    value is compared with a few cuts at once, spread evenly, and then with those between two of them: both times about
    as many as the square root of all. With all cuts at once a single record would save a microsecond of operators, and
    a row in a batch would pay 1.6 of comparisons; a search in hops takes several times the operators. Cuts are counted
    in bytes, a quarter of the memory of floats, and tables are read by `GatherElements`, which for single numbers is
    five times as fast as `Gather`.
    """
    found, depth = _Intervals.of(fields), present.shape[1]
    value = _placed(graph, places)
    known = add_numbers(graph, found.known)
    cuts = graph.op("Gather", known, add_runs(graph, found.cuts[places]))
    interval = _flat(graph, _intervals(graph, value, cuts, places.size, found.cuts.shape[1]))
    # Row 0 stands for itself, whatever the interval.
    table_rows = np.where(present.reshape(-1, 1) > 0, found.rows[places], 0)
    rows = graph.op("Reshape", add_runs(graph, table_rows), graph.constant([-1]))
    floors = graph.op("Gather", known, rows)
    inverses = graph.op("Gather", _inverses(graph, known, found), rows)
    zero, one = (graph.constant(np.array(number, dtype=np.float32)) for number in (0.0, 1.0))
    over = graph.op("Sub", _flat(graph, value), graph.op("GatherElements", floors, interval))
    run = graph.op("Mul", over, graph.op("GatherElements", inverses, interval))
    # Missing is not a number, and neither is infinity times the zero of a row that stands for itself.
    share = graph.op("Where", graph.op("IsNaN", run), zero, graph.op("Clip", run, zero, one))
    shape = graph.constant([-1, places.size // depth, 1, depth])
    row = graph.op("GatherElements", rows, interval)
    return Found(graph.op("Reshape", row, shape), graph.op("Reshape", share, shape))


def _placed(graph: GraphBuilder, places: Places) -> str:
    """Add the values of the fields at these places, (rows, places); of a turned table whole rows are copied at once."""
    turned = graph.op("Gather", graph.op("Transpose", "numeric", perm=[1, 0]), graph.constant(places))
    return graph.op("Transpose", turned, perm=[1, 0])


def _intervals(graph: GraphBuilder, value: str, cuts: str, places: int, width: int) -> str:
    """Add the interval of each value, (rows, 1, places) int32, counted on from one place to the next.

    `cuts`, a constant (places, width): numbers that rise, NaN at the end; `width` is a square.
    """
    side = math.isqrt(width)
    asked = graph.op("Reshape", value, graph.constant([0, 1, places]))
    # A constant of constants: whoever loads the graph works it out once.
    ends = graph.op("Slice", cuts, *(graph.constant([number]) for number in (side - 1, width - 1, 1, side)))
    group = _reached(graph, asked, graph.op("Transpose", ends, perm=[1, 0]), side, each=side)
    first = graph.op("Add", group, graph.constant(np.arange(places, dtype=np.int32) * np.int32(width)))
    inside = graph.op("Add", first, graph.constant(np.arange(side - 1, dtype=np.int32)[:, None]))
    between = graph.op("GatherElements", _flat(graph, cuts), _flat(graph, inside))
    between = graph.op("Reshape", between, graph.constant([-1, side - 1, places]))
    return graph.op("Add", first, _reached(graph, asked, between, side))


def _reached(graph: GraphBuilder, asked: str, cuts: str, side: int, *, each: int = 1) -> str:
    """Add `each` times how many of its `side - 1` cuts a value reached, (rows, 1, places) int32."""
    bits = graph.op("Cast", graph.op("GreaterOrEqual", asked, cuts), to=TensorProto.UINT8)
    return graph.op("MatMulInteger", graph.constant(np.full((1, side - 1), each, dtype=np.uint8)), bits)


def _flat(graph: GraphBuilder, name: str) -> str:
    return graph.op("Reshape", name, graph.constant([-1]))


def _inverses(graph: GraphBuilder, known: str, found: _Intervals) -> str:
    """Add one over the way from each row's number to the next row's, zero where a row stands for itself."""
    size = found.knots.size
    lower = graph.op("Slice", known, graph.constant([0]), graph.constant([size]))
    upper = graph.op("Slice", known, graph.constant([1]), graph.constant([size + 1]))
    inverses = graph.op("Div", graph.number(1.0), graph.op("Sub", upper, lower))
    return graph.op("Where", add_bits(graph, found.knots), inverses, graph.number(0.0))


@dataclass(frozen=True)
class _Intervals:
    """Where the intervals of each field begin and which row of the table each of them reads.

    `known`: the number of each of the table's numeric rows (a code, an edge; zero for missing), then the numbers that
    follow the codes, minus infinity and NaN. `knots`: which rows are the lower of two. `cuts` (fields, width): places
    in `known` of the numbers at which a new interval begins, minus infinity first, so that a missing value alone
    reaches none; NaN, which nothing reaches, fills up to a square number, with one at least. `rows` (fields, width):
    the row that each interval reads.
    """

    known: Floats
    knots: npt.NDArray[np.bool_]
    cuts: Places
    rows: Places

    @classmethod
    def of(cls, fields: Sequence[NumericField]) -> _Intervals:
        layout = TableLayout.of(_only(fields))
        numbers = np.concatenate([np.array([0.0, *field.codes, *field.edges], dtype=np.float32) for field in fields])
        # A code is an interval of one number: the next one starts with the number that follows it.
        after = np.nextafter([code for field in fields for code in field.codes], np.inf, dtype=np.float32)
        lowest, nothing = numbers.size + after.size, numbers.size + after.size + 1
        known = np.concatenate([numbers, after, np.array([-np.inf, np.nan], dtype=np.float32)])
        knots = np.zeros(numbers.size, dtype=np.bool_)
        begins, reads = [], []
        coded = numbers.size
        for start, field in zip(layout.starts, fields, strict=True):
            codes, edges = len(field.codes), len(field.edges)
            first = start + 1 + codes
            knots[first : first + edges - 1] = True
            marks = [lowest, *range(first + 1, first + edges - 1)]
            marks += [*range(start + 1, first), *range(coded, coded + codes)]
            coded += codes
            marks.sort(key=lambda place: float(known[place]))
            begins.append(marks)
            reads.append([start, *(_row(field, known[place], start) for place in marks)])
        width = (math.isqrt(max(map(len, begins))) + 1) ** 2
        cuts = np.array([marks + [nothing] * (width - len(marks)) for marks in begins], dtype=np.int64)
        rows = np.array([read + [read[0]] * (width - len(read)) for read in reads], dtype=np.int64)
        return cls(known, knots, cuts, rows)


def _row(field: NumericField, value: np.float32, start: int) -> int:
    """Return the table's row that `value` reads; `start` is the row of the missing value."""
    codes, edges = (np.array(numbers, dtype=np.float32) for numbers in (field.codes, field.edges))
    own = np.flatnonzero(codes == value)
    if own.size:
        return start + 1 + int(own[0])
    return start + 1 + codes.size + int((edges[1:-1] <= value).sum())


def _only(fields: Sequence[NumericField]) -> Fields:
    return Fields(tuple(fields), ())
