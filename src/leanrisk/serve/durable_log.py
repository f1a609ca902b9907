"""The log of decisions: many requests share one flush, into the database or, while that is away, into a local file."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from leanrisk.core.errors import LeanRiskError, RecordsError
from leanrisk.records.decisions import KeptDecision
from leanrisk.serve.decision_store import DecisionStore
from leanrisk.serve.json_log import JsonLog
from leanrisk.serve.log_rows import Row, answer_of, key_of, rows_of
from leanrisk.serve.overflow import Overflow
from leanrisk.serve.protocols import Block, BlockKept, Decision, LogUnavailable
from leanrisk.serve.record_privacy import Keeper

_MOST = 512
"""Requests that share one flush at most."""
_LOOK_S = 0.5

Told = Callable[[str, float, int], None]
"""Is told of every flush: where ("database" or "spool"), the seconds, and how many requests shared it."""
_Outcome = Sequence[Decision] | LogUnavailable


@dataclass(slots=True)
class _Waiting:
    what: Sequence[Decision] | Block
    done: asyncio.Future[Sequence[Decision]]
    loop: asyncio.AbstractEventLoop


class DurableLog:
    """Keeps decisions so that none is answered before it is on a disk, and none is kept twice.

    One thread commits groups to the database; where that fails, the group goes to the write-ahead file, which the
    workers of a host share, and so do those after it. A second thread looks every `look_s` whether the database is
    back, moves what waits into it, and lets groups go there again. An id that is known, in the database or in the file,
    is answered as it was. While the database is away it cannot be asked: an old id that comes again then is answered
    anew, and that answer is kept beside the first one, in the table `repeats`. If the file is full or its disk is,
    nothing is answered.
    """

    def __init__(
        self,
        store: DecisionStore,
        overflow: Overflow,
        keeper: Keeper,
        *,
        look_s: float = _LOOK_S,
        told: Told | None = None,
    ) -> None:
        """Start both threads; what an earlier process left in the file is moved soon."""
        self._store, self._overflow, self._keeper, self._look_s = store, overflow, keeper, look_s
        self.told: Told = told or (lambda where, seconds, requests: None)
        self.lines: JsonLog | None = None
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._refusal: str | None = None
        self._away: str | None = None
        self._ending = threading.Event()
        self._writer = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._looker = threading.Thread(target=self._look, name="decision-drain", daemon=True)
        self._writer.start()
        self._looker.start()

    @property
    def backlog(self) -> int:
        """Decisions that are durable in the host's write-ahead file and wait for the database."""
        return self._overflow.waiting

    @property
    def refusal(self) -> str | None:
        """Why no decision can be kept now, None where they can."""
        return self._refusal

    @property
    def away(self) -> str | None:
        """Why the database is not written to now, None where it is."""
        return self._away

    async def record(self, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Return what is kept, after it is on the disk; raises `LogUnavailable`."""
        return await self._put(decisions)

    async def shadow(self, decisions: Sequence[Decision]) -> None:
        """Keep what shadows said beside what was answered; raises `LogUnavailable`."""
        await self._put(decisions)

    async def block(self, block: Block) -> None:
        """Keep a block of a batch, after which it is on the disk; raises `BlockKept` for a repeated one."""
        await self._put(block)

    async def close(self) -> None:
        """Write what waits, and close; what is in the file stays for the next start."""
        self._queue.put(None)
        await asyncio.to_thread(self._writer.join)
        self._ending.set()
        await asyncio.to_thread(self._looker.join, 10)
        self._store.close()

    def drain(self) -> bool:
        """Move what waits in the file to the database; return whether it is there and all was moved."""
        try:
            self._store.check()
            moved = self._overflow.drain(self._store)
        except (LeanRiskError, OSError) as error:
            self._gone(error)
            return False
        if self._away is not None and self.lines is not None:
            self.lines.info("log-back", repeats=self._overflow.repeats)
        self._away = None
        return moved

    async def _put(self, what: Sequence[Decision] | Block) -> Sequence[Decision]:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(what, loop.create_future(), loop)
        self._queue.put(waiting)
        return await waiting.done

    def _run(self) -> None:
        ending = False
        while not ending:
            taken = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(taken) < _MOST:
                    taken.append(self._queue.get_nowait())
            ending = None in taken
            group = [entry for entry in taken if entry is not None]
            if not group:
                continue
            try:
                outcomes = self._kept(group)
                self._refusal = None
            except Exception as error:
                # A full disk or a full file: those who wait are told, and the next ones try anew.
                self._refusal = f"Decisions cannot be kept now ({error})."
                outcomes = [LogUnavailable(self._refusal)] * len(group)
            _wake_all(group, outcomes)

    def _kept(self, group: Sequence[_Waiting]) -> list[_Outcome]:
        rows = [rows_of(entry.what, self._keeper) for entry in group]
        every = [row for of_one in rows for row in of_one]
        began, where = time.perf_counter(), "database"
        known = self._overflow.known(every)
        fresh = [row for row in every if key_of(row) not in known] if known else every
        if self._away is None:
            try:
                known |= self._store.keep(fresh)
            except RecordsError as error:
                self._gone(error)
        if self._away is not None:
            where = "spool"
            known |= self._overflow.keep(fresh)
        self.told(where, time.perf_counter() - began, len(group))
        return [_outcome(entry.what, of_one, known) for entry, of_one in zip(group, rows, strict=True)]

    def _gone(self, error: Exception) -> None:
        if self._away is None and self.lines is not None:
            self.lines.error("log-away", error=str(error))
        self._away = str(error)

    def _look(self) -> None:
        while not self._ending.wait(self._look_s):
            try:
                if self._away is None:
                    self._store.tidy()
                if self._away is not None or not self._overflow.empty:
                    self.drain()
                if self._refusal is not None:
                    self._overflow.probe()
                    self._refusal = None
            except (LeanRiskError, OSError):
                # It is told where it matters: to whoever asks, by `refusal` and `away`; the next look tries again.
                continue


def _outcome(what: Sequence[Decision] | Block, rows: Sequence[Row], known: dict[tuple[str, Any], Row]) -> _Outcome:
    if isinstance(what, Block):
        if key_of(rows[0]) not in known:
            return ()
        return BlockKept(f"A batch is kept once: rows of '{what.batch}' are there. Give it another id.")
    if not known:
        return what
    answers = []
    for made, row in zip(what, rows, strict=True):
        stands = known.get(key_of(row))
        answers.append(answer_of(made, stands) if isinstance(stands, KeptDecision) and stands != row else made)
    return answers


def _wake_all(group: Sequence[_Waiting], outcomes: Sequence[_Outcome]) -> None:
    """Wake all who wait, once for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Waiting, _Outcome]]] = {}
    for waiting, outcome in zip(group, outcomes, strict=True):
        by_loop.setdefault(waiting.loop, []).append((waiting, outcome))
    for loop, pairs in by_loop.items():
        with contextlib.suppress(RuntimeError):
            # The loop may have ended with its callers.
            loop.call_soon_threadsafe(_wake, pairs)


def _wake(pairs: Collection[tuple[_Waiting, _Outcome]]) -> None:
    for waiting, outcome in pairs:
        if waiting.done.done():
            continue
        if isinstance(outcome, LogUnavailable):
            waiting.done.set_exception(outcome)
        else:
            waiting.done.set_result(outcome)
