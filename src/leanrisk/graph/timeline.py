"""Facts of one kind in the order in which they became known, entity by entity, and where a moment stands among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.graph.keys import MISSING_KEY, Keys

CELLS = 8
"""Steps that a window is measured in: it holds what fell into the last `CELLS` steps, the one under way included."""

_TABLE_SHARE = 4
"""Entries for each number up to which a table is worth its memory."""

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ranks:
    """Each time as its place among all times that matter to one build, so that ties are exact; `size` is above all."""

    happened: Places
    known: Places
    asked: Places
    size: int

    @classmethod
    def of(cls, happened: Floats, known: Floats, asked: Floats) -> Ranks:
        """Return the places of three arrays of times, infinity behind all others."""
        same = asked is happened
        times = np.concatenate([happened, known] if same else [happened, known, asked])
        order = np.argsort(times)
        times = times[order]
        later = np.zeros(times.size, dtype=np.int64)
        later[1:] = times[1:] > times[:-1]
        place = np.empty(times.size, dtype=np.int64)
        place[order] = np.cumsum(later)
        first, second = happened.size, happened.size + known.size
        return cls(place[:first], place[first:second], place[:first] if same else place[second:], times.size + 1)


@dataclass(frozen=True)
class Names:
    """The entities of one level as numbers below `count`, by row of the events and of the questions.

    Whoever names nobody has the number `count`.
    """

    events: Places
    asked: Places
    count: int

    @classmethod
    def of(cls, events: Keys, asked: Keys) -> Names:
        """Return the numbers of these keys."""
        both = events if asked is events else np.concatenate([events, asked])
        keys, number = np.unique(both, return_inverse=True)
        if keys.size and keys[0] == MISSING_KEY:
            # Keys are sorted, so the missing one stands first; it takes the last number instead.
            number = np.where(number == 0, keys.size, number) - 1
            keys = keys[1:]
        number = number.astype(np.int64, copy=False)
        return cls(number[: events.size], number if asked is events else number[events.size :], keys.size)


@dataclass(frozen=True)
class Question:
    """What is asked of timelines: entities and moments sorted by them, and where each stood before the sorting."""

    code: Places
    place: Places
    time: Floats
    order: Places

    @classmethod
    def of(cls, code: Places, place: Places, time: Floats, size: int) -> Question:
        """Return the question of what is known of entities `code` at moments `time`; `place` is below `size`."""
        order = np.argsort(code * size + place)
        return cls(code[order], place[order], time[order], order)


@dataclass(frozen=True)
class Timeline:
    """Facts sorted by entity and by the moment at which they became known; `values` go with them, shape (n,) each.

    A fact is visible at a moment only if it was known strictly before. Entities are numbered below `count`, moments
    placed below `size`.
    """

    code: Places
    place: Places
    time: Floats
    values: dict[str, Floats]
    count: int
    size: int

    @classmethod
    def of(
        cls, code: Places, place: Places, time: Floats, *, count: int, size: int, values: Mapping[str, npt.NDArray[Any]]
    ) -> Timeline:
        """Return the timeline of facts about `code`, known at `time`; what names nobody, or is never known, is out."""
        kept = np.flatnonzero((code < count) & np.isfinite(time))
        # Which of two facts of one moment comes first does not matter: no sum ever ends between them.
        order = kept[np.argsort(code[kept] * size + place[kept])]
        told = {name: own[order].astype(np.float64, copy=False) for name, own in values.items()}
        return cls(code[order], place[order], time[order], told, count, size)

    def span(self, asked: Question) -> tuple[Places, Places]:
        """Return (first, end): the facts of each asked entity that were known before the moment stand in first..end."""
        end = np.searchsorted(self.code * self.size + self.place, asked.code * self.size + asked.place, side="left")
        return self._starts[asked.code], end

    def since(self, asked: Question, window: float, first: Places, end: Places) -> Places:
        """Return where the window begins in first..end: the facts of the last `CELLS` steps of window / `CELLS`."""
        own, now = steps(self.time, window), steps(asked.time, window)
        if not own.size or not now.size:
            return end
        least = min(int(own.min()), int(now.min()) - CELLS)
        size = max(int(own.max()), int(now.max())) - least + 2
        left = Ladder.of(self.code * size + (own - least)).at(asked.code * size + (now - CELLS - least))
        return np.minimum(np.maximum(left, first), end)

    def sums(self, name: str) -> Floats:
        """Return the running sum of a value, 0 first, so that a difference of two places is the sum between them."""
        return np.concatenate([[0.0], np.cumsum(self.values[name])])

    def decayed(self, values: Floats, half_life: float) -> Floats:
        """Return the running sum of `values` within its entity at each fact's moment, halving every `half_life`."""
        return fading(self.time, values, self.code[1:] == self.code[:-1], half_life)

    @cached_property
    def _starts(self) -> Places:
        return np.searchsorted(self.code, np.arange(self.count + 2), side="left").astype(np.int64)


@dataclass(frozen=True)
class Ladder:
    """How many of some whole numbers, rising, are at or below another: by a table where they lie close together."""

    numbers: Places
    table: Places | None
    least: int

    @classmethod
    def of(cls, numbers: Places) -> Ladder:
        """Return the ladder of these numbers, which must rise."""
        least = int(numbers[0]) if numbers.size else 0
        size = int(numbers[-1]) - least + 1 if numbers.size else 0
        if size > _TABLE_SHARE * numbers.size:
            return cls(numbers, None, least)
        table = np.zeros(size + 1, dtype=np.int64)
        np.cumsum(np.bincount(numbers - least, minlength=size), out=table[1:])
        return cls(numbers, table, least)

    def at(self, asked: Places) -> Places:
        """Return how many numbers are at or below each of `asked`."""
        if self.table is None:
            return np.searchsorted(self.numbers, asked, side="right")
        return self.table[np.clip(asked - (self.least - 1), 0, self.table.size - 1)]


def fading(times: Floats, values: Floats, joined: npt.NDArray[np.bool_], half_life: float) -> Floats:
    """Return the running sum of `values` at each of `times`, halving every `half_life`; times rise within an entity.

    `joined` (n - 1,) says whether a place belongs to the entity of the one before it. By doubling (Hillis and Steele,
    1986, "Data Parallel Algorithms"): each pass joins a place's sum with that of the places before it, so no difference
    of large numbers is ever taken.
    """
    total = values.copy()
    weight = np.zeros(total.shape)
    weight[1:] = np.where(joined, np.exp2(-np.diff(times) / half_life), 0.0)
    breaks = np.flatnonzero(np.concatenate([[True], ~joined, [True]]))
    longest = int(np.diff(breaks).max(initial=0))
    reach = 1
    while reach < longest:
        total[reach:] = total[reach:] + weight[reach:] * total[:-reach]
        weight[reach:] = weight[reach:] * weight[:-reach]
        weight[:reach] = 0.0
        reach *= 2
    return total


def steps(times: Floats, window: float) -> Places:
    """Return the number of the step, window / `CELLS` long, in which each time lies."""
    return np.floor(times / (window / CELLS)).astype(np.int64)
