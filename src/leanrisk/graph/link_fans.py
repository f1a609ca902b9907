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
_EMPTY = array("i", [0] * STEPS)


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
        rings, totals, latest = self._rings, self._totals, self._latest
        place = account * len(self._windows)
        for window, width in self._windows:
            if gap <= window:
                return
            step = floor(at / width)
            ahead = step - latest[place]
            if ahead > 0:
                if totals[place]:
                    self._expire(place, step, ahead)
                latest[place] = step
            # A late event may lie before every counter.
            if ahead > -STEPS:
                rings[place * STEPS + step % STEPS] += 1
                totals[place] += 1
            place += 1

    def _expire(self, place: int, step: int, ahead: int) -> None:
        ring = place * STEPS
        if ahead >= STEPS:
            self._rings[ring : ring + STEPS] = _EMPTY
            self._totals[place] = 0
            return
        for passed in range(step - ahead + 1, step + 1):
            slot = ring + passed % STEPS
            self._totals[place] -= self._rings[slot]
            self._rings[slot] = 0

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
                if step - latest >= STEPS:
                    total = 0
                for passed in range(latest - STEPS + 1, step - STEPS + 1) if total else ():
                    total -= self._rings[place * STEPS + passed % STEPS]
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
