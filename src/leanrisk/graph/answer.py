"""The entity facts of one decision from the counters of its entities, in a few array operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.memory import Fact, Memory
from leanrisk.graph.cells import Cells
from leanrisk.graph.facts import level_facts, parents
from leanrisk.graph.smoothing import book_rate, smoothed
from leanrisk.graph.timeline import CELLS, Floats, Places

BOOK = "the book"
"""Name of the level above all others: every row."""


@dataclass(frozen=True)
class Known:
    """What rates rest on, one row for each level and the whole book last: outcomes, bads among them, and rates.

    Columns are the horizons: all outcomes, then each window, then the fading ones; float64 (levels + 1, windows + 2).
    """

    known: Floats
    bads: Floats
    rates: Floats


class Answer:
    """How the slots of one decision's entities become its facts, in the order of `fact_names`."""

    def __init__(self, memory: Memory) -> None:
        above = parents(memory)
        self.levels = tuple(level for entity in memory.entities for level in entity.levels)
        self._memory, self._book = memory, len(self.levels)
        self._widths = np.array(memory.windows) / CELLS
        place = {level: number for number, level in enumerate(self.levels)} | {"": self._book}
        coarser = np.array([place[above[level]] for level in self.levels], dtype=np.int64)
        self._generations = list(_generations(coarser, self._book))
        families = {fact for entity in memory.entities for fact in entity.facts}
        self._volumes = Fact.VOLUME in families
        self._fading = Fact.DECAYED_RATE in families
        self._no_volumes = np.zeros((self._book, len(memory.windows)))
        self._pick = self._places(memory)

    def _places(self, memory: Memory) -> Places:
        """Return where each fact stands in the row of everything that is worked out."""
        wide, levels = len(memory.windows), self._book
        starts = np.cumsum([0, levels * wide, levels * wide, levels, levels, levels, levels])
        names = [
            *(f"count_{window:g}" for window in memory.windows),
            *(f"volume_{window:g}" for window in memory.windows),
        ]
        where: list[int] = []
        number = 0
        for entity in memory.entities:
            for _ in entity.levels:
                own = {name: int(starts[at // wide]) + number * wide + at % wide for at, name in enumerate(names)}
                single = ("known", "recency", "age", "new")
                own |= {name: int(starts[2 + at]) + number for at, name in enumerate(single)}
                rates = ["rate", *(f"rate_{window:g}" for window in memory.windows), "decayed_rate"]
                own |= {name: int(starts[6]) + number * len(rates) + at for at, name in enumerate(rates)}
                where += [own[name] for name in level_facts(entity, memory.windows)]
                number += 1
        return np.array(where, dtype=np.int64)

    def facts(self, cells: Cells, slots: Places, absent: npt.NDArray[np.bool_] | None, at: float) -> Floats:
        """Return the facts; `slots` has one for each level and the book's last, `absent` marks levels not named."""
        own, levels = slots[:-1], self._book
        counts, held = cells.windowed(slots, np.floor(at / self._widths).astype(np.int64))
        volumes = np.vecdot(cells.volume[own], held[:-1]) if self._volumes else self._no_volumes
        told = self._known(cells, slots, counts, at)
        since = at - cells.span[own]
        everything = [
            counts[:-1, :, 0].ravel(),
            volumes.ravel(),
            told.known[:levels, 0],
            since[:, 1],
            since[:, 0],
            np.isnan(since[:, 1]),
        ]
        if absent is not None:
            wide = np.repeat(absent, self._widths.size)
            masks = (wide, wide, absent, absent, absent, absent)
            everything = [np.where(mask, np.nan, values) for mask, values in zip(masks, everything, strict=True)]
        return np.concatenate([*everything, told.rates[:levels].ravel()])[self._pick]

    def known(self, cells: Cells, slots: Places, at: float) -> Known:
        """Return the outcomes behind the rates, and the rates, at this moment."""
        counts, _ = cells.windowed(slots, np.floor(at / self._widths).astype(np.int64))
        return self._known(cells, slots, counts, at)

    def _known(self, cells: Cells, slots: Places, counts: npt.NDArray[np.uint32], at: float) -> Known:
        both = np.zeros((2, slots.size, self._widths.size + 2))
        both[:, :, 0] = cells.total.take(slots, axis=0).T
        both[:, :, 1:-1] = counts[..., 1:].transpose(2, 0, 1)
        if self._fading:
            both[:, :, -1] = cells.fading(slots, at).T
        known, bads = both
        return Known(known, bads, self._smoothed(known, bads))

    def _smoothed(self, known: Floats, bads: Floats) -> Floats:
        strength, book = self._memory.strength, self._book
        rates = np.empty_like(known)
        rates[book, 0] = book_rate(float(bads[book, 0]), float(known[book, 0]))
        rates[book, 1:] = smoothed(bads[book, 1:], known[book, 1:], rates[book, 0], strength)
        for levels, above in self._generations:
            rates[levels] = smoothed(bads[levels], known[levels], rates[above], strength)
        return rates


def _generations(above: Places, book: int) -> Iterator[tuple[Places | slice, Places | int]]:
    """Yield the levels that stand one step, two steps, ... below the book, and what each of them stands below."""
    depth = np.zeros(book + 1, dtype=np.int64)
    for _ in range(book):
        depth[:book] = depth[above] + 1
    for step in range(1, int(depth.max(initial=0)) + 1):
        levels = np.flatnonzero(depth == step)
        # A slice, and one row for all, spare a copy each; most memories have no more than this one generation.
        whole = levels.size == levels[-1] - levels[0] + 1
        yield slice(levels[0], levels[-1] + 1) if whole else levels, book if step == 1 else above[levels]
