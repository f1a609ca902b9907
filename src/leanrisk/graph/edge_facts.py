"""The facts of edge tables for a whole table at once, each row as of its own moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from leanrisk.core.edge_table import EdgeFact, EdgeKind, EdgeTable
from leanrisk.core.memory import PREFIX, Memory
from leanrisk.graph.edge_graph import EdgeGraph, Ring, Side
from leanrisk.graph.edges import Edges
from leanrisk.graph.events import Events
from leanrisk.graph.keys import MISSING_KEY, Keys
from leanrisk.graph.link_timeline import Floats, Ints, Timeline
from leanrisk.graph.smoothing import book_rate, smoothed

_RATED = ("known", "bads", "risk")
_AT_ONCE = 4096
"""Questions that are answered in one go: each may open `cap` times `cap` ways."""


def edge_fact_names(table: EdgeTable, windows: tuple[float, ...]) -> tuple[str, ...]:
    """Return the columns of a table's facts, family by family."""
    families = (name for fact in table.families for name in _names(fact, table, windows))
    return tuple(f"{PREFIX}{table.name}.{name}" for name in families)


def _names(fact: EdgeFact, table: EdgeTable, windows: tuple[float, ...]) -> tuple[str, ...]:
    match fact:
        case EdgeFact.DEGREE:
            return ("things",) if table.kind is EdgeKind.SHARED else ("out", "into")
        case EdgeFact.FAN:
            sides = ("out",) if table.kind is EdgeKind.SHARED else ("out", "in")
            return tuple(f"fan_{side}_{window:g}" for side in sides for window in windows)
        case EdgeFact.RISK:
            return (*_RATED, *(f"{name}_2" for name in _RATED))[: 3 * table.hops]
        case EdgeFact.CHAIN:
            return ("chain_amount", "chain_size", *(f"chain_{name}" for name in _RATED))
        case EdgeFact.CLUSTER:
            return ("cluster_size", *(f"cluster_{name}" for name in _RATED))


def build_edge_facts(memory: Memory, table: EdgeTable, edges: Edges, events: Events, asked: Events) -> pl.DataFrame:
    """Return one row of float32 facts for every asked row, as known strictly before it happened.

    An edge counts from its own time on and as long as it holds, an outcome from when it was known. All facts of a row
    that names no entity are NaN. `EdgeState` gives the same, one row at a time.
    """
    subjects = asked.keys[table.entity]
    graph = EdgeGraph(edges, subjects, table.cap)
    told = Told.of(graph, events.keys[table.entity], events, memory.strength)
    node, at = graph.number(subjects), asked.happened
    parts = [
        np.column_stack([fact for family in table.families for fact in _columns(family, work)])
        for part in _stretches(node.size)
        for work in [_Work(memory, table, graph, told, node[part], at[part])]
    ]
    names = edge_fact_names(table, memory.windows)
    facts = np.concatenate(parts) if parts else np.empty((0, len(names)))
    facts = np.where((subjects == MISSING_KEY)[:, None], np.nan, facts).astype(np.float32)
    return pl.DataFrame({name: facts[:, place] for place, name in enumerate(names)})


def _stretches(rows: int) -> Iterator[slice]:
    for begin in range(0, rows, _AT_ONCE):
        yield slice(begin, begin + _AT_ONCE)


@dataclass(frozen=True)
class Told:
    """Outcomes of the entities' own decisions, and of the whole book, by the time at which they became known."""

    times: Floats
    every: Timeline
    bads: Timeline
    whole: tuple[Ints, Ints]
    strength: float

    @classmethod
    def of(cls, graph: EdgeGraph, keys: Keys, events: Events, strength: float) -> Told:
        """Return the outcomes of a book; those of entities that have no edge count in the book alone."""
        known = np.where(np.isfinite(events.outcome), np.maximum(events.known, events.happened), np.inf)
        rows = np.flatnonzero(np.isfinite(known))
        rows = rows[np.argsort(known[rows], kind="stable")]
        times = np.unique(known[rows])
        rank, bad = np.searchsorted(times, known[rows]), events.outcome[rows] == 1
        node = np.minimum(np.searchsorted(graph.keys, keys[rows]), max(graph.keys.size - 1, 0))
        own = graph.keys[node] == keys[rows] if graph.keys.size else np.zeros(rows.size, dtype=np.bool_)
        nodes, span = max(graph.keys.size, 1), times.size + 1
        every, bads = (Timeline.of(node[kept], rank[kept], nodes, span) for kept in (own, own & bad))
        return cls(times, every, bads, (rank, rank[bad]), strength)

    def rated(self, ring: Ring, at: Floats) -> list[Floats]:
        """Return outcomes of each question's ring, bads among them, and their rate, smoothed to that of the book."""
        rank = np.searchsorted(self.times, at)
        counts = (line.counts(ring.node, rank[ring.which]) for line in (self.every, self.bads))
        known, bads = (np.bincount(ring.which, weights=count, minlength=at.size).astype(np.float64) for count in counts)
        whole, whole_bads = (np.searchsorted(ranks, rank).astype(np.float64) for ranks in self.whole)
        return [known, bads, smoothed(bads, known, book_rate(whole_bads, whole), self.strength)]


@dataclass(frozen=True)
class _Work:
    """Some of the questions, and all that their answers are made of."""

    memory: Memory
    table: EdgeTable
    graph: EdgeGraph
    told: Told
    node: Ints
    at: Floats

    @property
    def subject(self) -> Ints:
        """Every question's own node as a number of `EdgeGraph.code`, sorted."""
        return self.graph.code(np.arange(self.node.size), self.node)


def _columns(fact: EdgeFact, work: _Work) -> Iterator[Floats]:
    match fact:
        case EdgeFact.DEGREE:
            yield from _degrees(work)
        case EdgeFact.FAN:
            yield from _fans(work)
        case EdgeFact.RISK:
            yield from _risks(work)
        case EdgeFact.CHAIN:
            yield from _chains(work)
        case EdgeFact.CLUSTER:
            yield from _clusters(work)


def _sides(work: _Work) -> list[Side]:
    return [work.graph.out] if work.table.kind is EdgeKind.SHARED else [work.graph.out, work.graph.into]


def _degrees(work: _Work) -> Iterator[Floats]:
    for side in _sides(work):
        yield work.graph.degree(side, work.node, work.at)


def _fans(work: _Work) -> Iterator[Floats]:
    for side in _sides(work):
        for window in work.memory.windows:
            yield work.graph.recent(side, work.node, work.at, window)


def _risks(work: _Work) -> Iterator[Floats]:
    side = work.graph.both
    ring = work.graph.near(side, work.node, work.at)
    yield from work.told.rated(ring, work.at)
    if work.table.hops == 2:
        visited = np.sort(np.concatenate([work.subject, work.graph.code(ring.which, ring.node)]))
        yield from work.told.rated(work.graph.next_ring(side, ring, work.at, visited), work.at)


def _chains(work: _Work) -> Iterator[Floats]:
    side, questions = work.graph.out, work.at.size
    ring = Ring(np.arange(questions), work.node, work.at)
    visited, rings, amount = work.subject, [], np.zeros(questions)
    for _ in range(work.table.depth):
        passed = work.graph.weight(side, ring.node, work.at[ring.which])
        amount += np.bincount(ring.which, weights=passed, minlength=questions)
        ring = work.graph.next_ring(side, ring, work.at, visited)
        rings.append(ring)
        visited = np.sort(np.concatenate([visited, work.graph.code(ring.which, ring.node)]))
    reached = Ring.joined(rings)
    yield amount
    yield np.bincount(reached.which, minlength=questions).astype(np.float64)
    yield from work.told.rated(reached, work.at)


def _clusters(work: _Work) -> Iterator[Floats]:
    side = work.graph.both
    things = work.graph.near(side, work.node, work.at)
    ring = work.graph.next_ring(side, things, work.at, work.subject)
    yield np.bincount(ring.which, minlength=work.at.size).astype(np.float64)
    yield from work.told.rated(ring, work.at)
