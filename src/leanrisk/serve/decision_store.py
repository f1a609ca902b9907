"""The database of decisions as the log uses it: groups in, one at a time, within bounded time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import make_url

from leanrisk.core.errors import OutputError, RecordsError
from leanrisk.records.database import database, reaching
from leanrisk.records.decisions import Decisions, KeptBlock, KeptDecision
from leanrisk.serve.log_rows import Row
from leanrisk.serve.patience import Patience

_PATIENCE_S = 5.0
_CHECKPOINT_PAGES = 16_384


class DecisionStore:
    """The table of decisions behind a URL or in a SQLite file, which its owner alone may read."""

    def __init__(self, place: str, *, patience_s: float = _PATIENCE_S) -> None:
        """Open the store; raises `ConfigError` for a wrong URL, `OutputError` where a file cannot be written.

        A server that is away is no error: `keep` tells.
        """
        self._patience, self._aside = Patience(patience_s), Patience(patience_s)
        self._lock: int | None = None
        self._file: Path | None = None
        if "://" in place and not place.startswith("sqlite"):
            self._engine = database(_impatient(place, patience_s))
        else:
            self._engine = database(place, busy_ms=round(patience_s * 1000))
            self._file = Path(str(self._engine.url.database))
            self._own()
        self._table = Decisions(self._engine)
        if self._file is not None:
            try:
                self._table.prepare()
            except RecordsError as error:
                raise OutputError(
                    f"Decisions must be kept before they are answered: '{self._file}' cannot be written ({error}). "
                    "Choose another file as 'log', or mend its permissions."
                ) from error

    def keep(self, rows: Sequence[Row]) -> dict[tuple[str, Any], Row]:
        """Commit rows in one transaction and return those that were there, by (id, alias) or (batch, start).

        Of two rows with one key the first one is kept. Raises `RecordsError`.
        """
        decisions = [row for row in rows if isinstance(row, KeptDecision)]
        blocks = [row for row in rows if isinstance(row, KeptBlock)]
        if not rows:
            return {}
        if self._file is None:
            found, twice = self._patience.call(lambda: self._table.keep(decisions, blocks))
        else:
            with self._turn():
                found, twice = self._table.keep(decisions, blocks)
        known: dict[tuple[str, Any], Row] = dict(found)
        return known | {(block.batch, block.start): block for block in blocks if (block.batch, block.start) in twice}

    def absorb(self, rows: Sequence[Row]) -> int:
        """Commit rows that were answered while the database was away; return how many repeat an id."""
        decisions = [row for row in rows if isinstance(row, KeptDecision)]
        blocks = [row for row in rows if isinstance(row, KeptBlock)]
        if self._file is None:
            return int(self._aside.call(lambda: self._table.absorb(decisions, blocks)))
        with self._turn():
            return self._table.absorb(decisions, blocks)

    def check(self) -> None:
        """Raise `RecordsError` where the database does not answer."""
        self._aside.call(lambda: self._table.find([]))

    def tidy(self) -> None:
        """Move SQLite's own write-ahead log into its file, off the path of any request."""
        if self._file is not None:
            with reaching(self._engine):
                raw = self._engine.raw_connection()
                try:
                    raw.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
                finally:
                    raw.close()

    def close(self) -> None:
        """Close all connections."""
        self._patience.close()
        self._aside.close()
        self._engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _own(self) -> None:
        assert self._file is not None
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            beside = self._file.with_name(f"{self._file.name}.turn")
            self._lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OutputError(
                f"Decisions must be kept before they are answered: '{self._file}' cannot be written ({error}). Choose "
                "another file as 'log', or mend its permissions."
            ) from error

        @sql.event.listens_for(self._engine, "connect")
        def settle(raw: Any, _: Any) -> None:
            # A checkpoint within a commit would make requests wait; `tidy` does it beside them.
            raw.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}").close()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Take turns with other workers on a SQLite file, which itself would poll for its lock in growing steps."""
        if self._lock is None:
            yield
            return
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)


def _impatient(place: str, patience_s: float) -> str:
    """Return a server's URL with bounds on how long it may take, where it sets none itself."""
    url, within_ms = make_url(place), round(patience_s * 1000)
    bounds = {
        "connect_timeout": str(max(2, round(patience_s))),
        "tcp_user_timeout": str(within_ms),
        "options": f"-c lock_timeout={within_ms} -c statement_timeout={within_ms}",
    }
    fresh = {name: value for name, value in bounds.items() if name not in url.query}
    return url.update_query_dict(fresh).render_as_string(hide_password=False)
