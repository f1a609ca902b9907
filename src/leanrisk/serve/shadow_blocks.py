"""Shadow scoring of batches: others score blocks that the champion answered, in small portions, off the hot path."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from leanrisk.core.errors import LeanRiskError
from leanrisk.serve.json_log import JsonLog
from leanrisk.serve.lineup import Lineup, Seat
from leanrisk.serve.metrics import Metrics
from leanrisk.serve.protocols import Block, DecisionLog, LogUnavailable
from leanrisk.serve.settings import ServeConfig

_ROWS = 1_024
_REST = 2.0
"""How often as long as a portion took the thread rests after it: it takes a third of a core, not the callers' time."""
_OBSERVED = 64
"""Rows of a portion whose difference is told to the metrics, which take them one by one."""
_TELL_EVERY_S = 10.0


class ShadowBlocks:
    """A queue of blocks, bounded by their rows, and the task that scores them; what finds no place is counted.

    What an alias said of a batch is kept as the batch "ALIAS/BATCH", without the rows, which the batch itself has.
    """

    def __init__(self, config: ServeConfig, lineup: Lineup, log: DecisionLog, metrics: Metrics, lines: JsonLog) -> None:
        self._config, self._lineup, self._log = config, lineup, log
        self._metrics, self._lines = metrics, lines
        self._waiting: deque[Block] = deque()
        self._rows, self._spoke = 0, 0.0
        self._wake, self._ending = asyncio.Event(), threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow-blocks")

    def __call__(self, block: Block) -> None:
        """Queue a block that the champion answered, if there is place."""
        aliases = [alias for alias in self._config.shadow.aliases if self._lineup.seat(alias) is not None]
        if aliases and self._rows + block.rows.height <= self._config.shadow.batch_rows:
            self._waiting.append(block)
            self._rows += block.rows.height
            self._wake.set()
            return
        for alias in aliases:
            self._metrics.shadow_dropped.labels(alias).inc(block.rows.height)

    async def run(self) -> None:
        """Score what waits, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._next()

    async def drain(self, within_s: float) -> None:
        """Score what still waits, for at most so long, and stop; what is left is counted as dropped."""
        self._ending.set()
        until = time.monotonic() + within_s
        while self._waiting and time.monotonic() < until:
            await self._next()
        for block in self._waiting:
            for alias in self._config.shadow.aliases:
                if self._lineup.seat(alias) is not None:
                    self._metrics.shadow_dropped.labels(alias).inc(block.rows.height)
        self._thread.shutdown(wait=True)

    async def _next(self) -> None:
        block = self._waiting.popleft()
        try:
            for alias in self._config.shadow.aliases:
                seat = self._lineup.seat(alias)
                if seat is not None:
                    await self._shadowed(alias, seat, block)
        except asyncio.CancelledError:
            # The service ends: `drain` scores it, or counts it. What was kept of it already is kept once.
            self._waiting.appendleft(block)
            self._rows += block.rows.height
            raise
        finally:
            self._rows -= block.rows.height

    async def _shadowed(self, alias: str, seat: Seat, block: Block) -> None:
        loop = asyncio.get_running_loop()
        try:
            told = await loop.run_in_executor(self._thread, self._told, alias, seat, block)
            # No id of a caller's has a slash, so no other batch bears this name.
            name = f"{alias}/{block.batch}"
            await self._log.block(
                replace(block, batch=name, snapshot=seat.snapshot, rows=pl.DataFrame(), told=told, moment=time.time())
            )
            self._metrics.shadow_rows.labels(alias).inc(block.rows.height)
        except LogUnavailable as error:
            self._tell("shadow-not-kept", alias, error)
        except Exception as error:
            # Another model may read a column otherwise; that is a finding about it, not about the caller.
            self._metrics.shadow_failures.labels(alias).inc(block.rows.height)
            self._tell("shadow-failed", alias, error)
            if not isinstance(error, LeanRiskError):
                self._lines.error("failed", error=type(error).__name__, known=False)

    def _told(self, alias: str, seat: Seat, block: Block) -> pa.Table:
        """Return what a seat says of a block, in the shape of what the champion told."""
        parts = []
        for start in range(0, block.rows.height, _ROWS):
            began = time.perf_counter()
            parts.append(seat.scorer.many(block.rows.slice(start, _ROWS), threads=1))
            self._ending.wait(_REST * (time.perf_counter() - began))
        probability = np.concatenate(parts)
        self._observe(alias, probability, block)
        exact = probability.astype(np.float64)
        columns = {
            "probability": probability,
            "points": self._config.points.of_all(exact),
            "decision": self._config.policy.of_all(exact),
        }
        told = pl.DataFrame(columns).to_arrow(compat_level=pl.CompatLevel.oldest())
        told = told.add_column(0, "decision_id", block.told.column("decision_id"))
        return told.cast(block.told.schema.with_metadata({"snapshot": seat.snapshot}))

    def _observe(self, alias: str, probability: npt.NDArray[np.float32], block: Block) -> None:
        every = max(1, _ROWS // _OBSERVED)
        apart = np.abs(probability - block.told.column("probability").to_numpy())[::every]
        observe = self._metrics.shadow_difference.labels(alias).observe
        for difference in apart.tolist():
            observe(difference)

    def _tell(self, event: str, alias: str, error: Exception) -> None:
        if time.monotonic() - self._spoke > _TELL_EVERY_S:
            self._spoke = time.monotonic()
            # The kind alone: a fault's message may quote a value.
            self._lines.warning(event, alias=alias, error=type(error).__name__)
