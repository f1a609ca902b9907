"""MLflow's tables of versions and aliases, read and moved in the transaction of our own row.

MLflow's client makes the tables and adds versions. An alias is one row of `registered_model_aliases`; setting it here
takes milliseconds where importing MLflow takes seconds, and stands or falls with the journal's row.
"""

from __future__ import annotations

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from leanrisk.core.errors import RegistryError

SNAPSHOT = "leanrisk.snapshot"
"""Tag of a model version: the id of the snapshot that it stands for."""
FOREIGN = "mlflow:"
"""What stands before the number of a version that is no snapshot of ours."""
DELETED = "Deleted_Internal"
"""Stage in which MLflow leaves the rows of a version that was deleted."""

_metadata = sql.MetaData()
_versions = sql.Table(
    "model_versions",
    _metadata,
    *(sql.Column(name, sql.String) for name in ("name", "source", "current_stage")),
    sql.Column("version", sql.Integer),
)
_tags = sql.Table(
    "model_version_tags",
    _metadata,
    *(sql.Column(name, sql.String) for name in ("name", "key", "value")),
    sql.Column("version", sql.Integer),
)
_aliases = sql.Table(
    "registered_model_aliases",
    _metadata,
    *(sql.Column(name, sql.String) for name in ("name", "alias")),
    sql.Column("version", sql.Integer),
)
_there = sql.func.coalesce(_versions.c.current_stage, "") != DELETED


class MlflowTables:
    """Versions and aliases of the registered model `model`."""

    def __init__(self, model: str) -> None:
        self.model = model

    def there(self, connection: Connection) -> bool:
        """Return whether MLflow has made its tables in this database."""
        return sql.inspect(connection).has_table(_aliases.name)

    def numbers(self, connection: Connection) -> dict[str, int]:
        """Return the number of each snapshot's version; the first one, should MLflow hold several."""
        one = sql.and_(_versions.c.name == _tags.c.name, _versions.c.version == _tags.c.version)
        query = (
            sql.select(_tags.c.value, sql.func.min(_tags.c.version))
            .select_from(_tags.join(_versions, one))
            .where(_tags.c.name == self.model, _tags.c.key == SNAPSHOT, _there)
            .group_by(_tags.c.value)
        )
        return {str(snapshot): int(number) for snapshot, number in connection.execute(query)}

    def sources(self, connection: Connection) -> dict[int, str]:
        """Return where each version's model folder is."""
        query = sql.select(_versions.c.version, _versions.c.source).where(_versions.c.name == self.model, _there)
        return {int(number): str(source) for number, source in connection.execute(query)}

    def aliases(self, connection: Connection) -> dict[str, str]:
        """Return the snapshot that each alias points at; "mlflow:3" for a version that is no snapshot."""
        tagged = sql.and_(
            _tags.c.name == _aliases.c.name, _tags.c.version == _aliases.c.version, _tags.c.key == SNAPSHOT
        )
        query = (
            sql.select(_aliases.c.alias, _aliases.c.version, _tags.c.value)
            .select_from(_aliases.outerjoin(_tags, tagged))
            .where(_aliases.c.name == self.model)
        )
        found = connection.execute(query)
        return {str(alias): snapshot or f"{FOREIGN}{number}" for alias, number, snapshot in found}

    def point(self, connection: Connection, alias: str, snapshot: str | None) -> None:
        """Let an alias point at a snapshot's version, at "mlflow:3", or at nothing.

        Raises `RegistryError` where the snapshot has no version.
        """
        mine = (_aliases.c.name == self.model, _aliases.c.alias == alias)
        if snapshot is None:
            connection.execute(_aliases.delete().where(*mine))
            return
        told = snapshot.removeprefix(FOREIGN)
        number = int(told) if told != snapshot else self.numbers(connection).get(snapshot)
        if number is None:
            raise RegistryError(
                f"An alias points at a registered version: snapshot '{snapshot}' has none in MLflow's model "
                f"'{self.model}'. Register its bundle again."
            )
        moved = connection.execute(_aliases.update().where(*mine).values(version=number))
        if moved.rowcount == 0:
            connection.execute(_aliases.insert(), {"name": self.model, "alias": alias, "version": number})
