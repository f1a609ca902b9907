"""A deployed memory learns of new facts, without any retraining."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from leanrisk.core.errors import BundleError
from leanrisk.core.memory import Memory
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data.load import load
from leanrisk.data.read import read_table, to_frame
from leanrisk.graph.events import Events, events_of
from leanrisk.graph.history import Absorbed
from leanrisk.graph.store import MemoryStore
from leanrisk.registry.bundle import Bundle
from leanrisk.registry.manifest import MEMORY


def update_memory(bundle: Path | str, data: Any) -> tuple[Absorbed, MemoryStore]:
    """Return what the bundle's memory absorbed of `data`, a file or table of events, and the memory as it is then.

    An event is a row like those that the model was made from; it needs the columns that name entities and the decision
    time, and its outcome where that is known by now. The same event twice counts once, by its id. What is absorbed is
    on disk when this returns; the model itself is not touched. Raises `BundleError` for a bundle without a memory,
    `DataError` with every fault of the table, `MemoryStoreError` for a damaged memory.
    """
    memory = told(Bundle.load(bundle))
    schema = memory_schema(memory[0], memory[1])
    events = read_events(data, schema, memory[1])
    store = MemoryStore.open(Path(bundle) / MEMORY)
    return store.append(events), store


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
    """Return what the bundle's memory holds, as plain values: what it remembers, its events, clock and version."""
    model = Bundle.load(bundle)
    _, memory = told(model)
    store = model.memory
    assert store is not None
    return {
        "entities": [level for entity in memory.entities for level in entity.levels],
        "links": [link.name for link in memory.links],
        "facts": len(store.names),
        "events": store.history.rows,
        "clock": store.clock,
        "version": store.version,
        "bytes": sum(file.stat().st_size for file in (model.folder / MEMORY).rglob("*") if file.is_file()),
    }
