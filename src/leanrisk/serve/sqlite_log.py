"""Decisions in a SQLite file: many requests share one flush to the disk, and none is answered before it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import queue
import sqlite3
import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from leanrisk.core.errors import OutputError
from leanrisk.serve.protocols import Block, BlockKept, Decision, LogUnavailable
from leanrisk.serve.record_privacy import Keeper

_MOST = 512
"""Requests that share one flush at most."""
_BUSY_S = 5
_TABLES = """
CREATE TABLE IF NOT EXISTS decisions (
    id TEXT NOT NULL, alias TEXT NOT NULL, moment REAL NOT NULL, snapshot TEXT NOT NULL, caller TEXT NOT NULL,
    request TEXT NOT NULL, record TEXT NOT NULL, probability REAL NOT NULL, points REAL NOT NULL,
    decision TEXT NOT NULL,
    PRIMARY KEY (id, alias)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    batch TEXT NOT NULL, start INTEGER NOT NULL, rows INTEGER NOT NULL, moment REAL NOT NULL, snapshot TEXT NOT NULL,
    caller TEXT NOT NULL, request TEXT NOT NULL, asked BLOB NOT NULL, told BLOB NOT NULL, PRIMARY KEY (batch, start)
);
"""
_INSERT = "INSERT OR IGNORE INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_BLOCK = "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_KEPT = "SELECT id, alias, moment, snapshot, caller, request, probability, points, decision FROM decisions WHERE "

_Waiting = tuple[Sequence[Decision] | Block, "asyncio.Future[Sequence[Decision]]", asyncio.AbstractEventLoop]


class SqliteLog:
    """A decision log in one file; several processes may write to it. `keeper` decides what of a record is kept."""

    def __init__(self, path: Path, keeper: Keeper) -> None:
        """Open the file, or make it; raises `OutputError` where that cannot be."""
        self._path, self._keeper = path, keeper
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._refusal: str | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open().close()
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"Decisions must be kept before they are answered: '{path}' cannot be written ({error}). Choose "
                "another file as 'log', or mend its permissions."
            ) from error
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """None ever waits: an answer comes after the flush."""
        return 0

    @property
    def refusal(self) -> str | None:
        """Why the last flush failed, None where it did not."""
        return self._refusal

    async def record(self, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Return what is kept, after it is on the disk; raises `LogUnavailable`."""
        return await self._put(decisions)

    async def shadow(self, decisions: Sequence[Decision]) -> None:
        """Keep what shadows said beside what was answered."""
        await self._put(decisions)

    async def block(self, block: Block) -> None:
        """Keep a block of a batch, after which it is on the disk; raises `LogUnavailable`, for a repeated one too."""
        await self._put(block)

    async def close(self) -> None:
        """Write what waits, and close."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    async def _put(self, what: Sequence[Decision] | Block) -> Sequence[Decision]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Sequence[Decision]] = loop.create_future()
        self._queue.put((what, done, loop))
        return await done

    def _open(self) -> sqlite3.Connection:
        made = not self._path.exists()
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
        if made:
            os.chmod(self._path, 0o600)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_TABLES)
        return connection

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        ending = False
        while not ending:
            taken = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(taken) < _MOST:
                    taken.append(self._queue.get_nowait())
            ending = None in taken
            waiting = [entry for entry in taken if entry is not None]
            try:
                connection = connection or self._open()
                results = self._written(connection, waiting)
                self._refusal = None
            except Exception as error:
                # A full disk, a locked or damaged file: those who wait are told, and the next ones try anew.
                self._refusal = f"Decisions cannot be kept now ({error})."
                results = [LogUnavailable(self._refusal)] * len(waiting)
                with contextlib.suppress(sqlite3.Error):
                    if connection is not None:
                        connection.close()
                connection = None
            _told(waiting, results)
        if connection is not None:
            connection.close()

    def _written(
        self, connection: sqlite3.Connection, waiting: Sequence[_Waiting]
    ) -> list[Sequence[Decision] | LogUnavailable]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [
                self._block(connection, what) if isinstance(what, Block) else self._decisions(connection, what)
                for what, _, _ in waiting
            ]
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        return results

    def _decisions(self, connection: sqlite3.Connection, made: Sequence[Decision]) -> Sequence[Decision]:
        before = connection.total_changes
        connection.executemany(_INSERT, [self._row(decision) for decision in made])
        if connection.total_changes - before == len(made):
            return made
        return [self._kept(connection, decision) for decision in made]

    def _row(self, decision: Decision) -> tuple[object, ...]:
        record = json.dumps(self._keeper.kept(decision.record, decision.privacy), separators=(",", ":"))
        return (
            decision.id,
            decision.alias,
            decision.moment,
            decision.snapshot,
            decision.caller,
            decision.request,
            record,
            decision.probability,
            decision.points,
            decision.decision,
        )

    def _kept(self, connection: sqlite3.Connection, decision: Decision) -> Decision:
        row = connection.execute(f"{_KEPT} id = ? AND alias = ?", (decision.id, decision.alias)).fetchone()
        names = ("id", "alias", "moment", "snapshot", "caller", "request", "probability", "points", "decision")
        return replace(decision, **dict(zip(names, row, strict=True)))

    def _block(self, connection: sqlite3.Connection, block: Block) -> Sequence[Decision] | LogUnavailable:
        asked = _arrow(self._keeper.kept_rows(block.rows, block.privacy))
        told = (block.batch, block.start, block.rows.height, block.moment, block.snapshot, block.caller, block.request)
        try:
            connection.execute(_INSERT_BLOCK, (*told, asked, _arrow(block.told)))
        except sqlite3.IntegrityError:
            return BlockKept(f"A batch is kept once: rows of '{block.batch}' are there. Give it another id.")
        return ()


def _told(waiting: Sequence[_Waiting], results: Sequence[Sequence[Decision] | LogUnavailable]) -> None:
    """Wake all who wait, once for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Sequence[Decision]], object]]] = {}
    for (_, done, loop), result in zip(waiting, results, strict=True):
        by_loop.setdefault(loop, []).append((done, result))
    for loop, pairs in by_loop.items():
        with contextlib.suppress(RuntimeError):
            # The loop may have ended with its callers.
            loop.call_soon_threadsafe(_wake, pairs)


def _wake(pairs: Collection[tuple[asyncio.Future[Sequence[Decision]], object]]) -> None:
    for done, result in pairs:
        if done.done():
            continue
        if isinstance(result, LogUnavailable):
            done.set_exception(result)
        else:
            done.set_result(result)  # type: ignore[arg-type]


def _arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue()
