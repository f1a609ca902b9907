"""MLflow's rows of one registered model as plain values, out of one database and into another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine

from leanrisk.records.database import writing
from leanrisk.registry.mlflow_tables import DELETED, SNAPSHOT
from leanrisk.registry.promotion import ALIASES

_TABLES = (
    "registered_models",
    "registered_model_tags",
    "model_versions",
    "model_version_tags",
    "registered_model_aliases",
)
"""In an order in which each refers only to those before it."""


def dumped(connection: Connection, model: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of `model` in each of MLflow's tables of models, by table; values are plain JSON."""
    found = {}
    for name, table in _tables(connection).items():
        rows = connection.execute(sql.select(table).where(table.c.name == model).order_by(*table.primary_key))
        found[name] = [dict(row._mapping) for row in rows]
    return found


def loaded(
    engine: Engine, model: str, content: Mapping[str, list[dict[str, Any]]], source: Callable[[str], str]
) -> None:
    """Insert rows that `dumped` returned, for `model` by that name now; what a table no longer has is left out.

    `source` tells where a snapshot's model folder is now.
    """
    snapshots = {
        row["version"]: row["value"] for row in content.get("model_version_tags", ()) if row["key"] == SNAPSHOT
    }
    with writing(engine) as connection:
        for name, table in _tables(connection).items():
            for row in content.get(name, ()):
                if name == _TABLES[-1] and row["alias"] in ALIASES:
                    # The journal says where these point; they are set together with it.
                    continue
                values = {key: value for key, value in row.items() if key in table.c} | {"name": model}
                deleted = row.get("current_stage") == DELETED
                if name == "model_versions" and row["version"] in snapshots and not deleted:
                    values["source"] = values["storage_location"] = source(snapshots[row["version"]])
                connection.execute(table.insert(), values)


def _tables(connection: Connection) -> dict[str, sql.Table]:
    metadata = sql.MetaData()
    return {name: sql.Table(name, metadata, autoload_with=connection) for name in _TABLES}
