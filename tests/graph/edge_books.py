"""Small books with edge tables, and a reference for every fact written as slowly and plainly as it is told."""

import math
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from leanrisk.core.edge_table import EdgeFact, EdgeKind, EdgeTable
from leanrisk.core.memory import Entity, Fact, Memory
from leanrisk.graph.edges import Edges, merged_edges, thing_keys
from leanrisk.graph.events import Events

WINDOWS = (1.0, 4.0, 16.0)
PLEDGE = EdgeTable(
    "pledge",
    "firm",
    "a",
    "b",
    "since",
    until="until",
    amount="sum",
    kind=EdgeKind.GUARANTEE,
    facts=(EdgeFact.DEGREE, EdgeFact.FAN, EdgeFact.RISK, EdgeFact.CHAIN),
    cap=3,
)
ADDRESS = EdgeTable(
    "address", "firm", "a", "b", "since", kind=EdgeKind.SHARED, facts=(EdgeFact.FAN, EdgeFact.CLUSTER), cap=2
)
MEMORY = Memory(
    entities=(Entity("firm", ("firm",), facts=(Fact.RATE,)),),
    edges=(PLEDGE, ADDRESS),
    windows=WINDOWS,
    strength=2.5,
)
TABLES = {table.name: table for table in MEMORY.edges}


class Edge(NamedTuple):
    source: int
    target: int
    known: float
    until: float = math.inf
    amount: float = 1.0


class Loan(NamedTuple):
    firm: int
    happened: float
    known: float = math.inf
    outcome: float = math.nan


Book = tuple[list[Loan], dict[str, list[Edge]]]


def as_events(loans: list[Loan]) -> Events:
    columns = [np.array([loan[place] for loan in loans], dtype=np.float64) for place in range(4)]
    return Events(
        id=np.arange(1, len(loans) + 1, dtype=np.uint64),
        happened=columns[1],
        known=columns[2],
        outcome=columns[3].astype(np.float32),
        amount=np.zeros(len(loans), dtype=np.float32),
        keys={"firm": np.array([loan.firm for loan in loans], dtype=np.uint64)},
        ends={},
    )


def as_edges(edges: list[Edge], table: EdgeTable) -> Edges:
    columns = [np.array([edge[place] for edge in edges], dtype=np.float64) for place in range(5)]
    source, target = (np.array([edge[place] for edge in edges], dtype=np.uint64) for place in range(2))
    target = thing_keys(target) if table.kind is EdgeKind.SHARED else target
    return merged_edges(Edges.none(), Edges(source, target, *columns[2:]))[0]


def tables_of(book: Book) -> dict[str, Edges]:
    return {name: as_edges(edges, TABLES[name]) for name, edges in book[1].items()}


_KEY = st.integers(1, 6)
_EDGE = st.tuples(_KEY, _KEY, st.integers(-8, 60), st.one_of(st.none(), st.integers(0, 40)), st.integers(0, 9))
_LOAN = st.tuples(
    st.integers(0, 6), st.integers(-8, 60), st.integers(0, 24), st.sampled_from((1.0, 1.0, 0.0, math.nan))
)


@st.composite
def edges(draw: st.DrawFn, table: EdgeTable, most: int = 18) -> list[Edge]:
    """Crowded tables with circles: few firms, times on a quarter grid with many ties, some ends, whole amounts."""
    rows = draw(st.lists(_EDGE, max_size=most))
    return [
        Edge(one, other, since / 4, math.inf if held is None else (since + held) / 4, float(amount))
        for one, other, since, held, amount in rows
        if one != other or table.kind is EdgeKind.SHARED
    ]


@st.composite
def loans(draw: st.DrawFn, most: int = 16) -> list[Loan]:
    rows = draw(st.lists(_LOAN, max_size=most))
    return [
        Loan(firm, when / 4, math.inf if math.isnan(told) else (when + wait) / 4, told)
        for firm, when, wait, told in rows
    ]


@st.composite
def books(draw: st.DrawFn) -> Book:
    return draw(loans()), {name: draw(edges(table)) for name, table in TABLES.items()}


def later_changed(data: st.DataObject, book: Book, at: float) -> Book:
    """Return the book with everything that is known at `at` or later replaced: loans, outcomes, edges, ends."""
    told, wait = st.sampled_from((0.0, 1.0, math.nan)), st.integers(0, 20)
    kept = [loan for loan in book[0] if loan.happened < at]
    changed = [
        loan._replace(outcome=data.draw(told), known=at + data.draw(wait) / 4) if loan.known >= at else loan
        for loan in kept
    ]
    changed += [loan for loan in data.draw(loans(most=8)) if loan.happened >= at]
    others = {}
    for name, table in TABLES.items():
        held = [edge for edge in book[1][name] if edge.known < at]
        ends = [
            edge._replace(until=at + data.draw(wait) / 4) if edge.until >= at and data.draw(st.booleans()) else edge
            for edge in held
        ]
        others[name] = ends + [edge for edge in data.draw(edges(table, most=8)) if edge.known >= at]
    return changed, others


class Reference:
    """Facts of one firm at one moment, from the edges that hold and the outcomes known strictly before it."""

    def __init__(self, book: Book, table: EdgeTable, at: float) -> None:
        self.table, self.at = table, at
        self.begun = [edge for edge in dict.fromkeys(book[1][table.name]) if edge.known < at]
        # One edge told with and without its end is one edge.
        ends: dict[tuple[float, ...], float] = {}
        for edge in self.begun:
            one = (*edge[:3], edge.amount)
            ends[one] = edge.until if math.isinf(ends.get(one, math.inf)) else ends[one]
        self.begun = [Edge(int(a), int(b), known, until, amount) for (a, b, known, amount), until in ends.items()]
        self.edges = [edge for edge in self.begun if at <= edge.until]
        self.told = [loan for loan in book[0] if loan.known < at and not math.isnan(loan.outcome)]

    def facts(self, firm: int) -> list[float]:
        found = [fact for family in self.table.families for fact in getattr(self, family.value)(firm)]
        return found if firm else [math.nan] * len(found)

    def first(self, met: list[tuple[float, int]]) -> list[int]:
        earliest: dict[int, float] = {}
        for known, other in met:
            earliest[other] = min(known, earliest.get(other, math.inf))
        return sorted(earliest, key=lambda other: (earliest[other], other))[: self.table.cap]

    def met(self, firm: int) -> list[tuple[float, int]]:
        sources = [(edge.known, edge.source) for edge in self.edges if edge.target == firm]
        return self.received(firm) + sources

    def received(self, firm: int) -> list[tuple[float, int]]:
        return [(edge.known, edge.target) for edge in self.edges if edge.source == firm]

    def ring(self, around: list[int], met, visited: set[int]) -> list[int]:
        found = []
        for firm in around:
            near = set(self.first(met(firm)))
            found += [(known, other) for known, other in met(firm) if other in near and other not in visited]
        return self.first(found)

    def rated(self, ring: list[int]) -> list[float]:
        known = [loan.outcome for loan in self.told if loan.firm in ring]
        bads, strength = sum(known), MEMORY.strength
        book = (sum(loan.outcome for loan in self.told) + 1) / (len(self.told) + 2)
        return [len(known), bads, (bads + strength * book) / (len(known) + strength)]

    def degree(self, firm: int) -> list[float]:
        out = {edge.target for edge in self.edges if edge.source == firm}
        return [len(out), len({edge.source for edge in self.edges if edge.target == firm})]

    def fan(self, firm: int) -> list[float]:
        sides = (0,) if self.table.kind is EdgeKind.SHARED else (0, 1)
        return [
            sum(edge[side] == firm and self.recent(edge.known, window) for edge in self.begun)
            for side in sides
            for window in WINDOWS
        ]

    def recent(self, time: float, window: float) -> bool:
        return math.floor(time / (window / 8)) > math.floor(self.at / (window / 8)) - 8

    def risk(self, firm: int) -> list[float]:
        near = self.first(self.met(firm))
        return self.rated(near) + self.rated(self.ring(near, self.met, {firm, *near}))

    def chain(self, firm: int) -> list[float]:
        reached: list[int] = []
        step, amount = [firm], 0.0
        for _ in range(self.table.depth):
            amount += sum(edge.amount for edge in self.edges if edge.source in step)
            step = self.ring(step, self.received, {firm, *reached})
            reached += step
        return [amount, len(reached), *self.rated(reached)]

    def cluster(self, firm: int) -> list[float]:
        things = self.first_things([(edge.known, edge.target) for edge in self.edges if edge.source == firm])
        users = []
        for thing in things:
            met = [(edge.known, edge.source) for edge in self.edges if edge.target == thing]
            near = self.first(met)
            users += [(known, user) for known, user in met if user in near and user != firm]
        ring = self.first(users)
        return [len(ring), *self.rated(ring)]

    def first_things(self, met: list[tuple[float, int]]) -> list[int]:
        """Return the first things; of those met at one time the ones whose own keys are smallest."""
        earliest: dict[int, float] = {}
        for known, other in met:
            earliest[other] = min(known, earliest.get(other, math.inf))
        keys = {thing: int(thing_keys(np.array([thing], dtype=np.uint64))[0]) for thing in earliest}
        return sorted(earliest, key=lambda thing: (earliest[thing], keys[thing]))[: self.table.cap]


def reference(book: Book, asked: list[Loan]) -> np.ndarray:
    rows = [
        [fact for table in MEMORY.edges for fact in Reference(book, table, loan.happened).facts(loan.firm)]
        for loan in asked
    ]
    return np.array(rows, dtype=np.float32)
