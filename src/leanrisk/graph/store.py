"""The memory that serves: it learns of events as they become known, and answers one decision in microseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import MemoryStoreError
from leanrisk.core.memory import Memory
from leanrisk.graph.events import Events
from leanrisk.graph.facts import fact_names
from leanrisk.graph.history import Absorbed, History
from leanrisk.graph.keys import MISSING_KEY, record_key, text_key
from leanrisk.graph.state import State

_MOST_TEXTS = 500_000
"""Texts whose keys are kept at hand; beyond them the table starts anew."""


@dataclass(frozen=True)
class Provenance:
    """Where a rate comes from: `bads` of `known` outcomes of the entity `value` at `level`, as of the moment `at`.

    `unknown` says that the entity was never seen, so that its rate is that of the coarser one.
    """

    level: str
    value: str
    known: int
    bads: int
    rate: float
    at: float
    unknown: bool

    def __str__(self) -> str:
        if self.unknown:
            return f"{self.level} {self.value}: never seen before"
        return f"{self.level} {self.value}: {self.bads:,} of {self.known:,} matured outcomes bad"


class MemoryStore:
    """All that is remembered, as known by now; `build_facts` answers for any earlier moment from its `history`."""

    def __init__(self, memory: Memory, state: State, history: History, *, version: int = 0) -> None:
        self.config, self.version = memory, version
        self.names = fact_names(memory)
        self._state, self._events = state, history
        # For each level: its columns, how many letters count, and the keys of texts met before.
        self._ways: list[tuple[tuple[str, ...], int | None, dict[str, int]]] = [
            (entity.columns, size, {}) for entity in memory.entities for size in (None, *entity.prefixes)
        ]
        self._ends = [(link.source, link.target) for link in memory.links]

    @classmethod
    def build(cls, memory: Memory, events: Events) -> MemoryStore:
        """Return the store that has absorbed these events; its clock stands just after the latest one."""
        store = cls(memory, State(memory), History.empty(events))
        store.update(events)
        return store

    @property
    def clock(self) -> float:
        """The earliest moment that can be asked: every fact absorbed so far was known before it."""
        return self._state.clock

    @property
    def history(self) -> Events:
        """Every event absorbed, in the order of arrival."""
        return self._events.events

    def update(self, events: Events) -> Absorbed:
        """Absorb events, in any order, and return what was new among them.

        An event whose id is known is a duplicate and changes nothing, unless it tells an outcome that was unknown so
        far. An outcome that becomes known after the latest event waits until its time has come.
        """
        merged = self._events.merge(events)
        late = self._state.absorb(merged, self._events)
        return merged.told(late=late, pending=self._state.pending)

    def lookup(self, record: Mapping[str, Any], at: float) -> npt.NDArray[np.float32]:
        """Return what is known of the record's entities at the moment `at`, float32 (facts,), in order of `names`.

        Raises `MemoryStoreError` for a moment before the clock: later facts are in the counters by now.
        """
        keys = self._keys(record, at)
        ends = [(record_key(record, [source]), record_key(record, [target])) for source, target in self._ends]
        return self._state.answer(keys, ends, at)

    def explain(self, record: Mapping[str, Any], at: float) -> list[Provenance]:
        """Return for each level that the record names what its rate rests on; raises as `lookup` does."""
        keys = self._keys(record, at)
        told, seen = self._state.outcomes(keys, at)
        found = []
        for place, (level, (columns, size, _)) in enumerate(zip(self._state.levels, self._ways, strict=True)):
            if keys[place] == MISSING_KEY:
                continue
            value = " x ".join(str(record[name])[:size] for name in columns)
            known, bads = int(told.known[place, 0]), int(told.bads[place, 0])
            rate = float(told.rates[place, 0])
            found.append(Provenance(level, value, known, bads, rate, at, unknown=not seen[place]))
        return found

    def _keys(self, record: Mapping[str, Any], at: float) -> list[int]:
        if not at >= self.clock:
            raise MemoryStoreError(
                f"A memory answers for moments from its clock on, {self.clock}: asked for {at}. Later facts are "
                "counted in by now; work out the past with build_facts on its history."
            )
        self._state.advance(at, self._events)
        keys = []
        for columns, size, texts in self._ways:
            value = record.get(columns[0]) if len(columns) == 1 else None
            if type(value) is not str:
                keys.append(record_key(record, columns, size))
                continue
            key = texts.get(value)
            if key is None:
                if len(texts) >= _MOST_TEXTS:
                    texts.clear()
                key = texts[value] = text_key(value[:size]) if value else MISSING_KEY
            keys.append(key)
        return keys

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the events and all counters as arrays by name, for `of`."""
        return {**self._events.arrays(), **self._state.arrays()}

    @classmethod
    def of(cls, memory: Memory, arrays: Mapping[str, npt.NDArray[Any]], *, version: int = 0) -> MemoryStore:
        """Return the store that gave `arrays`."""
        return cls(memory, State.of(memory, arrays), History.of(memory, arrays), version=version)

    def append(self, folder: Path, events: Events) -> Absorbed:
        """Absorb events, which are on disk in the store's `folder` before this returns; otherwise as `update`."""
        from leanrisk.graph.persist import append_events

        return append_events(folder, self, events)

    def save(self, folder: Path) -> None:
        """Write the store to `folder` as a new version; see `graph.persist` for the layout."""
        from leanrisk.graph.persist import save_snapshot

        self.version = save_snapshot(self, folder)

    @classmethod
    def open(cls, folder: Path, version: int | None = None) -> MemoryStore:
        """Return the store in `folder`, or an earlier `version`; raises `MemoryStoreError` where it is damaged."""
        from leanrisk.graph.persist import open_store

        return open_store(folder, version)
