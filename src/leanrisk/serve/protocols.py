"""What the service asks of the parts that it is given: who leads, where snapshots lie, what keeps decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow as pa

from leanrisk.core.errors import LeanRiskError
from leanrisk.serve.record_privacy import Privacy


class LogUnavailable(LeanRiskError):  # noqa: N818 -- it says a state, not a fault of the caller
    """Decisions cannot be kept now, so none may be answered."""


class BlockKept(LogUnavailable):
    """A block of a batch was kept before, by an earlier request."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision as it is kept: who asked what, when, what was answered, and which snapshot answered.

    `moment` in seconds since 1970; `alias`: "champion" for what was answered, another one for a shadow.
    """

    id: str
    moment: float
    alias: str
    snapshot: str
    caller: str
    request: str
    record: Mapping[str, Any]
    probability: float
    points: float
    decision: str
    privacy: Privacy


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a batch's decisions: `rows` as they came, and `told` with an id, a probability and more for each.

    `start`: the number of its first row in the batch.
    """

    batch: str
    start: int
    moment: float
    snapshot: str
    caller: str
    request: str
    rows: pl.DataFrame
    told: pa.Table
    privacy: Privacy


class DecisionLog(Protocol):
    """Keeps decisions."""

    async def record(self, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Return when all are durable, with what is kept: for an id that was kept before, what was answered then.

        Raises `LogUnavailable` where they cannot be kept; none of them may be answered then.
        """
        ...

    async def block(self, block: Block) -> None:
        """Return when a block of a batch is durable; raises `BlockKept` for one that is there, or as `record` does."""
        ...

    async def shadow(self, decisions: Sequence[Decision]) -> None:
        """Keep what shadows said, soon; raises `LogUnavailable` as `record` does."""
        ...

    @property
    def backlog(self) -> int:
        """Decisions that are durable here and wait for the database."""
        ...

    @property
    def refusal(self) -> str | None:
        """Why no decision can be kept now, None where they can."""
        ...

    async def close(self) -> None:
        """Flush and close."""
        ...


class Pointers(Protocol):
    """Where each alias points (`records.journal.Journal`)."""

    def aliases(self) -> Mapping[str, str]:
        """Return the snapshot id of each alias; raises `RecordsError` where the journal is away."""
        ...


class Glances(Protocol):
    """Tells cheaply that the journal may have changed (`records.commits.Commits`)."""

    def version(self) -> int | None:
        """Return a number that is another one once something was committed; None where it is away."""
        ...

    def close(self) -> None:
        """Let go of what glances hold; there may be another one."""
        ...


class Store(Protocol):
    """Where snapshots lie (`registry.snapshots.Snapshots`)."""

    def folder(self, snapshot: str) -> Path:
        """Return a local folder of the snapshot, every file checked; raises `BundleError` or `RegistryError`."""
        ...
