"""The service as one value: its parts, what they do while it runs, and in which order they start and end."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from leanrisk.core.errors import LeanRiskError
from leanrisk.serve.connections import Connections
from leanrisk.serve.follower import Follower, stopped
from leanrisk.serve.front import Front, watched
from leanrisk.serve.json_log import JsonLog
from leanrisk.serve.keys import KeyFile
from leanrisk.serve.lineup import Lineup, Seat
from leanrisk.serve.metrics import Metrics
from leanrisk.serve.protocols import DecisionLog, Glances, Pointers, Store
from leanrisk.serve.rates import Rates
from leanrisk.serve.scoring_desk import ScoringDesk
from leanrisk.serve.settings import CHAMPION, ServeConfig
from leanrisk.serve.shadow import Shadows
from leanrisk.serve.shadow_blocks import ShadowBlocks


class Service:
    """Everything behind the routes. `pointers` and `store` are None where one bundle is served, without a registry.

    `commits`: glances at the pointers' database, None where that is a server.
    """

    def __init__(
        self,
        config: ServeConfig,
        log: DecisionLog,
        *,
        pointers: Pointers | None = None,
        store: Store | None = None,
        commits: Glances | None = None,
        lines: JsonLog | None = None,
    ) -> None:
        self.config, self.log = config, log
        self.lines, self.metrics, self.lineup = lines or JsonLog(), Metrics(), Lineup()
        self.keys = KeyFile.read(config.keys) if config.keys else None
        self.shadows = Shadows(config, self.lineup, log, self.metrics, self.lines)
        self.shadow_blocks = ShadowBlocks(config, self.lineup, log, self.metrics, self.lines)
        self.desk = ScoringDesk(
            config, self.lineup, log, self.metrics, shadows=self.shadows, shadow_block=self.shadow_blocks
        )
        self.front = Front(
            keys=self.keys,
            limits=config.limits,
            rates=Rates(config.limits.per_second / config.workers, config.limits.burst),
            metrics=self.metrics,
            log=self.lines,
            log_requests=config.log_requests,
        )
        self.connections = Connections(config.limits, self.front)
        self.follower: Follower | None = None
        if pointers is not None and store is not None:
            aliases = (CHAMPION, *config.shadow.aliases)
            self.follower = Follower(
                self.lineup,
                pointers,
                store,
                aliases=aliases,
                metrics=self.metrics,
                log=self.lines,
                commits=commits,
            )
        self._tasks: list[asyncio.Task[Any]] = []

    def unready(self) -> str | None:
        """Return why a score would not be answered now, None where it would."""
        if self.front.leaving:
            return "the service is shutting down"
        if self.lineup.seat(CHAMPION) is None:
            return "no snapshot plays yet"
        return self.log.refusal

    def seat(self, folder: Path) -> None:
        """Let the bundle in `folder` play; raises `BundleError` where it cannot be served."""
        seat = self.lineup.swap(CHAMPION, lambda: Seat.load(folder))
        self.metrics.playing(CHAMPION, seat.snapshot)

    async def start(self) -> None:
        """Begin to follow, and whatever else runs beside requests."""
        if self.follower is not None:
            await self.follower.look()
            self._begin(self.follower.follow(self.config.poll_s))
        self._begin(self.shadows.run())
        self._begin(self.shadow_blocks.run())
        if self.keys is not None:
            self._begin(watched(self.keys, self.lines, self.config.poll_s))
        # What is loaded now stays: looking through it again and again would cost requests milliseconds.
        gc.collect()
        gc.freeze()
        seat = self.lineup.seat(CHAMPION)
        self.lines.info("started", pid=os.getpid(), snapshot=None if seat is None else seat.snapshot)

    async def stop(self) -> None:
        """End what runs beside requests, let shadows finish what waits, and flush the log."""
        for task in self._tasks:
            await stopped(task)
        await self.shadows.drain(min(5.0, self.config.drain_s))
        await self.shadow_blocks.drain(min(5.0, self.config.drain_s))
        try:
            await self.log.close()
        except LeanRiskError as error:
            self.lines.error("log-not-closed", error=str(error))
        self.lines.info("stopped", pid=os.getpid())

    def scraped(self) -> bytes:
        """Return the metrics."""

        def refresh() -> None:
            self.metrics.backlog.set(self.log.backlog)
            self.metrics.open_requests.set(self.front.at_work)
            self.metrics.connections.set(len(self.connections))

        return self.metrics.text(refresh)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))
