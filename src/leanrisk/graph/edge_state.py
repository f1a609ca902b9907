"""What one edge table tells of one decision at a time, kept up to date as edges become known and end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.edge_table import EdgeFact, EdgeKind, EdgeTable
from leanrisk.core.memory import Memory
from leanrisk.graph.edge_facts import edge_fact_names
from leanrisk.graph.edge_web import EdgeWeb
from leanrisk.graph.edges import AbsorbedEdges, Edges, merged_edges
from leanrisk.graph.events import Floats
from leanrisk.graph.history import Places
from leanrisk.graph.keys import MISSING_KEY
from leanrisk.graph.link_fans import Fans
from leanrisk.graph.smoothing import book_rate

Outcomes = Callable[[Iterable[int]], tuple[float, float]]
"""Gives the outcomes known by now of some entities of the table's level, and the bads among them."""


EDGE_ARRAYS = (*(entry.name for entry in fields(Edges)), "latest")
"""Names of the arrays that an `EdgeState` is kept in."""


class EdgeState:
    """All edges of one table, and which of them hold by now: the facts of `build_edge_facts` in microseconds.

    An edge that is not known yet waits, and so does the end of one that holds; `advance` lets them count.
    """

    def __init__(self, memory: Memory, table: EdgeTable) -> None:
        self.table, self.edges = table, Edges.none()
        self.latest = -np.inf
        self._strength = memory.strength
        self._size = len(edge_fact_names(table, memory.windows))
        self._web = EdgeWeb(table.cap)
        self._fans = {side: _Fan(memory.windows) for side in ("out", "in")} if EdgeFact.FAN in table.families else {}
        self._begins, self._ends = _Waiting(), _Waiting()
        families: dict[EdgeFact, Callable[[int, float, Outcomes, tuple[float, float]], list[float]]] = {
            EdgeFact.DEGREE: self._degree,
            EdgeFact.FAN: self._fan,
            EdgeFact.RISK: self._risk,
            EdgeFact.CHAIN: self._chain,
            EdgeFact.CLUSTER: self._cluster,
        }
        self._families = [families[fact] for fact in table.families]

    def absorb(self, batch: Edges, clock: float) -> AbsorbedEdges:
        """Take in edges in any order; those known before the store's `clock` are late, and count from now on."""
        before = self.edges.rows
        self.edges, new, ended = merged_edges(self.edges, batch)
        self._begins.add(new, self.edges.known)
        ending = np.concatenate([new[np.isfinite(self.edges.until[new])], ended])
        self._ends.add(ending, self.edges.until)
        late = int((self.edges.known[new] < clock).sum() + (self.edges.until[ended] < clock).sum())
        duplicates = batch.rows - (self.edges.rows - before) - ended.size
        return AbsorbedEdges(self.table.name, new.size, ended.size, duplicates, late)

    def advance(self, at: float) -> None:
        """Let everything count that is known before the moment `at`."""
        if self._begins.soonest < at:
            self._begin(self._begins.taken(at))
        if self._ends.soonest < at:
            rows = self._ends.taken(at)
            self.latest = max(self.latest, float(self.edges.until[rows].max()))
            for edge in self._rows(rows):
                self._web.end(*edge)

    def _begin(self, rows: Places) -> None:
        self.latest = max(self.latest, float(self.edges.known[rows].max()))
        for source, target, known, amount in self._rows(rows):
            self._web.begin(source, target, known, amount)
            if self._fans:
                self._fans["out"].add(source, known)
                self._fans["in"].add(target, known)

    def _rows(self, rows: Places) -> Iterable[tuple[int, int, float, float]]:
        one = self.edges
        columns = (values[rows].tolist() for values in (one.source, one.target, one.known, one.amount))
        return zip(*columns, strict=True)

    def lookup(self, key: int, at: float, outcomes: Outcomes, book: tuple[float, float]) -> npt.NDArray[np.float32]:
        """Return the facts in the order of `edge_fact_names`, all NaN for a key that names nobody.

        book: outcomes of the whole book, and bads among them. Nothing is advanced here.
        """
        if key == MISSING_KEY:
            return np.full(self._size, np.nan, dtype=np.float32)
        facts: list[float] = []
        for family in self._families:
            facts += family(key, at, outcomes, book)
        return np.array(facts, dtype=np.float32)

    def around(self, key: int) -> tuple[int, int, list[int]]:
        """Return the number of edges out and in, by neighbours, and the neighbours whose outcomes count."""
        web = self._web
        ring = [other for _, other in web.near(key)]
        if self.table.kind is EdgeKind.SHARED:
            ring = web.next_ring(web.near, ring, {key})
        return web.degree(key, web.out), web.degree(key, web.into), ring

    def _degree(self, key: int, at: float, outcomes: Outcomes, book: tuple[float, float]) -> list[float]:
        web = self._web
        out = web.degree(key, web.out)
        return [out] if self.table.kind is EdgeKind.SHARED else [out, web.degree(key, web.into)]

    def _fan(self, key: int, at: float, outcomes: Outcomes, book: tuple[float, float]) -> list[float]:
        sides = ("out",) if self.table.kind is EdgeKind.SHARED else ("out", "in")
        return [count for side in sides for count in self._fans[side].counts(key, at)]

    def _risk(self, key: int, at: float, outcomes: Outcomes, book: tuple[float, float]) -> list[float]:
        web = self._web
        ring = [other for _, other in web.near(key)]
        facts = self._rated(ring, outcomes, book)
        if self.table.hops == 2:
            facts += self._rated(web.next_ring(web.near, ring, {key, *ring}), outcomes, book)
        return facts

    def _chain(self, key: int, at: float, outcomes: Outcomes, book: tuple[float, float]) -> list[float]:
        web = self._web
        visited, ring, amount = {key}, [key], 0.0
        for _ in range(self.table.depth):
            amount += sum(map(web.weight, ring))
            ring = web.next_ring(web.receivers, ring, visited)
            if not ring:
                break
            visited.update(ring)
        visited.discard(key)
        return [amount, len(visited), *self._rated(visited, outcomes, book)]

    def _cluster(self, key: int, at: float, outcomes: Outcomes, book: tuple[float, float]) -> list[float]:
        web = self._web
        ring = web.next_ring(web.near, [thing for _, thing in web.near(key)], {key})
        return [len(ring), *self._rated(ring, outcomes, book)]

    def _rated(self, ring: Iterable[int], outcomes: Outcomes, book: tuple[float, float]) -> list[float]:
        known, bads = outcomes(ring) if ring else (0.0, 0.0)
        above = book_rate(book[1], book[0])
        weight = known + self._strength
        return [known, bads, (bads + self._strength * above) / weight if weight else above]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the edges and how far they count, for `of`."""
        return {**self.edges.arrays(), "latest": np.array([self.latest])}

    @classmethod
    def of(cls, memory: Memory, table: EdgeTable, arrays: Mapping[str, npt.NDArray[Any]]) -> EdgeState:
        """Return the state that gave `arrays`."""
        state = cls(memory, table)
        state.absorb(Edges.of(arrays), -np.inf)
        state.latest = float(arrays["latest"][0])
        if state.latest > -np.inf:
            state.advance(float(np.nextafter(state.latest, np.inf)))
        return state


class _Waiting:
    """Rows that wait for their times, soonest first."""

    def __init__(self) -> None:
        self._rows: Places = np.empty(0, dtype=np.int64)
        self._times: Floats = np.empty(0)
        self.soonest = np.inf

    def add(self, rows: Places, times: Floats) -> None:
        """Let these rows wait for their entries of `times`."""
        both = np.concatenate([self._rows, rows])
        due = np.concatenate([self._times, times[rows]])
        order = np.argsort(due, kind="stable")
        self._keep(both[order], due[order])

    def taken(self, at: float) -> Places:
        """Take out and return the rows that were due before the moment."""
        end = int(np.searchsorted(self._times, at, side="left"))
        rows = self._rows[:end]
        self._keep(self._rows[end:], self._times[end:])
        return rows

    def _keep(self, rows: Places, times: Floats) -> None:
        self._rows, self._times = rows, times
        self.soonest = float(times[0]) if times.size else np.inf


class _Fan:
    """Edges that became known in each window, by key."""

    def __init__(self, windows: tuple[float, ...]) -> None:
        self._fans, self._numbers = Fans(windows), {0: 0}
        self._fans.grow()

    def add(self, key: int, at: float) -> None:
        """Count an edge."""
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._numbers)
            self._fans.grow()
        self._fans.add(number, at, np.inf)

    def counts(self, key: int, at: float) -> list[int]:
        """Return the count in each window that ends at the moment."""
        return self._fans.counts(self._numbers.get(key, 0), self._fans.steps(at))
