"""Tells at a glance whether a database has changed, so that a change is followed at once and not at the next look."""

from __future__ import annotations

import sqlite3

from sqlalchemy import Engine, PoolProxiedConnection

from leanrisk.core.errors import RecordsError
from leanrisk.records.database import reaching


class Commits:
    """Glances at the commits that other connections made to the database of `engine`; for one thread at a time.

    The times of its files would not do: SQLite writes a commit to its log, flushes it, and shows it to readers only
    then. Who looks as soon as the file changes may look too early, and no later change tells of it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: PoolProxiedConnection | None = None

    @property
    def told(self) -> bool:
        """Whether the database tells of commits: SQLite does, in 4 us; asking a server would cost a journey each."""
        return self._engine.dialect.name == "sqlite"

    def version(self) -> int | None:
        """Return a number that is another one once something was committed; None where that is not told.

        A database that is away or locked tells None, too: whoever reads it next learns why.
        Source: SQLite's PRAGMA data_version, which compares what one connection saw.
        """
        if not self.told:
            return None
        try:
            cursor = self._connection().cursor()
            cursor.execute("PRAGMA data_version")
            version: int = cursor.fetchall()[0][0]
        except (RecordsError, sqlite3.Error):
            self.close()
            return None
        return version

    def close(self) -> None:
        """Give the connection up; the next glance takes another one, and its number may be any."""
        if self._held is not None:
            self._held.close()
        self._held = None

    def _connection(self) -> PoolProxiedConnection:
        if self._held is None:
            with reaching(self._engine):
                self._held = self._engine.raw_connection()
            # Out of the pool, since its settings are its own: a glance waits for no lock.
            self._held.detach()
            self._held.cursor().execute("PRAGMA busy_timeout = 0")
        return self._held
