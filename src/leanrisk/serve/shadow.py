"""Shadow scoring: others score what the champion answered, off the hot path, and never delay it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from leanrisk.core.errors import LeanRiskError
from leanrisk.serve.json_log import JsonLog
from leanrisk.serve.lineup import Lineup, Seat
from leanrisk.serve.metrics import Metrics
from leanrisk.serve.protocols import Decision, DecisionLog, LogUnavailable
from leanrisk.serve.settings import ServeConfig

_TURN = 32
"""Records that a shadow scores before it lets requests have the interpreter."""
_PAUSE_S = 0.001
_TELL_EVERY_S = 10.0


class Shadows:
    """A bounded queue of decisions and the task that scores them once more; what finds no place is counted."""

    def __init__(self, config: ServeConfig, lineup: Lineup, log: DecisionLog, metrics: Metrics, lines: JsonLog) -> None:
        self._config, self._lineup, self._log = config, lineup, log
        self._metrics, self._lines = metrics, lines
        self._waiting: deque[Decision] = deque()
        self._wake = asyncio.Event()
        self._spoke = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="shadow")

    def __call__(self, decisions: Sequence[Decision]) -> None:
        """Queue decisions that the champion made, as far as there is place."""
        aliases = [alias for alias in self._config.shadow.aliases if self._lineup.seat(alias) is not None]
        if not aliases:
            return
        place = max(0, self._config.shadow.waiting - len(self._waiting))
        self._waiting.extend(decisions[:place])
        for alias in aliases if len(decisions) > place else ():
            self._metrics.shadow_dropped.labels(alias).inc(len(decisions) - place)
        self._wake.set()

    async def run(self) -> None:
        """Score what waits, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                try:
                    await self._turn()
                except Exception as error:
                    # A shadow that fails in a way nobody thought of must not end the others, nor itself for good.
                    self._tell("shadow-failed", "", error)
                await asyncio.sleep(_PAUSE_S)

    async def drain(self, within_s: float) -> None:
        """Score what still waits, for at most so long, and stop."""
        until = time.monotonic() + within_s
        while self._waiting and time.monotonic() < until:
            await self._turn()
        self._thread.shutdown(wait=True)

    async def _turn(self) -> None:
        taken = [self._waiting.popleft() for _ in range(min(_TURN, len(self._waiting)))]
        try:
            await self._all(taken)
        except asyncio.CancelledError:
            # The service ends, and `drain` scores them; an answer that was kept already is kept once.
            self._waiting.extendleft(reversed(taken))
            raise

    async def _all(self, taken: Sequence[Decision]) -> None:
        for alias in self._config.shadow.aliases:
            seat = self._lineup.seat(alias)
            if seat is None:
                continue
            try:
                said = await asyncio.get_running_loop().run_in_executor(self._thread, self._scored, alias, seat, taken)
                await self._log.shadow(said)
            except LogUnavailable as error:
                self._tell("shadow-not-kept", alias, error)

    def _scored(self, alias: str, seat: Seat, taken: Sequence[Decision]) -> list[Decision]:
        said, failed = [], None
        for decision in taken:
            try:
                probability = seat.scorer.one(decision.record)
            except LeanRiskError as error:
                # Another model may read a field otherwise; that is a finding about it, not about the caller.
                failed = error
                self._metrics.shadow_failures.labels(alias).inc()
                continue
            self._metrics.shadow_difference.labels(alias).observe(abs(probability - decision.probability))
            points, verdict = self._config.points.of(probability), self._config.policy.of(probability)
            said.append(
                replace(
                    decision,
                    alias=alias,
                    snapshot=seat.snapshot,
                    probability=probability,
                    points=points,
                    decision=verdict,
                )
            )
        self._metrics.shadow_rows.labels(alias).inc(len(said))
        if failed is not None:
            self._tell("shadow-failed", alias, failed)
        return said

    def _tell(self, event: str, alias: str, error: Exception) -> None:
        if time.monotonic() - self._spoke > _TELL_EVERY_S:
            self._spoke = time.monotonic()
            # The kind alone: a fault's message may quote a value.
            self._lines.warning(event, alias=alias, error=type(error).__name__)
