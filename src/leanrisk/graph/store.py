"""The memory that serves: it learns of events as they become known, and answers one decision in microseconds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from threading import RLock
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.edge_table import EdgeKind
from leanrisk.core.errors import MemoryStoreError
from leanrisk.core.files import writable_folder
from leanrisk.core.memory import Memory
from leanrisk.graph.edge_state import EDGE_ARRAYS, EdgeState
from leanrisk.graph.edges import AbsorbedEdges, Edges
from leanrisk.graph.events import Events
from leanrisk.graph.facts import fact_names
from leanrisk.graph.history import Absorbed, History
from leanrisk.graph.home import Home
from leanrisk.graph.journal import EdgeBatch
from leanrisk.graph.keys import MISSING_KEY, record_key, text_key
from leanrisk.graph.persist import current, locked, read_snapshot, write_snapshot
from leanrisk.graph.provenance import EdgeProvenance, Provenance
from leanrisk.graph.state import State

_LONG_JOURNAL = 50_000
"""Events in a journal from which on it is folded into a new snapshot, unless the snapshot is much longer still."""
LOOK_EVERY_S = 1.0
"""Seconds after which a look-up asks whether another process has told the memory something."""
_MOST_TEXTS = 500_000
"""Texts whose keys are kept at hand; beyond them the table starts anew."""


class MemoryStore:
    """All that is remembered, as known by now; `build_facts` answers for any earlier moment from its `history`."""

    def __init__(self, memory: Memory, state: State, history: History, *, version: int = 0, identity: str = "") -> None:
        """`identity`: what all versions of one memory share, whatever they learn."""
        self.config, self.version, self.identity = memory, version, identity
        self.names = fact_names(memory)
        self._state, self._events = state, history
        self._edges = {table.name: EdgeState(memory, table) for table in memory.edges}
        self._home: Home | None = None
        # Whoever opened an earlier version wants to see that one.
        self._follows, self._look_at = True, 0.0
        # Services look up from several threads, and a look-up may count outcomes whose time has come.
        self._lock = RLock()
        # For each level: its columns, how many letters count, and the keys of texts met before.
        self._ways: list[tuple[tuple[str, ...], int | None, dict[str, int]]] = [
            (entity.columns, size, {}) for entity in memory.entities for size in (None, *entity.prefixes)
        ]
        self._columns = {entity.name: entity.columns for entity in memory.entities}
        self._ends = [(link.source, link.target) for link in memory.links]

    @classmethod
    def build(cls, memory: Memory, events: Events, edges: Mapping[str, Edges] | None = None) -> MemoryStore:
        """Return the store that has absorbed these events and edges; its clock stands just after the latest event."""
        store = cls(memory, State(memory), History.empty(events))
        for name, rows in (edges or {}).items():
            store.update_edges(name, rows)
        store.update(events)
        parts = (str(memory.to_dict()), events.digest, *(rows.digest for rows in store.edges.values()))
        store.identity = sha256("\0".join(parts).encode()).hexdigest()
        return store

    @property
    def clock(self) -> float:
        """The earliest moment that can be asked: every fact absorbed so far was known before it."""
        latest = max((state.latest for state in self._edges.values()), default=-np.inf)
        return max(self._state.clock, float(np.nextafter(latest, np.inf)) if latest > -np.inf else -np.inf)

    @property
    def history(self) -> Events:
        """Every event absorbed, in the order of arrival."""
        return self._events.events

    def update(self, events: Events) -> Absorbed:
        """Absorb events, in any order, and return what was new among them.

        An event whose id is known is a duplicate and changes nothing, unless it tells an outcome that was unknown so
        far. An outcome that becomes known after the latest event waits until its time has come.
        """
        self._check_fits(events)
        with self._lock:
            merged = self._events.merge(events)
            late = self._state.absorb(merged, self._events)
            return merged.told(late=late, pending=self._state.pending)

    @property
    def edges(self) -> dict[str, Edges]:
        """Every edge absorbed, by the name of its table, in the order of arrival."""
        return {name: state.edges for name, state in self._edges.items()}

    def update_edges(self, name: str, edges: Edges) -> AbsorbedEdges:
        """Absorb edges of a table, in any order, and return what was new; raises `MemoryStoreError` for no such table.

        An edge that is known already changes nothing, unless it tells an end that was not told so far. One that becomes
        known later waits until its time has come.
        """
        state = self._edge_state(name)
        with self._lock:
            return state.absorb(edges, self.clock)

    def _edge_state(self, name: str) -> EdgeState:
        if name not in self._edges:
            raise MemoryStoreError(
                f"A memory takes the edges that its config names, {list(self._edges) or 'none'}: '{name}' is not among "
                "them. Correct the name, or shrink anew with a schema that has the table."
            )
        return self._edges[name]

    def lookup(self, record: Mapping[str, Any], at: float) -> npt.NDArray[np.float32]:
        """Return what is known of the record's entities at the moment `at`, float32 (facts,), in order of `names`.

        Raises `MemoryStoreError` for a moment before the clock: later facts are in the counters by now.
        """
        self.keep_up()
        ends = [(record_key(record, [source]), record_key(record, [target])) for source, target in self._ends]
        with self._lock:
            facts = self._state.answer(self._keys(record, at), ends, at)
            if not self._edges:
                return facts
            book = self._state.totals("")
            told = [
                state.lookup(self._subject(state, record), at, partial(self._state.totals, state.table.entity), book)
                for state in self._edges.values()
            ]
            return np.concatenate([facts, *told])

    def _subject(self, state: EdgeState, record: Mapping[str, Any]) -> int:
        return record_key(record, self._columns[state.table.entity])

    def explain(self, record: Mapping[str, Any], at: float) -> list[Provenance]:
        """Return for each level that the record names what its rate rests on; raises as `lookup` does."""
        with self._lock:
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

    def explain_edges(self, record: Mapping[str, Any], at: float) -> list[EdgeProvenance]:
        """Return for each edge table whose entity the record names what its facts rest on; raises as `lookup` does."""
        with self._lock:
            self._keys(record, at)
            told = [self._around(state, record, at) for state in self._edges.values()]
        return [found for found in told if found is not None]

    def _around(self, state: EdgeState, record: Mapping[str, Any], at: float) -> EdgeProvenance | None:
        key, table = self._subject(state, record), state.table
        if key == MISSING_KEY:
            return None
        out, into, ring = state.around(key)
        known, bads = self._state.totals(table.entity, ring)
        value = str(record[self._columns[table.entity][0]])
        shared = table.kind is EdgeKind.SHARED
        near = out, len(ring) if shared else into
        return EdgeProvenance(table.name, table.kind, table.entity, value, *near, int(known), int(bads), at)

    def _keys(self, record: Mapping[str, Any], at: float) -> list[int]:
        if not self.clock <= at < np.inf or at == -np.inf:
            raise MemoryStoreError(
                f"A memory answers for moments from its clock on, {self.clock}: asked for {at}. Later facts are "
                "counted in by now; work out the past with build_facts on its history."
            )
        self._state.advance(at, self._events)
        for edges in self._edges.values():
            edges.advance(at)
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

    @property
    def size_bytes(self) -> int:
        """Bytes of all events and counters."""
        return sum(values.nbytes for values in self.arrays().values())

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the events and all counters as arrays by name, for `of`."""
        edges = {
            f"edges.{name}.{part}": values
            for name, state in self._edges.items()
            for part, values in state.arrays().items()
        }
        return {**self._events.arrays(), **self._state.arrays(), **edges}

    @classmethod
    def of(
        cls, memory: Memory, arrays: Mapping[str, npt.NDArray[Any]], *, version: int = 0, identity: str = ""
    ) -> MemoryStore:
        """Return the store that gave `arrays`."""
        store = cls(memory, State.of(memory, arrays), History.of(memory, arrays), version=version, identity=identity)
        for table in memory.edges:
            parts = {name: arrays[f"edges.{table.name}.{name}"] for name in EDGE_ARRAYS}
            store._edges[table.name] = EdgeState.of(memory, table, parts)
        return store

    def save(self, folder: Path) -> None:
        """Write the store to `folder` as a new version, with an empty journal; raises `OutputError`."""
        writable_folder(folder)
        with locked(folder):
            self.version = write_snapshot(folder, self.config, self.arrays(), self.clock, self.identity)

    @classmethod
    def open(cls, folder: Path, version: int | None = None) -> MemoryStore:
        """Return the newest store in `folder`, or an earlier `version`, with what its journal adds.

        Raises `MemoryStoreError` naming the file that is missing or damaged. A batch that a crash cut short is left
        out: `torn` tells its bytes, and the next line of absorbed.jsonl too.
        """
        folder = Path(folder)
        number = current(folder) if version is None else version
        memory, arrays, identity = read_snapshot(folder, number)
        try:
            store = cls.of(memory, arrays, version=number, identity=identity)
        except (KeyError, ValueError, IndexError) as error:
            raise MemoryStoreError(
                f"A memory's snapshot holds every array of what it remembers: version {number} in '{folder}' does not "
                f"({error}). Restore the folder from a copy."
            ) from error
        store._home, store._follows = Home(folder, number, memory), version is None
        store._catch_up()
        return store

    @property
    def torn(self) -> int:
        """Bytes of a batch in the journal that a crash cut short; nobody was told that it was absorbed."""
        return self._home.torn if self._home else 0

    def append(self, events: Events) -> Absorbed:
        """Absorb events as `update` does; they are on disk, in the folder of `open`, before this returns.

        Whatever another process appended is absorbed first. Raises `MemoryStoreError` for a store that was not opened
        from a folder or is not its newest version, `OutputError` where the disk refuses.
        """
        home = self._opened()
        self._check_fits(events)
        with self._lock, home.writing():
            self._catch_up()
            torn = home.torn
            home.write(events)
            absorbed = self.update(events)
            home.note(absorbed, self.clock, torn)
            self._shorten(home)
        return absorbed

    def append_edges(self, name: str, edges: Edges) -> AbsorbedEdges:
        """Absorb edges as `update_edges` does; they are on disk before this returns. Raises as `append` does."""
        home = self._opened()
        self._edge_state(name)
        with self._lock, home.writing():
            self._catch_up()
            torn = home.torn
            home.write(EdgeBatch(name, edges))
            absorbed = self.update_edges(name, edges)
            home.note(absorbed, self.clock, torn)
            self._shorten(home)
        return absorbed

    def _shorten(self, home: Home) -> None:
        """Fold a long journal into a new snapshot; the folder is held."""
        if home.rows > max(_LONG_JOURNAL, self.history.rows // 2):
            self._fold(home)

    def compact(self) -> None:
        """Write snapshot and journal as one new snapshot, so that the next `open` is fast; raises as `append` does."""
        home = self._opened()
        with self._lock, home.writing():
            self._catch_up()
            self._fold(home)

    def _fold(self, home: Home) -> None:
        self.version = write_snapshot(home.folder, self.config, self.arrays(), self.clock, self.identity)
        self._home = Home(home.folder, self.version, self.config)

    def keep_up(self) -> None:
        """Take in what another process absorbed in the folder of `open`, if a look at it is due: one every second.

        Raises `MemoryStoreError` where that is damaged, or is another memory than the one that was opened.
        """
        now = monotonic()
        if self._home is None or not self._follows or now < self._look_at:
            return
        with self._lock:
            self._look_at = now + LOOK_EVERY_S
            home = self._opened()
            if not home.changed():
                return
            if current(home.folder) == self.version:
                self._catch_up()
                return
            newer = MemoryStore.open(home.folder)
            if newer.config != self.config or newer.identity != self.identity:
                raise MemoryStoreError(
                    f"A memory that is in use learns and stays the same: '{home.folder}' holds another one now. Load "
                    "the bundle anew, or restore its memory."
                )
            self.version, self._state, self._events = newer.version, newer._state, newer._events
            self._edges, self._home = newer._edges, newer._home

    def _catch_up(self) -> None:
        for batch in self._opened().unread():
            if isinstance(batch, EdgeBatch):
                self.update_edges(batch.name, batch.edges)
            else:
                self.update(batch)

    def _opened(self) -> Home:
        if self._home is None:
            raise MemoryStoreError(
                "Only a memory opened from a folder can keep what it learns: this one lies in none. Call save(folder), "
                "then MemoryStore.open(folder)."
            )
        return self._home

    def _check_fits(self, events: Events) -> None:
        own = self.history
        if set(events.keys) != set(own.keys) or set(events.ends) != set(own.ends):
            raise MemoryStoreError(
                f"Events must name what the memory remembers, {[*own.keys, *own.ends]}: these name "
                f"{[*events.keys, *events.ends]}. Read them with events_of and this memory's config."
            )
        if not np.isfinite(events.happened).all():
            raise MemoryStoreError("Events must have happened at some time: one has none. Leave it out.")
