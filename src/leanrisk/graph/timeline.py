"""Facts of one kind in the order in which they became known, entity by entity, and where a moment stands among them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from leanrisk.graph.keys import MISSING_KEY, Keys

CELLS = 8
"""Steps that a window is measured in: it holds what fell into the last `CELLS` steps, the one under way included."""

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Clock:
    """All moments that matter to one build, in order, so that a moment is a whole number and ties are exact."""

    moments: Floats

    @classmethod
    def of(cls, *times: Floats) -> Clock:
        """Return the clock of these times; those that never come are left out."""
        every = np.concatenate(times)
        return cls(np.unique(every[np.isfinite(every)]))

    @property
    def size(self) -> int:
        """A number above every place."""
        return self.moments.size + 1

    def places(self, times: Floats) -> Places:
        """Return the place of each time, which must be one of the clock's."""
        return np.searchsorted(self.moments, times).astype(np.int64)


@dataclass(frozen=True)
class Question:
    """What is asked of one timeline: keys and moments sorted by them, and where each stood before the sorting."""

    code: Places
    place: Places
    time: Floats
    order: Places


@dataclass(frozen=True)
class Timeline:
    """Facts sorted by entity and by the moment at which they became known; `values` go with them, shape (n,) each.

    A fact is visible at a moment only if it was known strictly before.
    """

    names: Keys
    code: Places
    place: Places
    time: Floats
    values: dict[str, Floats]
    clock: Clock

    @classmethod
    def of(cls, keys: Keys, times: Floats, clock: Clock, **values: Floats) -> Timeline:
        """Return the timeline of facts about `keys`, known at `times`; what names nobody, or is never known, is out."""
        kept = np.flatnonzero((keys != MISSING_KEY) & np.isfinite(times))
        names, code = np.unique(keys[kept], return_inverse=True)
        place = clock.places(times[kept])
        order = np.argsort(code * clock.size + place, kind="stable")
        sorted_ = kept[order]
        told = {name: own[sorted_].astype(np.float64) for name, own in values.items()}
        return cls(names, code[order], place[order], times[sorted_], told, clock)

    def question(self, keys: Keys, times: Floats) -> Question:
        """Return the question of what is known of `keys` at `times`."""
        place = self.clock.places(times)
        code = np.searchsorted(self.names, keys).astype(np.int64)
        known = np.zeros(code.shape, dtype=np.bool_)
        inside = code < self.names.size
        known[inside] = self.names[code[inside]] == keys[inside]
        # An entity that nobody has seen stands behind all others, where there is nothing.
        code[~known | (keys == MISSING_KEY)] = self.names.size
        order = np.argsort(code * self.clock.size + place, kind="stable")
        return Question(code[order], place[order], times[order], order)

    def span(self, asked: Question) -> tuple[Places, Places]:
        """Return (first, end): the facts of each asked entity that were known before the moment stand in first..end."""
        end = np.searchsorted(self._by_moment, asked.code * self.clock.size + asked.place, side="left")
        return self._starts[asked.code], end

    def since(self, asked: Question, window: float, first: Places, end: Places) -> Places:
        """Return where the window begins in first..end: the facts of the last `CELLS` steps of window / `CELLS`."""
        own, now = steps(self.time, window), steps(asked.time, window)
        if not own.size:
            return end
        least = min(int(own.min()), int(now.min()) - CELLS)
        size = max(int(own.max()), int(now.max())) - least + 2
        begin = np.searchsorted(
            self.code * size + (own - least), asked.code * size + (now - CELLS - least), side="right"
        )
        return np.minimum(np.maximum(begin, first), end)

    def sums(self, name: str) -> Floats:
        """Return the running sum of a value, 0 first, so that a difference of two places is the sum between them."""
        return np.concatenate([[0.0], np.cumsum(self.values[name])])

    def decayed(self, name: str, half_life: float) -> Floats:
        """Return the running sum of a value within its entity, at each fact's own moment, halving every `half_life`.

        By doubling (Hillis and Steele, 1986, "Data Parallel Algorithms"): each pass joins a fact's sum with that of
        the facts before it, so no difference of large numbers is ever taken.
        """
        total = self.values[name].copy()
        weight = np.zeros(total.shape)
        gap = np.diff(self.time)
        weight[1:] = np.where(self.code[1:] == self.code[:-1], np.exp2(-gap / half_life), 0.0)
        longest = int(np.diff(self._starts).max(initial=0))
        reach = 1
        while reach < longest:
            total[reach:] = total[reach:] + weight[reach:] * total[:-reach]
            weight[reach:] = weight[reach:] * weight[:-reach]
            weight[:reach] = 0.0
            reach *= 2
        return total

    @cached_property
    def _by_moment(self) -> Places:
        return self.code * self.clock.size + self.place

    @cached_property
    def _starts(self) -> Places:
        return np.searchsorted(self.code, np.arange(self.names.size + 2), side="left").astype(np.int64)


def steps(times: Floats, window: float) -> Places:
    """Return the number of the step, window / `CELLS` long, in which each time lies."""
    return np.floor(times / (window / CELLS)).astype(np.int64)
