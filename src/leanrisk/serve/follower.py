"""Keeps a line-up where the journal says it should be: by a push, when the journal is written, and every second."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leanrisk.core.errors import LeanRiskError
from leanrisk.serve.json_log import JsonLog
from leanrisk.serve.lineup import Lineup, Seat
from leanrisk.serve.metrics import Metrics
from leanrisk.serve.protocols import Glances, Pointers, Store

_GLANCE_S = 0.05
"""How often the journal is glanced at: a second earlier is a second less of a model that was rolled back."""
_AGAIN_S = 30.0
"""How long a snapshot that failed is left alone before it is tried again; a push tries at once."""


@dataclass(frozen=True)
class Outcome:
    """What a look at the journal led to: the snapshot that plays and the one that should, and why not."""

    alias: str
    wanted: str
    playing: str | None
    error: str | None = None

    def told(self) -> dict[str, Any]:
        """Return the outcome as plain values."""
        return {"alias": self.alias, "wanted": self.wanted, "playing": self.playing, "error": self.error}


class Follower:
    """Moves the seats of `aliases`; a snapshot that fails leaves the old one there, told by a metric and a log line.

    `commits`: glanced at between two looks, where the journal's database tells of them.
    """

    def __init__(
        self,
        lineup: Lineup,
        pointers: Pointers,
        store: Store,
        *,
        aliases: Sequence[str],
        metrics: Metrics,
        log: JsonLog,
        commits: Glances | None = None,
    ) -> None:
        self._lineup, self._pointers, self._store, self._commits = lineup, pointers, store, commits
        self._aliases, self._metrics, self._log = tuple(aliases), metrics, log
        self._failed: dict[str, tuple[str, float]] = {}
        for alias in self._aliases:
            # An alert on a rise needs a figure to rise from.
            metrics.swap_failures.labels(alias)
            metrics.behind(alias, False)
        self._away = False
        self._looking = asyncio.Lock()

    async def look(self, *, insist: bool = False) -> list[Outcome]:
        """Read the journal and swap what moved; `insist` tries a snapshot again that failed a moment ago."""
        async with self._looking:
            try:
                pointers = await asyncio.to_thread(self._pointers.aliases)
            except LeanRiskError as error:
                self._lost(error)
                return []
            self._found()
            return [outcome for alias in self._aliases if (outcome := await self._moved(alias, pointers, insist))]

    async def follow(self, every_s: float) -> None:
        """Look every `every_s` and at every commit that is told, until cancelled; no failure ends it."""
        try:
            while True:
                try:
                    await self._round(every_s)
                except Exception as error:
                    self._metrics.journal_failures.inc()
                    self._log.error("follow-failed", error=f"{type(error).__name__}: {error}")
                    await asyncio.sleep(every_s)
        finally:
            if self._commits is not None:
                self._commits.close()

    async def _round(self, every_s: float) -> None:
        seen = await self._glance()
        # What came before this look shows in it; what comes while it lasts differs from `seen`.
        await self.look()
        until = time.monotonic() + every_s
        while (left := until - time.monotonic()) > 0 and await self._glance() == seen:
            await asyncio.sleep(left if self._commits is None else min(left, _GLANCE_S))

    async def _glance(self) -> int | None:
        return None if self._commits is None else await asyncio.to_thread(self._commits.version)

    async def _moved(self, alias: str, pointers: Mapping[str, str], insist: bool) -> Outcome | None:
        wanted, seat = pointers.get(alias), self._lineup.seat(alias)
        if wanted is None:
            if seat is not None:
                self._lineup.leave(alias)
                self._metrics.playing(alias, None)
            return None
        playing = None if seat is None else seat.snapshot
        if wanted == playing:
            self._failed.pop(alias, None)
            return Outcome(alias, wanted, playing)
        before, until = self._failed.get(alias, ("", 0.0))
        if before == wanted and time.monotonic() < until and not insist:
            return Outcome(alias, wanted, playing, "it failed a moment ago")
        return await self._swapped(alias, wanted, playing)

    async def _swapped(self, alias: str, wanted: str, playing: str | None) -> Outcome:
        began = time.monotonic()
        try:
            await asyncio.to_thread(self._lineup.swap, alias, lambda: self._load(wanted))
        except Exception as error:
            self._failed[alias] = (wanted, time.monotonic() + _AGAIN_S)
            self._metrics.swap_failures.labels(alias).inc()
            self._metrics.behind(alias, True)
            self._log.error("swap-failed", alias=alias, wanted=wanted, playing=playing, error=str(error))
            return Outcome(alias, wanted, playing, str(error))
        self._failed.pop(alias, None)
        self._metrics.swaps.labels(alias).inc()
        self._metrics.playing(alias, wanted)
        self._metrics.behind(alias, False)
        took = round(time.monotonic() - began, 3)
        self._log.info("swapped", alias=alias, before=playing, playing=wanted, took_s=took)
        return Outcome(alias, wanted, wanted)

    def _load(self, snapshot: str) -> Seat:
        return Seat.load(self._store.folder(snapshot), snapshot)

    def _lost(self, error: LeanRiskError) -> None:
        self._metrics.journal_failures.inc()
        if not self._away:
            # Once, not every second; metrics count on.
            self._log.error("journal-away", error=str(error))
        self._away = True

    def _found(self) -> None:
        if self._away:
            self._log.info("journal-back")
        self._away = False


async def stopped(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task and wait until it has ended."""
    if task is not None:
        task.cancel()
        # What a task failed with was told where it was awaited; here it only has to be over.
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
