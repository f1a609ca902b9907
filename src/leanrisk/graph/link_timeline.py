"""Counts and sums of what each owner is known to have had before a moment, for many owners and moments at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

STEPS = 8
"""Steps of a window: it moves on by an eighth of its width, so that a store needs eight counters for it."""


@dataclass(frozen=True)
class Timeline:
    """Facts by owner and time. Owners are numbered from 0; a time is its rank among all times of the book.

    Facts must come in the order of their ranks. order: the facts by owner, in their order within one. codes: owner and
    rank in one number, sorted.
    """

    owners: int
    span: int
    order: Ints
    codes: Ints

    @classmethod
    def of(cls, owner: Ints, rank: Ints, owners: int, span: int) -> Timeline:
        """Return the timeline of facts `owner[i]` known at `rank[i]`, where ranks never fall and stay below `span`."""
        order = np.argsort(owner, kind="stable")
        return cls(owners, span, order, owner[order] * span + rank[order])

    @cached_property
    def starts(self) -> Ints:
        """Place of each owner's first fact, and one past the last."""
        return np.searchsorted(self.codes, np.arange(self.owners + 1, dtype=np.int64) * self.span)

    def places(self, owner: Ints, rank: Ints) -> Ints:
        """Return one past the place of the owner's last fact known strictly before `rank`."""
        return np.searchsorted(self.codes, owner * self.span + rank)

    def counts(self, owner: Ints, rank: Ints) -> Ints:
        """Return how many facts of the owner are known strictly before `rank`."""
        return self.places(owner, rank) - self.starts[owner]

    def running(self, values: Floats) -> Floats:
        """Return the running sum of `values` (in the order the facts came) within each owner, by place.

        Summed owner by owner, as a store does: the difference of two sums over the book would lose small amounts.
        """
        frame = pl.DataFrame({"owner": self.codes // self.span, "value": values[self.order]})
        return frame.select(pl.col("value").cum_sum().over("owner")).to_series().to_numpy()

    @cached_property
    def numbers(self) -> Floats:
        """Number of each fact among its owner's, from 1, by place: what counts up to it."""
        return np.arange(1.0, self.codes.size + 1) - np.repeat(self.starts[:-1], np.diff(self.starts))

    def latest(self, by_place: Floats, owner: Ints, rank: Ints, default: float) -> Floats:
        """Return the entry of `by_place` at the owner's last fact before `rank`, `default` where there is none."""
        place = self.places(owner, rank)
        found = place > self.starts[owner]
        result = np.full(owner.size, default)
        result[found] = by_place[place[found] - 1]
        return result

    def sums(self, values: Floats, owner: Ints, rank: Ints) -> Floats:
        """Return the sum of `values` over the owner's facts known strictly before `rank`."""
        return self.latest(self.running(values), owner, rank, 0.0)

    def passage(self, low: int, high: int) -> Passage:
        """Return the timeline as seen at ranks from `low` to `high`."""
        every = np.arange(self.owners, dtype=np.int64) * self.span
        base, top = np.searchsorted(self.codes, every + low), np.searchsorted(self.codes, every + high)
        ends = np.cumsum(top - base)
        begins = ends - (top - base)
        inside = np.arange(ends[-1]) + np.repeat(base - begins, top - base)
        return Passage(self, base, begins, top > base, self.codes[inside])


@dataclass(frozen=True)
class Passage:
    """A stretch of a timeline, for many questions about moments inside it.

    Most owners have no fact in a short stretch, so their answer is read off; the few facts of the others are searched
    where they fit the processor's cache. base: place of each owner's first fact in the stretch. begins: the same among
    the facts of the stretch. busy: whether there is one. codes: owners and ranks of these facts.
    """

    line: Timeline
    base: Ints
    begins: Ints
    busy: Flags
    codes: Ints

    def latest(self, by_place: Floats, owner: Ints, rank: Ints) -> Floats:
        """Return the entry of `by_place` at the owner's last fact before `rank`, 0 where there is none."""
        if not by_place.size:
            return np.zeros(owner.size)
        level = np.where(self.base > self.line.starts[:-1], by_place[self.base - 1], 0.0)[owner]
        moved = np.flatnonzero(self.busy[owner])
        who = owner[moved]
        passed = np.searchsorted(self.codes, who * self.line.span + rank[moved]) - self.begins[who]
        later = np.flatnonzero(passed)
        level[moved[later]] = by_place[self.base[who[later]] + passed[later] - 1]
        return level


def window_start(times: Floats, at: Floats, window: float) -> Ints:
    """Return the rank of the first of the sorted `times` inside the window that ends at `at`.

    Time runs in steps of an eighth of the window; the step of `at` and the seven before it are inside.
    """
    step = window / STEPS
    return np.searchsorted(np.floor(times / step), np.floor(at / step) - STEPS, side="right")
