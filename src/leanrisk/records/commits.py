"""Tells at a glance whether a database has changed, so that a change is followed at once and not at the next look."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from sqlalchemy.engine import Engine


class Commits:
    """Glances at the commits to a SQLite `file`.

    The file's times would not do: SQLite writes a commit to its log, flushes it, and shows it to readers only then. Who
    looks as soon as the file changes may look too early, and no later change tells of it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._glancing = threading.Lock()
        self._held: sqlite3.Connection | None = None

    @classmethod
    def of(cls, engine: Engine) -> Commits | None:
        """Return the glances at the database of `engine`; None for a server, which each would cost a journey."""
        return cls(Path(str(engine.url.database))) if engine.dialect.name == "sqlite" else None

    def version(self) -> int | None:
        """Return a number that is another one once something was committed, in 5 us.

        None where the database is away or locked, which is not waited for: whoever reads it next learns why.
        Source: SQLite's PRAGMA data_version, which compares what one connection saw.
        """
        with self._glancing:
            try:
                self._held = self._held or self._connected()
                version: int = self._held.execute("PRAGMA data_version").fetchall()[0][0]
            except sqlite3.Error:
                self._let_go()
                return None
            return version

    def close(self) -> None:
        """Give the connection up; the next glance takes another one, and its number may be any."""
        with self._glancing:
            self._let_go()

    def _connected(self) -> sqlite3.Connection:
        # Not the engine's connections: those wait for locks, and make a file where none is.
        place = f"{self._file.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(place, uri=True, timeout=0, isolation_level=None, check_same_thread=False)

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.close()
        self._held = None
