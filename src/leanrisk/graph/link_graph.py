"""The edges of one link with accounts numbered and times ranked: what every batch computation of link facts reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from leanrisk.graph.link_timeline import Flags, Floats, Ints, Timeline

if TYPE_CHECKING:
    from leanrisk.graph.events import Events

_MARKS_PER_PAIR = 16
_SCATTER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Asked:
    """The ends and moments that facts are asked for. missing: an end has no key; its numbers mean nothing."""

    source: Ints
    target: Ints
    at: Floats
    rank: Ints
    missing: Flags


@dataclass(frozen=True)
class Ways:
    """Ways from the account of each of some questions to its neighbours.

    questions: which of all questions these are. ranks: their ranks, which never fall. which: place of the question of
    a way among these. neighbour: where it leads.
    """

    questions: Ints
    ranks: Ints
    which: Ints
    neighbour: Ints

    def total(self, values: Floats | Flags) -> Floats:
        """Return the sum of `values`, one a way, for each of the questions."""
        return np.bincount(self.which, weights=values, minlength=self.questions.size).astype(np.float64)

    def latest(self, line: Timeline, by_place: Floats) -> Floats:
        """Return the entry of `by_place` at each neighbour's last fact on `line` before the question, or 0."""
        passage = line.passage(int(self.ranks[0]), int(self.ranks[-1]))
        return passage.latest(by_place, self.neighbour, self.ranks[self.which])


@dataclass(frozen=True)
class Neighbours:
    """Distinct neighbours of each account with the rank at which they first met, earliest first.

    Among those who met at one time, the event that comes first in the book decides. line: owners and ranks of meeting.
    other: the neighbour, by place.
    """

    line: Timeline
    other: Ints
    cap: int

    @classmethod
    def of(cls, owner: Ints, other: Ints, rank: Ints, line: tuple[int, int], cap: int) -> Neighbours:
        """Return the neighbours by edges `owner[i]` to `other[i]` in order of time; `line` is accounts and span."""
        accounts, span = line
        _, first = np.unique(owner * accounts + other, return_index=True)
        first.sort()
        timeline = Timeline.of(owner[first], rank[first], accounts, span)
        return cls(timeline, other[first][timeline.order], cap)

    @cached_property
    def among_first(self) -> Flags:
        """Whether the neighbour at a place is among the first `cap` of its owner."""
        starts = self.line.starts
        return np.arange(self.other.size) - np.repeat(starts[:-1], np.diff(starts)) < self.cap

    def ways(self, owner: Ints, rank: Ints) -> Iterator[Ways]:
        """Yield all ways from each owner to its first `cap` neighbours known before `rank`, in stretches of time."""
        in_time = np.argsort(rank, kind="stable")
        owner, rank = owner[in_time], rank[in_time]
        counts = np.minimum(self.line.counts(owner, rank), self.cap)
        ends = np.cumsum(counts)
        most = ways_at_once(self.line.owners)
        begin = 0
        while begin < owner.size:
            done = int(ends[begin - 1]) if begin else 0
            end = max(begin + 1, int(np.searchsorted(ends, done + most, side="right")))
            part = slice(begin, end)
            which = np.repeat(np.arange(end - begin), counts[part])
            skipped = self.line.starts[owner[part]] - (ends[part] - counts[part] - done)
            yield Ways(in_time[part], rank[part], which, self.other[np.arange(which.size) + skipped[which]])
            begin = end


def ways_at_once(accounts: int) -> int:
    """Return how many ways a walk takes in one stretch: what bounds its memory.

    A stretch costs a little for every account, whatever is asked in it.
    """
    return max(1 << 18, 4 * accounts)


@dataclass(frozen=True)
class LinkGraph:
    """Edges of one link in order of happening; an event that lacks an end is none, and one to itself is `loop`.

    times: every time of the book, sorted; a rank is a place in it. bad_*: events whose outcome is bad, in order of the
    time at which that became known.
    """

    accounts: int
    cap: int
    times: Floats
    source: Ints
    target: Ints
    moment: Floats
    rank: Ints
    amount: Floats
    bad_source: Ints
    bad_target: Ints
    bad_rank: Ints

    @property
    def span(self) -> int:
        """One more than the largest rank, since a question may lie after every time of the book."""
        return self.times.size + 1

    @cached_property
    def apart(self) -> Flags:
        """Whether an edge joins two accounts."""
        return np.not_equal(self.source, self.target)

    def timeline(self, owner: Ints, rank: Ints) -> Timeline:
        """Return the timeline of facts of accounts."""
        return Timeline.of(owner, rank, self.accounts, self.span)

    @cached_property
    def out(self) -> Neighbours:
        """Accounts that an account has edges to."""
        return self._neighbours(self.source[self.apart], self.target[self.apart], self.rank[self.apart])

    @cached_property
    def into(self) -> Neighbours:
        """Accounts that have edges to an account."""
        return self._neighbours(self.target[self.apart], self.source[self.apart], self.rank[self.apart])

    @cached_property
    def both(self) -> Neighbours:
        """Accounts that an account has edges to or from."""
        source, target = self.source[self.apart], self.target[self.apart]
        owner, other = np.column_stack([source, target]).ravel(), np.column_stack([target, source]).ravel()
        return self._neighbours(owner, other, np.repeat(self.rank[self.apart], 2))

    def _neighbours(self, owner: Ints, other: Ints, rank: Ints) -> Neighbours:
        return Neighbours.of(owner, other, rank, (self.accounts, self.span), self.cap)

    @cached_property
    def pair_codes(self) -> Ints:
        """Both ends of every pair that has an event, in one number, sorted: the number of a pair is its place here."""
        return np.unique(self.source * self.accounts + self.target)

    def pairs(self, source: Ints, target: Ints) -> Ints:
        """Return the number of each pair; one past the last for a pair that never had an event."""
        codes = source * self.accounts + target
        place = np.searchsorted(self.pair_codes, codes)
        if not self.pair_codes.size:
            return place
        known = self.pair_codes[np.minimum(place, self.pair_codes.size - 1)] == codes
        return np.where(known, place, self.pair_codes.size)

    @cached_property
    def pair_line(self) -> Timeline:
        """Events by pair, loops among them."""
        return Timeline.of(self.pairs(self.source, self.target), self.rank, self.pair_codes.size + 1, self.span)

    @cached_property
    def _met(self) -> Ints:
        line = self.pair_line
        return np.append(line.codes[line.starts[:-2]] % self.span, self.span)

    def met_before(self, source: Ints, target: Ints, rank: Ints) -> Flags:
        """Return whether an event from source to target, two accounts, is known strictly before `rank`."""
        # Nearly all pairs asked for never met, and most of those are told by one look instead of a search.
        likely = np.flatnonzero(self._marks[self._slots(source * self.accounts + target)] & (source != target))
        met = np.zeros(source.size, dtype=np.bool_)
        met[likely] = self._met[self.pairs(source[likely], target[likely])] < rank[likely]
        return met

    @cached_property
    def _marks(self) -> Flags:
        """Marks at the slots of all pairs that have an event."""
        marks = np.zeros(1 << self._bits, dtype=np.bool_)
        marks[self._slots(self.pair_codes)] = True
        return marks

    @property
    def _bits(self) -> int:
        return (self.pair_codes.size * _MARKS_PER_PAIR + 1).bit_length()

    def _slots(self, codes: Ints) -> Ints:
        return ((codes.view(np.uint64) * _SCATTER) >> np.uint64(64 - self._bits)).view(np.int64)


def link_graph(name: str, cap: int, events: Events, asked: Events) -> tuple[LinkGraph, Asked]:
    """Return the edges of link `name` and the questions about them, numbered and ranked alike."""
    source, target = events.ends[name]
    real = np.flatnonzero((source != 0) & (target != 0))
    real = real[np.argsort(events.happened[real], kind="stable")]
    # No outcome is known of what has not happened.
    known = np.maximum(events.known[real], events.happened[real])
    bad = np.flatnonzero((events.outcome[real] == 1) & np.isfinite(known))
    bad = bad[np.argsort(known[bad], kind="stable")]
    ends = [source[real], target[real], *asked.ends[name]]
    keys, numbers = np.unique(np.concatenate(ends), return_inverse=True)
    left, right, asked_left, asked_right = np.split(
        numbers.astype(np.int64), np.cumsum([end.size for end in ends])[:-1]
    )
    moment = events.happened[real]
    times = np.unique(np.concatenate([moment, known[bad]]))
    graph = LinkGraph(
        accounts=max(keys.size, 1),
        cap=cap,
        times=times,
        source=left,
        target=right,
        moment=moment,
        rank=np.searchsorted(times, moment),
        amount=np.nan_to_num(events.amount[real].astype(np.float64)),
        bad_source=left[bad],
        bad_target=right[bad],
        bad_rank=np.searchsorted(times, known[bad]),
    )
    missing = (asked.ends[name][0] == 0) | (asked.ends[name][1] == 0)
    rank = np.searchsorted(times, asked.happened)
    return graph, Asked(asked_left, asked_right, asked.happened, rank, missing)
