"""The whole book as one entity, which every row belongs to: the rates that all others are smoothed towards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from leanrisk.graph.events import Events
from leanrisk.graph.facts import ALL, DECAYED, Horizon
from leanrisk.graph.tally import Outcomes
from leanrisk.graph.timeline import CELLS, Floats, Ladder, Places, fading, steps


@dataclass(frozen=True)
class Moments:
    """Moments in rising order, and for each window where its steps begin among them.

    `weights` are what has gathered at each of them, halving every `half_life`; empty where nobody asks for it.
    """

    time: Floats
    begins: Mapping[Horizon, Ladder]
    weights: Floats
    half_life: float

    @classmethod
    def of(cls, times: Floats, horizons: Sequence[Horizon], half_life: float) -> Moments:
        """Return what these horizons need of moments in any order."""
        time = np.sort(times)
        begins = {one: Ladder.of(steps(time, float(one))) for one in horizons if one not in (ALL, DECAYED)}
        if not time.size or DECAYED not in horizons:
            return cls(time, begins, np.empty(0), half_life)
        joined = np.ones(time.size - 1, dtype=np.bool_)
        return cls(time, begins, fading(time, np.ones(time.size), joined, half_life), half_life)

    def before(self, at: Floats, horizons: Sequence[Horizon]) -> Iterator[Floats]:
        """Yield for each horizon how many of them stand strictly before each moment of `at`."""
        end = np.searchsorted(self.time, at, side="left")
        for horizon in horizons:
            if horizon == DECAYED:
                yield self._fading(at, end)
            else:
                begin = self.begins[horizon].at(steps(at, float(horizon)) - CELLS) if horizon != ALL else 0
                yield (end - begin).astype(np.float64)

    def _fading(self, at: Floats, end: Places) -> Floats:
        if not self.time.size:
            return np.zeros(at.size)
        latest = np.maximum(end - 1, 0)
        # Where nothing stands before, the latest one lies ahead.
        passed = np.abs(at - self.time[latest])
        return np.where(end > 0, self.weights[latest] * np.exp2(-passed / self.half_life), 0.0)


@dataclass(frozen=True)
class Whole:
    """All outcomes of a book, and the bads among them, by the moment at which they became known."""

    known: Moments
    bads: Moments
    horizons: tuple[Horizon, ...]

    @classmethod
    def of(cls, events: Events, horizons: tuple[Horizon, ...], half_life: float) -> Whole:
        """Return what these horizons need of the events."""
        told = np.isfinite(events.outcome) & np.isfinite(events.known) & bool(horizons)
        known, bads = (
            Moments.of(events.known[mask], horizons, half_life) for mask in (told, told & (events.outcome == 1))
        )
        return cls(known, bads, horizons)

    def outcomes(self, at: Floats) -> dict[Horizon, Outcomes]:
        """Return the outcomes known strictly before each moment, by horizon."""
        pairs = zip(*(kind.before(at, self.horizons) for kind in (self.known, self.bads)), strict=True)
        return {horizon: Outcomes(*pair) for horizon, pair in zip(self.horizons, pairs, strict=True)}
