"""From rows to the same rows with a column for each fact of the memory, as known at each row's decision time."""

from __future__ import annotations

from dataclasses import replace

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError
from leanrisk.core.memory import Memory
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.graph.build import build_facts
from leanrisk.graph.events import Events, events_of
from leanrisk.graph.facts import fact_names

_NOTE = "computed by the memory, as known at the decision time"


def recalled(dataset: Dataset, *, history: Events | None = None, asked: Events | None = None) -> Dataset:
    """Return the rows with the facts of the schema's memory as further columns (float32).

    Facts that the schema does not name yet get the role "memory"; those that it names keep theirs. `history`: the
    events that are remembered; without it the rows themselves, each of which knows only what was known before its own
    decision. `asked`: the rows as events, where the caller has read them already. Raises `ConfigError` for a schema
    without a memory, `DataError` for rows that name no entity or time.
    """
    memory = remembered(dataset.schema)
    if asked is None:
        asked = events_of(dataset.frame, dataset.schema, memory)
    facts = build_facts(memory, asked if history is None else history, asked)
    frame = dataset.frame.drop(facts.columns, strict=False).hstack(facts)
    return Dataset(frame, with_facts(dataset.schema))


def with_facts(schema: Schema) -> Schema:
    """Return the schema with a column for each fact of its memory; those that it has already stay as they are."""
    new = [name for name in fact_names(remembered(schema)) if name not in schema]
    added = (Column(name, Kind.NUMERIC, Role.MEMORY, note=_NOTE) for name in new)
    return replace(schema, columns=(*schema.columns, *added))


def remembered(schema: Schema) -> Memory:
    """Return the schema's memory; raises `ConfigError` where it has none."""
    if schema.memory is None:
        raise ConfigError(
            "A memory must be told what to remember: the schema has no [memory] section. Write one (see "
            "docs/how-to/memory.md), or let `leanrisk inspect` propose it."
        )
    return schema.memory
