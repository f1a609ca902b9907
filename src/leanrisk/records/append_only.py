"""Triggers with which the database itself refuses to change or remove a row, or to add one out of turn."""

from __future__ import annotations

import sqlalchemy as sql
from sqlalchemy.engine import Connection

_KINDS = ("insert", "update", "delete")
_START = "0" * 64


def guard(connection: Connection, table: str) -> None:
    """Let `table` take only rows that follow on its last one by `seq` and `previous`, and never change one again."""
    postgres = connection.dialect.name == "postgresql"
    for statement in _postgres(table) if postgres else _sqlite(table):
        connection.exec_driver_sql(statement)


def missing_guards(connection: Connection, table: str) -> list[str]:
    """Return the names of the triggers that are not there, or not switched on."""
    if connection.dialect.name == "postgresql":
        query = "SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(:table) AND tgenabled IN ('O', 'A')"
        wanted = [*_names(table), f"{table}_truncate"]
    else:
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table"
        wanted = _names(table)
    found = set(connection.execute(sql.text(query), {"table": table}).scalars())
    return [name for name in wanted if name not in found]


def _names(table: str) -> list[str]:
    return [f"{table}_{kind}" for kind in _KINDS]


def _sqlite(table: str) -> list[str]:
    def refusing(kind: str, when: str = "") -> str:
        return (
            f"CREATE TRIGGER {table}_{kind} BEFORE {kind.upper()} ON {table} {when}"
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )

    # INSERT OR REPLACE removes a row without asking the trigger for deletes; its number is then not the next one.
    follows = (
        f"NEW.seq = 1 + COALESCE((SELECT MAX(seq) FROM {table}), 0) AND NEW.previous = "
        f"COALESCE((SELECT digest FROM {table} ORDER BY seq DESC LIMIT 1), '{_START}')"
    )
    return [refusing("insert", f"WHEN NOT ({follows}) "), refusing("update"), refusing("delete")]


def _postgres(table: str) -> list[str]:
    refuse = f"RAISE EXCEPTION '{table} is append-only'"
    follows = f"""
        CREATE FUNCTION {table}_follows() RETURNS trigger LANGUAGE plpgsql AS $body$
        DECLARE newest record;
        BEGIN
            SELECT seq, digest INTO newest FROM {table} ORDER BY seq DESC LIMIT 1;
            IF NEW.seq <> COALESCE(newest.seq, 0) + 1 OR NEW.previous <> COALESCE(newest.digest, '{_START}') THEN
                {refuse};
            END IF;
            RETURN NEW;
        END $body$"""
    stays = f"CREATE FUNCTION {table}_stays() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN {refuse}; END $body$"
    return [
        follows,
        stays,
        f"CREATE TRIGGER {table}_insert BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_follows()",
        f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_stays()",
        f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_stays()",
        f"CREATE TRIGGER {table}_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION {table}_stays()",
    ]
