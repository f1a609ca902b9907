"""The edges of one table for many questions at once: who is near whom at each question's own moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from leanrisk.graph.edges import Edges
from leanrisk.graph.keys import Keys
from leanrisk.graph.link_timeline import STEPS, Floats, Ints, Timeline

_MOST_WAYS = 1 << 21
"""Edges that are looked at in one go: what bounds the memory of a build, however large a hub is."""


@dataclass(frozen=True)
class Ring:
    """Entities around the subjects of some questions: pairs of a question and an entity, in order of the question.

    first: from when on the earliest edge that leads there is known.
    """

    which: Ints
    node: Ints
    first: Floats

    @classmethod
    def joined(cls, rings: Sequence[Ring]) -> Ring:
        """Return the pairs of all rings, in their order."""
        none = np.empty(0, dtype=np.int64)
        return cls(
            np.concatenate([none, *(ring.which for ring in rings)]),
            np.concatenate([none, *(ring.node for ring in rings)]),
            np.concatenate([np.empty(0), *(ring.first for ring in rings)]),
        )


@dataclass(frozen=True)
class Side:
    """Edges by owner and then by the time from which they are known; `line` tells which were known before a rank."""

    line: Timeline
    other: Ints
    known: Floats
    until: Floats
    amount: Floats

    @classmethod
    def of(cls, owner: Ints, other: Ints, edges: Edges, rank: Ints, nodes: int, span: int) -> Side:
        """Return the side of edges sorted by time, whose ranks never fall."""
        line = Timeline.of(owner, rank, nodes, span)
        order = line.order
        return cls(line, other[order], edges.known[order], edges.until[order], edges.amount[order])


class EdgeGraph:
    """One table's edges with entities numbered in the order of their keys, and the moments of questions ranked."""

    def __init__(self, edges: Edges, more: Keys, cap: int) -> None:
        """`more`: further keys that will be asked for."""
        self._edges, self._cap = edges.take(np.argsort(edges.known, kind="stable")), cap
        self.keys = np.unique(np.concatenate([edges.source, edges.target, more]))
        self._times = np.unique(self._edges.known)
        self._rank = np.searchsorted(self._times, self._edges.known)
        self._source = np.searchsorted(self.keys, self._edges.source)
        self._target = np.searchsorted(self.keys, self._edges.target)

    def number(self, keys: Keys) -> Ints:
        """Return the number of each of these keys, all of which the graph was told of."""
        return np.searchsorted(self.keys, keys)

    @cached_property
    def out(self) -> Side:
        """Edges by their source."""
        return self._side(self._source, self._target, self._edges, self._rank)

    @cached_property
    def into(self) -> Side:
        """Edges by their target."""
        return self._side(self._target, self._source, self._edges, self._rank)

    @cached_property
    def both(self) -> Side:
        """Edges by either end."""
        twice = np.repeat(np.arange(self._edges.rows), 2)
        owner, other = np.column_stack([self._source, self._target]), np.column_stack([self._target, self._source])
        return self._side(owner.ravel(), other.ravel(), self._edges.take(twice), self._rank[twice])

    def _side(self, owner: Ints, other: Ints, edges: Edges, rank: Ints) -> Side:
        return Side.of(owner, other, edges, rank, max(self.keys.size, 1), self._times.size + 1)

    def parts(self, side: Side, node: Ints, at: Floats) -> Iterator[slice]:
        """Yield slices of these nodes, each small enough for all edges that they had by their moments."""
        begin, end = self.begun(side, node, at)
        ends = np.cumsum(end - begin)
        start = 0
        while start < node.size:
            done = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, done + _MOST_WAYS, side="right")))
            yield slice(start, stop)
            start = stop

    def _ranks(self, at: Floats) -> Ints:
        return np.searchsorted(self._times, at)

    def begun(self, side: Side, node: Ints, at: Floats) -> tuple[Ints, Ints]:
        """Return where each node's edges begin and end (places in `side`) that were known before the moment."""
        end = side.line.places(node, self._ranks(at))
        return side.line.starts[node], end

    def held(self, side: Side, node: Ints, at: Floats) -> tuple[Ints, Ints]:
        """Return every edge that holds at its question's moment: which question, and the place of the edge."""
        begin, end = self.begun(side, node, at)
        count = end - begin
        which = np.repeat(np.arange(node.size), count)
        place = np.arange(which.size) + np.repeat(begin - (np.cumsum(count) - count), count)
        holds = side.until[place] >= at[which]
        return which[holds], place[holds]

    def near(self, side: Side, node: Ints, at: Floats) -> Ring:
        """Return the first `cap` neighbours of each node at its moment, by the time they are known, then by key."""
        rings = []
        for part in self.parts(side, node, at):
            which, place = self.held(side, node[part], at[part])
            rings.append(self._first(which + part.start, side.other[place], side.known[place]))
        return Ring.joined(rings)

    def degree(self, side: Side, node: Ints, at: Floats) -> Floats:
        """Return how many neighbours each node has at its moment."""
        total = np.zeros(node.size)
        for part in self.parts(side, node, at):
            which, place = self.held(side, node[part], at[part])
            pairs = np.unique(self.code(which, side.other[place])) // max(self.keys.size, 1)
            total[part] = np.bincount(pairs, minlength=part.stop - part.start)
        return total

    def weight(self, side: Side, node: Ints, at: Floats) -> Floats:
        """Return the sum of the amounts on each node's edges at its moment."""
        total = np.zeros(node.size)
        for part in self.parts(side, node, at):
            which, place = self.held(side, node[part], at[part])
            total[part] = np.bincount(which, weights=side.amount[place], minlength=part.stop - part.start)
        return total

    def recent(self, side: Side, node: Ints, at: Floats, window: float) -> Floats:
        """Return how many edges of each node became known in the window that ends at its moment."""
        first, end = self.begun(side, node, at)
        step = window / STEPS
        own, now = (np.floor(times / step).astype(np.int64) for times in (side.known, at))
        if not own.size or not now.size:
            return np.zeros(node.size)
        least = min(int(own.min()), int(now.min()) - STEPS)
        size = max(int(own.max()), int(now.max())) - least + 2
        owner = side.line.codes // side.line.span
        begin = np.searchsorted(owner * size + (own - least), node * size + (now - STEPS - least), side="right")
        return (end - np.minimum(np.maximum(begin, first), end)).astype(np.float64)

    def next_ring(self, side: Side, ring: Ring, at: Floats, visited: Ints) -> Ring:
        """Return the first `cap` neighbours of a ring's entities for each question, without those `visited`.

        at: of each question. visited: question and node in one number, as `code` gives it, sorted.
        """
        step = self.near(side, ring.node, at[ring.which])
        which = ring.which[step.which]
        code = self.code(which, step.node)
        found = np.searchsorted(visited, code)
        new = np.ones(code.size, dtype=np.bool_)
        inside = found < visited.size
        new[inside] = visited[found[inside]] != code[inside]
        return self._first(which[new], step.node[new], step.first[new])

    def code(self, which: Ints, node: Ints) -> Ints:
        """Return question and node in one number."""
        return which * max(self.keys.size, 1) + node

    def _first(self, which: Ints, node: Ints, known: Floats) -> Ring:
        """Return each pair once with its earliest time, and of each question the first `cap` pairs."""
        order = np.lexsort((known, node, which))
        which, node, known = which[order], node[order], known[order]
        once = np.ones(which.size, dtype=np.bool_)
        once[1:] = (which[1:] != which[:-1]) | (node[1:] != node[:-1])
        which, node, known = which[once], node[once], known[once]
        order = np.lexsort((node, known, which))
        which, node, known = which[order], node[order], known[order]
        begins = np.searchsorted(which, which)
        kept = np.arange(which.size) - begins < self._cap
        return Ring(which[kept], node[kept], known[kept])
