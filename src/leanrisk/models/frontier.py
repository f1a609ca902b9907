"""The frontier between blocks that stand still and blocks that learn, and how it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leanrisk.core.errors import ConfigError


@dataclass(frozen=True)
class FreezeConfig:
    """How many blocks stand still, counted from the bottom; the field table below them always does.

    `start` blocks are frozen at the first step (None: half of them). With `dynamic`, the frontier rises to `most` at
    the latest (None: three quarters): a block is frozen once the output of it has moved by less than `still`, relative
    to its spread, in `patience` checks in a row, `checks` of them per epoch. `cache` keeps what the frozen blocks make
    of each row on disk, up to `cache_mb`, so that later epochs begin at the frontier. `drift` is the PSI of a block's
    outputs, older rows against new ones, above which that block must learn again (see `state_drift`).
    """

    start: int | None = None
    most: int | None = None
    dynamic: bool = True
    checks: int = 8
    still: float = 0.05
    patience: int = 2
    cache: bool = True
    cache_mb: int = 2048
    drift: float = 0.25

    def __post_init__(self) -> None:
        for name in ("start", "most"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ConfigError(f"freeze.{name} must not be negative: it is {value}. Correct it, or leave it out.")
        if self.start is not None and self.most is not None and self.start > self.most:
            raise ConfigError(f"freeze.start must not lie above freeze.most: {self.start} > {self.most}. Swap them.")
        for name in ("checks", "patience", "cache_mb"):
            value = getattr(self, name)
            if value < 1:
                raise ConfigError(f"freeze.{name} must be at least 1: it is {value}. Raise it.")
        for name in ("still", "drift"):
            value = getattr(self, name)
            # Written so that NaN fails too.
            if not value > 0:
                raise ConfigError(f"freeze.{name} must be above 0: it is {value}. Raise it.")

    def limits(self, depth: int) -> tuple[int, int]:
        """Return (start, most) for a network of `depth` blocks; raises `ConfigError` where nothing would learn."""
        most = depth * 3 // 4 if self.most is None else self.most
        start = min(most, depth // 2) if self.start is None else self.start
        if depth and max(start, most) >= depth:
            raise ConfigError(
                f"At least one block must learn: freeze asks for {max(start, most)} of {depth} to stand still. "
                "Lower start or most."
            )
        return (min(start, depth), max(min(start, depth), min(most, depth)))


@dataclass(frozen=True)
class Move:
    """One place of the frontier: from `step` on, this many `blocks` stand still, and `why`."""

    step: int
    blocks: int
    why: str


class Frontier:
    """The number of frozen blocks (`at`) over the course of one training, and its `moves`."""

    def __init__(self, config: FreezeConfig, depth: int) -> None:
        at, self._most = config.limits(depth)
        self._config = config
        self.moves: list[Move] = [Move(0, at, "start")]
        self._calm = np.zeros(depth, dtype=np.int64)

    @property
    def at(self) -> int:
        """How many blocks stand still now."""
        return self.moves[-1].blocks

    @property
    def may_rise(self) -> bool:
        """Whether another block could still be frozen."""
        return self._config.dynamic and self.at < self._most

    def checked(self, step: int, changes: Sequence[float]) -> bool:
        """Take in how far each block's output has moved since the last check; return whether the frontier rose.

        `changes` (depth,) are relative to the output's spread. A block that moves again starts counting anew.
        """
        still = np.asarray(changes) < self._config.still
        self._calm = np.where(still, self._calm + 1, 0)
        reached = self.at
        while reached < self._most and self._calm[reached] >= self._config.patience:
            reached += 1
        if reached == self.at:
            return False
        self.moves.append(Move(step, reached, "still"))
        return True
