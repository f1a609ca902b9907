"""A deployed memory learns of new facts, without any retraining."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from leanrisk.core.errors import BundleError, ConfigError, DataError, Fault
from leanrisk.core.memory import Memory
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data.load import load
from leanrisk.data.read import read_table, to_frame
from leanrisk.graph.edges import AbsorbedEdges
from leanrisk.graph.events import Events, events_of
from leanrisk.graph.history import Absorbed
from leanrisk.graph.present import FARTHEST
from leanrisk.graph.recall import edges_in
from leanrisk.graph.store import MemoryStore
from leanrisk.pipelines.edge_tables import read_edge_tables
from leanrisk.registry.bundle import Bundle
from leanrisk.registry.manifest import MEMORY


@dataclass(frozen=True)
class Updated:
    """What an update brought, and the memory as it is then; `events` is None where only edges came."""

    events: Absorbed | None
    edges: tuple[AbsorbedEdges, ...]
    store: MemoryStore


def update_memory(bundle: Path | str, data: Any) -> tuple[Absorbed, MemoryStore]:
    """Return what the bundle's memory absorbed of `data`, a file or table of events, and the memory as it is then.

    Raises as `absorb` does.
    """
    done = absorb(bundle, data)
    assert done.events is not None
    return done.events, done.store


def absorb(bundle: Path | str, data: Any = None, edges: Mapping[str, Any] | None = None) -> Updated:
    """Return what the bundle's memory absorbed: of `data`, events, and of `edges`, tables by the name of their edges.

    An event is a row like those that the model was made from; it needs the columns that name entities and the decision
    time, and its outcome where that is known by now. The same event twice counts once, by its id. What is absorbed is
    on disk when this returns; the model itself is not touched. Nothing is absorbed before all of it has been read.
    Raises `BundleError` for a bundle without a memory, `ConfigError` for edges that it does not know and for nothing to
    absorb, `DataError` with every fault of a table, `MemoryStoreError` for a damaged memory.
    """
    model = Bundle.load(bundle)
    whole, memory = told(model)
    if data is None and not edges:
        raise ConfigError("An update absorbs events, edges or both: it was given neither. Name a file.")
    events = None if data is None else read_events(data, memory_schema(whole, memory), memory)
    # The files that the schema names are those of the run; they are not news.
    plain = replace(memory, edges=tuple(replace(table, file="") for table in memory.edges))
    frames = read_edge_tables(plain, edges or {}, folder=Path())
    tables = {table.name: edges_in(frames[table.name], whole, table) for table in plain.edges if table.name in frames}
    store = model.memory
    assert store is not None
    if events is not None:
        _check_not_far(events, store, whole)
    # Edges first: what they tell counts for the events of the same update, too.
    linked = tuple(store.append_edges(name, rows) for name, rows in tables.items())
    return Updated(None if events is None else store.append(events), linked, store)


def _check_not_far(events: Events, store: MemoryStore, schema: Schema) -> None:
    """Raise `DataError` for events so far ahead that the clock which they would set is most likely an error.

    Decisions are made by now: tomorrow is the latest that clocks of two places allow for. Where the memory is ahead of
    today, or its time counts, a year (or as many units) ahead of it is.
    """
    dated = schema[str(schema.time)].kind is not Kind.NUMERIC
    tomorrow = datetime.now(UTC).timestamp() / 86_400 + 1.0
    latest = tomorrow if dated and store.clock <= tomorrow else store.clock + FARTHEST
    far = int((events.happened > latest).sum()) if np.isfinite(latest) else 0
    if far:
        what = f"{far:,} events are dated later than decisions can be: they would move the clock for good."
        raise DataError([Fault("far-ahead", what, "Correct their times; nothing was absorbed.", schema.time)])


def told(bundle: Bundle) -> tuple[Schema, Memory]:
    """Return the bundle's schema and what it remembers; raises `BundleError` where it has no memory."""
    if bundle.schema.memory is None:
        raise BundleError(
            f"Only a model with a memory can be told new facts: '{bundle.folder}' has none. Shrink with the step "
            "'memory' and a schema that says what to remember."
        )
    return bundle.schema, bundle.schema.memory


def memory_schema(schema: Schema, memory: Memory) -> Schema:
    """Return the schema of a table of events: the columns that the memory reads, and no other."""
    names = {*memory.columns, memory.amount, memory.known}
    single = (Role.ID, Role.TIME, Role.TARGET, Role.OUTCOME_TIME)
    kept = (column for column in schema.raw.columns if column.name in names or column.role in single)
    return replace(schema, columns=tuple(_read(column, memory) for column in kept))


def read_events(source: Any, schema: Schema, memory: Memory) -> Events:
    """Return the events in a file or table under `memory_schema`; raises `DataError` with every fault at once."""
    frame = read_table(source) if isinstance(source, Path | str) else to_frame(source)
    rows = load(frame, schema, labelled=False)
    return events_of(rows.frame, rows.schema, memory)


def _read(column: Column, memory: Memory) -> Column:
    """Return the column as the memory needs it: what names an entity or is added up must be there."""
    if column.name in memory.columns:
        return replace(column, kind=Kind.CATEGORY, role=Role.FEATURE)
    return replace(column, kind=Kind.NUMERIC, role=Role.FEATURE) if column.name == memory.amount else column


def memory_facts(bundle: Path | str) -> dict[str, Any]:
    """Return what the bundle's memory holds, as plain values: what it remembers, its events, clock and version.

    `as_of` is the clock as a moment in words: ISO 8601 where decisions have dates, else the number itself.
    """
    model = Bundle.load(bundle)
    _, memory = told(model)
    store = model.memory
    assert store is not None
    return {
        "entities": [level for entity in memory.entities for level in entity.levels],
        "links": [link.name for link in memory.links],
        "edges": {name: rows.rows for name, rows in store.edges.items()},
        "facts": len(store.names),
        "events": store.history.rows,
        "clock": store.clock,
        "as_of": _moment(store.clock, dated=model.schema[str(model.schema.time)].kind is not Kind.NUMERIC),
        "version": store.version,
        "bytes": sum(file.stat().st_size for file in (model.folder / MEMORY).rglob("*") if file.is_file()),
    }


def _moment(clock: float, *, dated: bool) -> str:
    """Return the clock in words; a memory without any event has none."""
    if not isfinite(clock):
        return "never"
    if not dated:
        return f"{clock:g}"
    return (datetime(1970, 1, 1) + timedelta(days=clock)).isoformat(sep=" ", timespec="seconds")
