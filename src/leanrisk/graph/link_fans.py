"""Counterparties met anew in each window, account by account, in counters that move on with time."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import floor
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.graph.link_timeline import STEPS

_NEVER = -(1 << 62)


class Fans:
    """For every account and window one ring of eight counters, a step of the window each.

    A step is the whole part of a time over an eighth of the window, as in `link_timeline.window_start`.
    """

    def __init__(self, windows: tuple[float, ...]) -> None:
        self._windows = [(window, window / STEPS) for window in windows]
        self._rings = array("i")
        self._totals = array("i")
        self._latest = array("q")

    def grow(self) -> None:
        """Make room for one account more."""
        count = len(self._windows)
        self._rings.frombytes(bytes(4 * STEPS * count))
        self._totals.frombytes(bytes(4 * count))
        self._latest.extend([_NEVER] * count)

    def add(self, account: int, at: float, gap: float) -> None:
        """Count an event whose pair had none for `gap` before it, in the windows that are shorter than that."""
        place = account * len(self._windows)
        for window, width in self._windows:
            if gap <= window:
                return
            step = floor(at / width)
            ahead = step - self._latest[place]
            if ahead > 0:
                self._move(place, step, ahead)
            # A late event may lie before every counter.
            if ahead > -STEPS:
                self._rings[place * STEPS + step % STEPS] += 1
                self._totals[place] += 1
            place += 1

    def _move(self, place: int, step: int, ahead: int) -> None:
        ring = place * STEPS
        for passed in range(step - min(ahead, STEPS) + 1, step + 1):
            slot = ring + passed % STEPS
            self._totals[place] -= self._rings[slot]
            self._rings[slot] = 0
        self._latest[place] = step

    def steps(self, at: float) -> list[int]:
        """Return the step of each window at a moment: what `counts` reads."""
        return [floor(at / width) for _, width in self._windows]

    def counts(self, account: int, steps: Sequence[int]) -> list[int]:
        """Return the count in each window that ends at its step of `steps`."""
        place = account * len(self._windows)
        counts = []
        for step in steps:
            total, latest = self._totals[place], self._latest[place]
            if total and step > latest:
                ring = place * STEPS
                gone = range(latest - STEPS + 1, min(step - STEPS, latest) + 1)
                total -= sum(self._rings[ring + passed % STEPS] for passed in gone)
            counts.append(total)
            place += 1
        return counts

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all counters, for `restore`."""
        return {
            "rings": np.array(self._rings, dtype=np.int32),
            "totals": np.array(self._totals, dtype=np.int32),
            "latest": np.array(self._latest, dtype=np.int64),
        }

    def restore(
        self, rings: npt.NDArray[np.int32], totals: npt.NDArray[np.int32], latest: npt.NDArray[np.int64]
    ) -> None:
        """Take over counters that `arrays` gave."""
        self._rings = array("i", rings.astype(np.int32).tobytes())
        self._totals = array("i", totals.astype(np.int32).tobytes())
        self._latest = array("q", latest.astype(np.int64).tobytes())
