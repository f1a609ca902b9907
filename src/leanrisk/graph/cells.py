"""Counters of every remembered entity, in memory that does not grow with the number of its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from leanrisk.graph.timeline import CELLS, Floats, Places, steps

Arrays = Mapping[str, npt.NDArray[np.generic]]

_LONG_AGO = -(2**40)
_TURNS = np.arange(CELLS)
_HELD = np.array(
    [(newest - _TURNS) % CELLS < CELLS - passed for newest in range(CELLS) for passed in range(CELLS + 1)],
    dtype=np.uint32,
)
"""Which cells a window holds, by the cell of its newest step and the steps passed since."""
_EVENTS, _KNOWN, _BADS = range(3)


class Cells:
    """Numbers by slot: one slot is one entity of one level, slot 0 is nobody.

    Each window is kept in `CELLS` cells that are used in turn: a cell holds one step of the window, and is emptied when
    its turn comes again. So facts may come in any order; one that has left every window only counts in the totals.
    """

    _NAMES = ("head", "counts", "volume", "total", "faded", "faded_at", "span")

    def __init__(self, windows: Sequence[float], half_life: float, *, volumes: bool = True) -> None:
        self._volumes = volumes
        self._windows, self._half_life = tuple(windows), half_life
        self.used = 1
        self._allocate(64)

    def _allocate(self, size: int) -> None:
        wide = len(self._windows)
        self.head = np.full((size, wide), _LONG_AGO, dtype=np.int64)
        self.counts = np.zeros((size, wide, 3, CELLS), dtype=np.uint32)
        # Two fifths of a slot: nobody should pay for sums that nobody asks for.
        self.volume = np.zeros((size, wide if self._volumes else 0, CELLS))
        self.total = np.zeros((size, 2))
        self.faded = np.zeros((size, 2))
        self.faded_at = np.zeros(size)
        self.span = np.full((size, 2), np.nan)

    def claim(self, count: int) -> int:
        """Return the first of `count` new slots in a row."""
        first, self.used = self.used, self.used + count
        if self.used > self.head.shape[0]:
            old = {name: getattr(self, name)[:first] for name in self._NAMES}
            self._allocate(max(first + first // 4, self.used))
            for name, values in old.items():
                getattr(self, name)[:first] = values
        return first

    def happened(self, slots: Places, times: Floats, amounts: Floats) -> None:
        """Count events of these slots; shapes (n,)."""
        np.fmin.at(self.span[:, 0], slots, times)
        np.fmax.at(self.span[:, 1], slots, times)
        for place, window in enumerate(self._windows):
            kept, cell = self._turned(slots, times, place, window)
            self._add(slots[kept], place, _EVENTS, cell)
            if self._volumes:
                flat = (slots[kept] * len(self._windows) + place) * CELLS + cell
                np.add.at(self.volume.reshape(-1), flat, amounts[kept])

    def known(self, slots: Places, times: Floats, bads: Floats) -> None:
        """Count outcomes of these slots, 1 for bad and 0 for good; shapes (n,)."""
        owners, owner = np.unique(slots, return_inverse=True)
        # Whoever had no outcome yet fades from long ago: exactly to nothing.
        before = np.where(self.total[owners, 0] == 0, -np.inf, self.faded_at[owners])
        newest = before.copy()
        np.maximum.at(newest, owner, times)
        self.faded[owners] *= np.exp2(-(newest - before) / self._half_life)[:, None]
        self.faded_at[owners] = newest
        np.add.at(self.total, slots, np.stack([np.ones(slots.size), bads], axis=1))
        weight = np.exp2(-(self.faded_at[slots] - times) / self._half_life)
        np.add.at(self.faded, slots, np.stack([weight, weight * bads], axis=1))
        for place, window in enumerate(self._windows):
            kept, cell = self._turned(slots, times, place, window)
            self._add(slots[kept], place, _KNOWN, cell)
            guilty = bads[kept] > 0
            self._add(slots[kept][guilty], place, _BADS, cell[guilty])

    def _add(self, slots: Places, place: int, kind: int, cell: Places) -> None:
        # By one index into a flat view: numpy adds several times as fast that way.
        flat = ((slots * len(self._windows) + place) * 3 + kind) * CELLS + cell
        np.add.at(self.counts.reshape(-1), flat, np.uint32(1))

    def _turned(self, slots: Places, times: Floats, place: int, window: float) -> tuple[Places, Places]:
        """Move each slot's window to its newest fact; return which facts it still holds and the cell of each."""
        now = steps(times, window)
        owners, owner = np.unique(slots, return_inverse=True)
        old = self.head[owners, place]
        newest = old.copy()
        np.maximum.at(newest, owner, now)
        held = old[:, None] - (old[:, None] - _TURNS) % CELLS > newest[:, None] - CELLS
        self.counts[owners, place] *= held[:, None]
        if self._volumes:
            self.volume[owners, place] *= held
        self.head[owners, place] = newest
        kept = np.flatnonzero(now > newest[owner] - CELLS)
        return kept, now[kept] % CELLS

    def windowed(self, slots: Places, now: Places) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """Return the counts in the windows at steps `now` (windows,), (n, windows, 3), and 1 for each cell they hold.

        No slot's newest fact may lie after `now`.
        """
        head = self.head.take(slots, axis=0)
        held = _HELD.take((head & (CELLS - 1)) * (CELLS + 1) + np.minimum(now - head, CELLS), axis=0)
        # A product with zeros and ones adds up the cells that are held, at a quarter of the time of a masked sum.
        found: npt.NDArray[np.uint32] = np.matmul(self.counts.take(slots, axis=0), held[..., None])
        return found[..., 0], held

    def fading(self, slots: Places, at: float) -> Floats:
        """Return the fading sums of outcomes and of bads among them at this moment, (n, 2)."""
        # A slot without outcomes holds nothing, however long ago its time stands.
        passed = np.maximum(at - self.faded_at[slots], 0.0)
        return self.faded[slots] * np.exp2(-passed / self._half_life)[:, None]

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the numbers of all slots in use, by name."""
        return {name: getattr(self, name)[: self.used] for name in self._NAMES}

    def restore(self, arrays: Arrays) -> None:
        """Take the numbers that `arrays` gave."""
        for name in self._NAMES:
            setattr(self, name, arrays[name])
        self.used = int(self.head.shape[0])

    @property
    def slot_bytes(self) -> int:
        """Bytes that one slot takes."""
        return sum(getattr(self, name)[:1].nbytes for name in self._NAMES)
