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


def window_start(times: Floats, at: Floats, window: float) -> Ints:
    """Return the rank of the first of the sorted `times` inside the window that ends at `at`.

    Time runs in steps of an eighth of the window; the step of `at` and the seven before it are inside.
    """
    step = window / STEPS
    return np.searchsorted(np.floor(times / step), np.floor(at / step) - STEPS, side="right")
