"""From rows to the same rows with a column for each fact of the memory, as known at each row's decision time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.edge_table import EdgeTable
from leanrisk.core.errors import ConfigError
from leanrisk.core.memory import Memory
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.graph.build import build_facts
from leanrisk.graph.edges import Edges, edges_of
from leanrisk.graph.events import Events, events_of
from leanrisk.graph.facts import fact_names

_NOTE = "computed by the memory, as known at the decision time"


def recalled(
    dataset: Dataset,
    *,
    history: Events | None = None,
    asked: Events | None = None,
    edges: Mapping[str, Edges] | None = None,
) -> Dataset:
    """Return the rows with the facts of the schema's memory as further columns (float32).

    Facts that the schema does not name yet get the role "memory"; those that it names keep theirs. `history`: the
    events that are remembered; without it the rows themselves, each of which knows only what was known before its own
    decision. `asked`: the rows as events, where the caller has read them already. `edges`: by the name of their table;
    without them those that the dataset comes with. Raises `ConfigError` for a schema without a memory or an edge table
    without its rows, `DataError` for rows that name no entity or time.
    """
    memory = remembered(dataset.schema)
    if asked is None:
        asked = events_of(dataset.frame, dataset.schema, memory)
    if edges is None:
        edges = edges_with(dataset)
    facts = build_facts(memory, asked if history is None else history, asked, edges)
    frame = dataset.frame.drop(facts.columns, strict=False).hstack(facts)
    return replace(dataset, frame=frame, schema=with_facts(dataset.schema))


def edges_with(dataset: Dataset) -> dict[str, Edges]:
    """Return the edges that the dataset comes with, by the name of their table.

    Raises `ConfigError` where the schema's memory names a table that did not come, `DataError` for faults in one.
    """
    memory = remembered(dataset.schema)
    lost = [table.name for table in memory.edges if table.name not in dataset.tables]
    if lost:
        raise ConfigError(
            f"A memory reads the edge tables that the schema names: '{lost[0]}' did not come. Give its file, with "
            f"--edges {lost[0]}=FILE or as 'file' in the schema, or take it out of [memory]."
        )
    return {table.name: edges_in(dataset.tables[table.name], dataset.schema, table) for table in memory.edges}


def edges_in(frame: pl.DataFrame, schema: Schema, table: EdgeTable) -> Edges:
    """Return the edges in a table, timed as the decisions of the schema are; raises `DataError` with every fault."""
    return edges_of(frame, table, counts=schema[str(schema.time)].kind is Kind.NUMERIC)


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
