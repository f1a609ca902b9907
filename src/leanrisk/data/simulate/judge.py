"""From drafts to verdicts: which events are guilty, with what chance, and when that gets known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leanrisk.core.seeding import generator
from leanrisk.data.simulate.blocks import Events
from leanrisk.data.simulate.draws import Ints
from leanrisk.data.simulate.verdicts import Chances, Units, Verdicts

DAY = 86_400
"""Seconds."""


@dataclass(frozen=True)
class Delay:
    """How long outcomes take to be known: a report comes about `median` days after a unit's last event.

    No report comes later than a day before `horizon` days after the unit's first event; what nobody has reported
    `horizon` days after the event counts as honest.
    """

    median: float
    spread: float
    horizon: int

    def reported(self, first: Ints, last: Ints, draws: Chances) -> Ints:
        """Return when guilty units are known, in seconds since 1970-01-01, always after their last event.

        first, last: moments of the first and last event of each unit. draws: standard normal. All of shape (units,).
        """
        wait = np.maximum(self.median * np.exp(self.spread * draws), 0.5) * DAY
        reported = np.minimum(last + wait.astype(np.int64), first + (self.horizon - 1) * DAY)
        return np.maximum(reported, last + 1)

    def cleared(self, moments: Ints) -> Ints:
        """Return when honest events of these moments count as such, in seconds since 1970-01-01."""
        return moments + self.horizon * DAY


@dataclass(frozen=True)
class Draft:
    """A block before it is known who is guilty.

    events: everything else about them. unit: place of the unit of each event, ascending; events beyond its end are in
    none and honest. closed: the moment before which no later block has an event.
    """

    events: Events
    unit: Ints
    units: Units
    closed: int


class Judge:
    """Judges drafts, which must come in block order; quotas as in `Verdicts`, `name` is that of the book."""

    def __init__(self, name: str, seed: int, quotas: Chances, delay: Delay) -> None:
        self._name, self._seed, self._delay = name, seed, delay
        self._verdicts = Verdicts(quotas, generator(seed, name, "verdicts"))
        self._block = 0

    def judged(self, draft: Draft) -> tuple[Events, int]:
        """Return the events with `guilty`, `chance` and `known` (in seconds since 1970-01-01), and `closed`."""
        moments, unit = draft.events["moment"], draft.unit
        chances, guilty = self._verdicts.judge(draft.units, moments.size)
        verdict = {"guilty": np.zeros(moments.size, dtype=np.bool_), "chance": np.zeros(moments.size)}
        verdict["guilty"][: unit.size], verdict["chance"][: unit.size] = guilty[unit], chances[unit]
        known = self._delay.cleared(moments)
        known[: unit.size] = np.where(guilty[unit], self._reported(draft)[unit], known[: unit.size])
        return {**draft.events, **verdict, "known": known}, draft.closed

    def _reported(self, draft: Draft) -> Ints:
        sizes = draft.units.sizes
        draws = generator(self._seed, self._name, str(self._block), "reports").standard_normal(sizes.size)
        self._block += 1
        if sizes.size == 0:
            return sizes
        starts, moments = np.cumsum(sizes) - sizes, draft.events["moment"][: draft.unit.size]
        return self._delay.reported(np.minimum.reduceat(moments, starts), np.maximum.reduceat(moments, starts), draws)
