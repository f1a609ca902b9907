"""Rows that wait for the database: a write-ahead file with an index of what it holds, and the way out of it."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leanrisk.records.decisions import KeptBlock
from leanrisk.serve.decision_store import DecisionStore
from leanrisk.serve.log_rows import Row, body_of, key_of, row_of
from leanrisk.serve.spool import Spool

_PIECE = 1 << 20
"""Bytes of the file that are moved in one transaction."""
_LAST = 1 << 16


class Overflow:
    """Rows in the write-ahead file of a host; every worker knows what the others put there."""

    def __init__(self, path: Path, *, most_bytes: int) -> None:
        """Open the file or make it; raises `OutputError`."""
        self._places: dict[tuple[str, Any], int] = {}
        self._mine = threading.Lock()
        self._waiting = 0
        self.repeats = 0
        self._spool = Spool(path, most_bytes=most_bytes, seen=self._seen)
        self._turn = path.with_name(f"{path.name}.turn")

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return self._spool.empty

    @property
    def waiting(self) -> int:
        """Decisions that wait, as far as this process has seen."""
        return 0 if self._spool.empty else self._waiting

    def known(self, rows: Sequence[Row]) -> dict[tuple[str, Any], Row]:
        """Return those that wait already, by what they may be there once by; raises `OSError`."""
        if self._spool.empty:
            return {}
        with self._mine, self._spool.held():
            return self._known(rows)

    def keep(self, rows: Sequence[Row]) -> dict[tuple[str, Any], Row]:
        """Append and flush the rows that do not wait yet, and return those that did, or that stand twice in `rows`.

        Of two rows with one key the first one is kept. Raises `OSError` where the file or its disk is full.
        """
        with self._mine, self._spool.held():
            known = self._known(rows)
            fresh: dict[tuple[str, Any], Row] = {}
            for row in rows:
                key = key_of(row)
                if key in known:
                    continue
                if key in fresh:
                    known[key] = fresh[key]
                fresh.setdefault(key, row)
            if fresh:
                self._spool.append([body_of(row) for row in fresh.values()])
        return known

    def drain(self, store: DecisionStore) -> bool:
        """Move everything into `store`; return whether nothing is left. Raises `RecordsError` and `OSError`.

        One worker drains at a time. A row that was moved stays in the file until all are, so that a process that dies
        here leaves nothing out; moving it again changes nothing.
        """
        if self._spool.empty:
            return True
        turn = os.open(self._turn, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(turn)
            return False
        try:
            return self._moved(store)
        finally:
            os.close(turn)

    def _moved(self, store: DecisionStore) -> bool:
        place = 0
        while True:
            with self._mine, self._spool.held():
                bodies, end = self._spool.bodies(place, _PIECE)
                if sum(map(len, bodies)) < _LAST:
                    # The last few are moved under the lock, or under load there would always be one more.
                    self._into(store, bodies)
                    return self._spool.clear(end)
            self._into(store, bodies)
            place = end

    def _into(self, store: DecisionStore, bodies: Sequence[bytes]) -> None:
        if bodies:
            self.repeats += store.absorb([row_of(body) for body in bodies])

    def probe(self) -> None:
        """Raise `OSError` where a row could not be kept now."""
        with self._mine, self._spool.held():
            self._spool.probe()

    def _known(self, rows: Sequence[Row]) -> dict[tuple[str, Any], Row]:
        places = {key: self._places[key] for key in map(key_of, rows) if key in self._places}
        return {key: row_of(self._spool.body(place)) for key, place in places.items()}

    def _seen(self, body: bytes | None, place: int) -> None:
        if body is None:
            self._places.clear()
            self._waiting = 0
            return
        row = row_of(body)
        self._places.setdefault(key_of(row), place)
        self._waiting += row.rows if isinstance(row, KeptBlock) else 1
