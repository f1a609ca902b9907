"""The events that a memory has absorbed, each once, and what a further batch adds to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.memory import Memory
from leanrisk.graph.events import Events, Floats

_PLAIN = ("id", "happened", "known", "outcome", "amount")

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Absorbed:
    """What a batch brought: `new` events, outcomes of known events that `matured`, and `duplicates`.

    `late` facts were known before what the store had absorbed already; they count from now on, and what was scored
    before stays as it was. `pending` outcomes, of all batches, wait for their time.
    """

    new: int
    matured: int
    duplicates: int
    late: int
    pending: int

    def told(self) -> str:
        """Return the figures as a sentence for a person."""
        late = f" {self.late:,} of the facts came late: what was scored before is not rewritten." if self.late else ""
        return (
            f"{self.new:,} new events, {self.matured:,} outcomes of known ones, {self.duplicates:,} duplicates; "
            f"{self.pending:,} outcomes wait for their time.{late}"
        )


@dataclass(frozen=True)
class Merged:
    """Where a batch stands in the history now: rows of its new events, rows whose outcome it told, and the rest."""

    new: Places
    matured: Places
    duplicates: int

    def told(self, *, late: int, pending: int) -> Absorbed:
        """Return what a person is told of the batch."""
        return Absorbed(self.new.size, self.matured.size, self.duplicates, late, pending)


class History:
    """Events in the order of arrival; an outcome that is told later is filled in at its event."""

    def __init__(self, events: Events) -> None:
        self.events = events
        self._sorted: npt.NDArray[np.uint64] | None = None
        self._places: Places = np.empty(0, dtype=np.int64)

    @classmethod
    def empty(cls, like: Events) -> History:
        """Return a history without events, of the levels and links that `like` has."""
        return cls(like.take(slice(0, 0)))

    def merge(self, batch: Events) -> Merged:
        """Take in the events that are not known yet, and the outcomes of those that are."""
        first = _first_of_each(batch)
        repeated = batch.rows - first.size
        batch = batch.take(first)
        place = self._places_of(batch.id)
        known = np.flatnonzero(place >= 0)
        open_ = known[np.isnan(self.events.outcome[place[known]]) & np.isfinite(batch.outcome[known])]
        self._mature(place[open_], batch.take(open_))
        fresh = np.flatnonzero(place < 0)
        begin = self.events.rows
        if fresh.size:
            self.events = Events.joined(self.events, batch.take(fresh)) if begin else batch.take(fresh)
            self._sorted = None
        return Merged(np.arange(begin, begin + fresh.size), place[open_], repeated + int(known.size - open_.size))

    def _mature(self, rows: Places, told: Events) -> None:
        if rows.size:
            outcome, known = self.events.outcome.copy(), self.events.known.copy()
            outcome[rows], known[rows] = told.outcome, told.known
            one = self.events
            self.events = Events(one.id, one.happened, known, outcome, one.amount, one.keys, one.ends)

    def _places_of(self, ids: npt.NDArray[np.uint64]) -> Places:
        if self._sorted is None:
            self._places = np.argsort(self.events.id, kind="stable")
            self._sorted = self.events.id[self._places]
        found = np.searchsorted(self._sorted, ids)
        inside = found < self._sorted.size
        same = np.zeros(ids.size, dtype=np.bool_)
        same[inside] = self._sorted[found[inside]] == ids[inside]
        place = np.full(ids.size, -1, dtype=np.int64)
        place[same] = self._places[found[same]]
        return place

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the events as arrays by name."""
        one = self.events
        plain: dict[str, npt.NDArray[np.generic]] = {f"events.{name}": getattr(one, name) for name in _PLAIN}
        plain |= {f"events.key.{name}": keys for name, keys in one.keys.items()}
        for name, (source, target) in one.ends.items():
            plain |= {f"events.source.{name}": source, f"events.target.{name}": target}
        return plain

    @classmethod
    def of(cls, memory: Memory, arrays: Mapping[str, npt.NDArray[Any]]) -> History:
        """Return the history that gave `arrays`."""
        levels = [level for entity in memory.entities for level in entity.levels]
        return cls(
            Events(
                arrays["events.id"],
                arrays["events.happened"],
                arrays["events.known"],
                arrays["events.outcome"],
                arrays["events.amount"],
                keys={level: arrays[f"events.key.{level}"] for level in levels},
                ends={
                    link.name: (arrays[f"events.source.{link.name}"], arrays[f"events.target.{link.name}"])
                    for link in memory.links
                },
            )
        )


def merged_events(events: Events, more: Events) -> Events:
    """Return the events, those of `more` that are not among them, and the outcomes that `more` tells of known ones."""
    history = History(events)
    history.merge(more)
    return history.events


def _first_of_each(batch: Events) -> Places:
    """Return the rows of distinct ids in their order; of equal ids one that tells an outcome."""
    order = np.lexsort((np.arange(batch.rows), ~np.isfinite(batch.outcome), batch.id))
    first = np.ones(batch.rows, dtype=np.bool_)
    first[1:] = batch.id[order][1:] != batch.id[order][:-1]
    return np.sort(order[first])


def known_times(events: Events, rows: Places) -> Floats:
    """Return when the outcomes of these rows became visible, infinite where none is told; never before their event."""
    told = np.isfinite(events.outcome[rows])
    return np.where(told, np.maximum(events.known[rows], events.happened[rows]), np.inf)
