"""A durable SQL database by URL: SQLite in a file by default, PostgreSQL where one is named."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from leanrisk.core.errors import ConfigError, RecordsError

_BUSY_MS = 30_000
"""How long a writer waits for another one before it gives up."""
_CONNECT_S = 5
_SECRETS = ("password", "sslpassword", "passfile", "sslkey")
_WRITES = "leanrisk_writes"


def database(url: str | Path, *, busy_ms: int = _BUSY_MS) -> Engine:
    """Return an engine for `url`: "sqlite:///FILE", "postgresql+psycopg://USER@HOST/NAME", or the path of a file.

    SQLite runs with a write-ahead log, flushes every commit to the disk (synchronous = FULL), checks foreign keys and
    waits `busy_ms` for a lock; its folder is made. Nothing is connected yet: an unreachable server shows in `reaching`.
    Statements in error messages carry no values, and `shown` tells the URL without its password. Raises `ConfigError`
    for a URL that names neither of the two, or a SQLite database that is no file.
    """
    place = _parsed(url)
    if place.get_backend_name() == "sqlite":
        return _sqlite(place, busy_ms)
    waiting = {"connect_timeout": _CONNECT_S, "options": f"-c lock_timeout={busy_ms}"}
    given = {key: value for key, value in waiting.items() if key not in place.query}
    return sql.create_engine(place, hide_parameters=True, pool_pre_ping=True, connect_args=given)


def _parsed(url: str | Path) -> URL:
    if isinstance(url, Path) or "://" not in url:
        return URL.create("sqlite", database=str(url))
    try:
        place = make_url(url)
    except (ArgumentError, ValueError):
        # Its own message may repeat what was given, password included; nothing of it is chained.
        place = None
    if place is not None and place.drivername in ("postgresql", "postgresql+psycopg"):
        return place.set(drivername="postgresql+psycopg")
    if place is not None and place.drivername in ("sqlite", "sqlite+pysqlite"):
        return place
    named = "the text at hand cannot be read" if place is None else f"it names '{place.drivername}'"
    raise ConfigError(
        f"A database is given as sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME: {named}. Correct the URL."
    )


def _sqlite(place: URL, busy_ms: int) -> Engine:
    if place.database in (None, "", ":memory:") or place.query:
        raise ConfigError(
            "Records outlive the process, so a SQLite database is a file, without further settings: "
            f"'{place.render_as_string()}' is not. Write sqlite:///FILE."
        )
    with reaching(place):
        Path(str(place.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = sql.create_engine(place, hide_parameters=True, connect_args={"timeout": busy_ms / 1000})

    @sql.event.listens_for(engine, "connect")
    def settle(raw: Any, _: Any) -> None:
        # The driver would begin transactions by itself, and late: two readers that both turn writers block each other.
        raw.isolation_level = None
        for setting in (f"busy_timeout = {busy_ms}", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            raw.execute(f"PRAGMA {setting}").close()

    @sql.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextlib.contextmanager
def writing(engine: Engine, lock: str = "") -> Iterator[Connection]:
    """Yield a connection in a write transaction that is committed on a clean exit and undone otherwise.

    On SQLite one writer is at work at a time. On PostgreSQL those that name the same `lock` take turns; without a name
    they run side by side. Raises `RecordsError` where the database refuses, is away, or stays locked.
    """
    with reaching(engine), engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
        if lock and engine.dialect.name == "postgresql":
            key = zlib.crc32(f"leanrisk:{lock}".encode())
            connection.execute(sql.select(sql.func.pg_advisory_xact_lock(key)))
        yield connection


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection whose statements see one state of the database; raises `RecordsError` as `writing` does."""
    options = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with reaching(engine), engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


@contextlib.contextmanager
def reaching(place: Engine | URL) -> Iterator[None]:
    """Turn whatever the database refuses inside into a `RecordsError` that names it without its password."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        refusal = getattr(error, "orig", None) or error
        said = " ".join(str(refusal).split()) or type(refusal).__name__
        for secret in _secrets(place.url if isinstance(place, Engine) else place):
            said = said.replace(secret, "***")
        raise RecordsError(
            f"Records need their database: '{shown(place)}' refuses ({said}). Check that it runs, its disk and its "
            "rights; what was committed before stands."
        ) from None


def shown(place: Engine | URL | str | Path) -> str:
    """Return a database's URL as it may stand in a message or a log: with `***` in place of every secret."""
    url = place.url if isinstance(place, Engine) else place if isinstance(place, URL) else _parsed(place)
    hidden = {key: "***" for key in _SECRETS if key in url.query}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def _secrets(url: URL) -> list[str]:
    found = [str(url.password)] if url.password else []
    return found + [str(url.query[key]) for key in _SECRETS if key in url.query]
