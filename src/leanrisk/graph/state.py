"""All counters of a memory at its clock: which slot each entity has, what waits for its time, and the links."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf, nextafter
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.memory import Fact, Memory
from leanrisk.graph.answer import Answer, Known
from leanrisk.graph.cells import Cells
from leanrisk.graph.events import Floats
from leanrisk.graph.history import History, Merged, Places, known_times
from leanrisk.graph.keys import MISSING_KEY
from leanrisk.graph.link_state import LinkState

_NOBODY = 0


class State:
    """The counters of every entity and link, of all facts up to the latest moment absorbed."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._answer = Answer(memory)
        volumes = any(Fact.VOLUME in entity.facts for entity in memory.entities)
        self._cells = Cells(memory.windows, memory.half_life, volumes=volumes)
        self._slots: list[dict[int, int]] = [{} for _ in self.levels]
        self._book = self._cells.claim(1)
        self._links = [LinkState(memory, link) for link in memory.links]
        self._latest = -np.inf
        # Rows whose outcome is told but not known yet, soonest first.
        self._waiting: Places = np.empty(0, dtype=np.int64)
        self._due: Floats = np.empty(0)

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the levels, in the order of the keys of a question."""
        return self._answer.levels

    @property
    def clock(self) -> float:
        """The moment just after the latest fact that is counted; minus infinity before the first."""
        # By `math`, in a tenth of numpy's time: every look-up asks.
        return nextafter(self._latest, inf) if self._latest > -inf else -inf

    @property
    def pending(self) -> int:
        """Number of outcomes that wait for their time."""
        return int(self._waiting.size)

    def absorb(self, merged: Merged, history: History) -> int:
        """Count what a batch brought, and return how many of its facts came late; those that are not due yet wait."""
        events, before = history.events, self._latest
        happened = events.happened[merged.new]
        told = np.concatenate([merged.new[np.isfinite(events.outcome[merged.new])], merged.matured])
        known = known_times(events, told)
        if merged.new.size:
            self._latest = max(before, float(happened.max()))
        past = told[known <= before]
        # What comes at the very moment of the latest fact is in time: a day's batches share their moment.
        late = int((happened < before).sum() + (known < before).sum()) if before > -np.inf else 0
        waiting = np.concatenate([self._waiting, told[known > before]])
        due = np.concatenate([self._due, known[known > before]])
        soonest = np.argsort(due, kind="stable")
        self._waiting, self._due = waiting[soonest], due[soonest]
        ripe = self._ripe(np.nextafter(self._latest, np.inf))
        self._count(merged.new, np.concatenate([past, ripe]), history)
        if self._links:
            self._tell(merged.new, np.concatenate([past, ripe]), history, anew=bool(late))
        return late

    def advance(self, at: float, history: History) -> None:
        """Count the outcomes that have become known before the moment `at`."""
        if self._due.size and self._due[0] < at:
            ripe = self._ripe(at)
            self._count(np.empty(0, dtype=np.int64), ripe, history)
            if self._links:
                self._tell(np.empty(0, dtype=np.int64), ripe, history, anew=False)

    def _ripe(self, at: float) -> Places:
        """Take out and return the waiting rows whose outcome is known before `at`."""
        end = int(np.searchsorted(self._due, at, side="left"))
        ripe = self._waiting[:end]
        if end:
            self._latest = max(self._latest, float(self._due[end - 1]))
        self._waiting, self._due = self._waiting[end:], self._due[end:]
        return ripe

    def _count(self, rows: Places, outcomes: Places, history: History) -> None:
        # Only these rows are touched: a look-up comes by here, and the history may be long.
        events = history.events
        for place, level in enumerate((*self.levels, None)):
            keys = None if level is None else events.keys[level]
            if rows.size:
                kept, slots = self._slots_of(place, keys, rows)
                self._cells.happened(slots, events.happened[kept], events.amount[kept].astype(np.float64))
            if outcomes.size:
                kept, slots = self._slots_of(place, keys, outcomes)
                self._cells.known(slots, known_times(events, kept), events.outcome[kept].astype(np.float64))

    def _slots_of(self, place: int, keys: npt.NDArray[np.uint64] | None, rows: Places) -> tuple[Places, Places]:
        """Return the rows that name an entity of this level and its slot for each, new ones claimed."""
        if keys is None:
            return rows, np.full(rows.size, self._book)
        rows = rows[keys[rows] != MISSING_KEY]
        distinct, inverse = np.unique(keys[rows], return_inverse=True)
        table = self._slots[place]
        new = [key for key in distinct.tolist() if key not in table]
        table.update(zip(new, range(self._cells.claim(len(new)), self._cells.used), strict=True))
        slots = np.fromiter(map(table.__getitem__, distinct.tolist()), dtype=np.int64, count=distinct.size)
        return rows, slots[inverse]

    def _tell(self, rows: Places, outcomes: Places, history: History, *, anew: bool) -> None:
        """Tell the links these facts in order of time; facts that came late make them start over with all of them."""
        events = history.events
        if anew:
            self._links = [LinkState(self._memory, link) for link in self._memory.links]
            rows = np.arange(events.rows)
            outcomes = rows[known_times(events, rows) <= self._latest]
        outcomes = outcomes[events.outcome[outcomes] == 1]
        both = np.concatenate([rows, outcomes])
        is_outcome = np.arange(both.size) >= rows.size
        happened = events.happened[both]
        times = np.where(is_outcome, known_times(events, both), happened)
        order = np.lexsort((both, happened, is_outcome, times))
        told = (both[order].tolist(), is_outcome[order].tolist(), times[order].tolist())
        for state, link in zip(self._links, self._memory.links, strict=True):
            source, target = events.ends[link.name]
            for row, outcome, at in zip(*told, strict=True):
                ends = int(source[row]), int(target[row])
                if outcome:
                    state.known(*ends, at, True, float(events.happened[row]))
                else:
                    state.happened(*ends, at, float(events.amount[row]))

    def answer(self, keys: Sequence[int], ends: Sequence[tuple[int, int]], at: float) -> npt.NDArray[np.float32]:
        """Return all facts of a decision that names these entities and ends."""
        slots, absent = self._find(keys)
        facts = [self._answer.facts(self._cells, slots, absent, at).astype(np.float32)] if self.levels else []
        facts += [state.lookup(*pair, at) for state, pair in zip(self._links, ends, strict=True)]
        return facts[0] if len(facts) == 1 else np.concatenate(facts)

    def outcomes(self, keys: Sequence[int], at: float) -> tuple[Known, list[bool]]:
        """Return the outcomes behind a decision's rates, and which levels were seen before."""
        slots, _ = self._find(keys)
        return self._answer.known(self._cells, slots, at), (slots[:-1] != _NOBODY).tolist()

    def totals(self, level: str, keys: Iterable[int] | None = None) -> tuple[float, float]:
        """Return the outcomes known of these entities of a level, and bads among them; of the whole book for None."""
        slots = [self._book]
        if keys is not None:
            table = self._slots[self.levels.index(level)]
            slots = [table.get(key, _NOBODY) for key in keys]
        known, bads = self._cells.total.take(slots, axis=0).sum(axis=0).tolist()
        return known, bads

    def _find(self, keys: Sequence[int]) -> tuple[Places, npt.NDArray[np.bool_] | None]:
        slots = [table.get(key, _NOBODY) for table, key in zip(self._slots, keys, strict=True)]
        absent = np.array([key == MISSING_KEY for key in keys]) if MISSING_KEY in keys else None
        return np.array([*slots, self._book]), absent

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return everything as arrays by name, for `of`."""
        plain: dict[str, npt.NDArray[np.generic]] = {
            f"cells.{name}": values for name, values in self._cells.arrays().items()
        }
        plain |= {"latest": np.array([self._latest]), "waiting": self._waiting, "due": self._due}
        for level, table in zip(self.levels, self._slots, strict=True):
            plain[f"slots.key.{level}"] = np.fromiter(table.keys(), dtype=np.uint64, count=len(table))
            plain[f"slots.place.{level}"] = np.fromiter(table.values(), dtype=np.int64, count=len(table))
        for link, state in zip(self._memory.links, self._links, strict=True):
            plain |= {f"link.{link.name}.{name}": values for name, values in state.arrays().items()}
        return plain

    @classmethod
    def of(cls, memory: Memory, arrays: Mapping[str, npt.NDArray[Any]]) -> State:
        """Return the state that gave `arrays`."""
        state = cls(memory)
        state._cells.restore(_under("cells.", arrays))
        state._latest = float(arrays["latest"][0])
        state._waiting, state._due = arrays["waiting"], arrays["due"]
        state._slots = [
            dict(zip(arrays[f"slots.key.{level}"].tolist(), arrays[f"slots.place.{level}"].tolist(), strict=True))
            for level in state.levels
        ]
        state._links = [LinkState.of(memory, link, _under(f"link.{link.name}.", arrays)) for link in memory.links]
        return state


def _under(prefix: str, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}
