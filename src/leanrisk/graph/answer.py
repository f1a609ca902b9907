"""The entity facts of one decision from the counters of its entities, in a few array operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor

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
    """How the slots of one decision's entities become its facts, in the order of `fact_names`.

    Works in arrays of its own, since an allocation costs as much as the sum that it is for: one call at a time.
    """

    def __init__(self, memory: Memory) -> None:
        above = parents(memory)
        self.levels = tuple(level for entity in memory.entities for level in entity.levels)
        self._strength, self._book = memory.strength, len(self.levels)
        self._widths = (np.array(memory.windows) / CELLS).tolist()
        place = {level: number for number, level in enumerate(self.levels)} | {"": self._book}
        coarser = np.array([place[above[level]] for level in self.levels], dtype=np.int64)
        self._generations = list(_generations(coarser, self._book))
        families = {fact for entity in memory.entities for fact in entity.facts}
        self._volumes = Fact.VOLUME in families
        self._fading = Fact.DECAYED_RATE in families
        self._dated = bool({Fact.RECENCY, Fact.NOVELTY} & families)
        # Outcomes and bads of each level and of the book: over all time, over each window, and fading.
        self._told = np.zeros((self._book + 1, len(memory.windows) + 2, 2))
        self._row, self._parts, self._pick = _laid_out(memory, self._book)

    def facts(self, cells: Cells, slots: Places, absent: npt.NDArray[np.bool_] | None, at: float) -> Floats:
        """Return the facts; `slots` has one for each level and the book's last, `absent` marks levels not named."""
        own, parts = slots[:-1], self._parts
        counts, held = cells.windowed(slots, self._steps(at))
        parts["count"][...] = counts[:-1, :, 0]
        if self._volumes:
            np.vecdot(cells.volume.take(own, axis=0), held[:-1], out=parts["volume"])
        self._tell(cells, slots, counts, at)
        parts["known"][...] = self._told[:-1, 0, :1]
        if self._dated:
            np.subtract(at, cells.span.take(own, axis=0), out=parts["since"])
            np.isnan(parts["since"][:, 1], out=parts["new"][:, 0])
        if absent is not None:
            for name in ("count", "volume", "known", "since", "new"):
                parts[name][absent] = np.nan
        return self._row.take(self._pick)

    def known(self, cells: Cells, slots: Places, at: float) -> Known:
        """Return the outcomes behind the rates, and the rates, at this moment."""
        counts, _ = cells.windowed(slots, self._steps(at))
        self._tell(cells, slots, counts, at)
        told = self._told.copy()
        return Known(told[..., 0], told[..., 1], self._parts["rate"].copy())

    def _steps(self, at: float) -> Places:
        return np.array([floor(at / width) for width in self._widths])

    def _tell(self, cells: Cells, slots: Places, counts: npt.NDArray[np.uint32], at: float) -> None:
        """Work out the outcomes and the rates of each level and of the book."""
        told, rates = self._told, self._parts["rate"]
        told[:, 0] = cells.total.take(slots, axis=0)
        told[:, 1:-1] = counts[..., 1:]
        if self._fading:
            told[:, -1] = cells.fading(slots, at)
        known, bads, book, strength = told[..., 0], told[..., 1], self._book, self._strength
        whole = book_rate(bads.item(book, 0), known.item(book, 0))
        smoothed(bads[book], known[book], whole, strength, out=rates[book])
        rates[book, 0] = whole
        for levels, above in self._generations:
            rates[levels] = smoothed(bads[levels], known[levels], rates[above], strength)


def _laid_out(memory: Memory, levels: int) -> tuple[Floats, dict[str, Floats], Places]:
    """Return a row for all that is worked out, its parts by level, and where each fact stands in the row."""
    windows = [f"{window:g}" for window in memory.windows]
    held = {"count": [f"count_{name}" for name in windows], "volume": [f"volume_{name}" for name in windows]}
    held |= {"known": ["known"], "since": ["age", "recency"], "new": ["new"]}
    held |= {"rate": ["rate", *(f"rate_{name}" for name in windows), "decayed_rate"]}
    # The book has rates too.
    row = np.zeros(sum((levels + (part == "rate")) * len(names) for part, names in held.items()))
    parts: dict[str, Floats] = {}
    starts: dict[str, tuple[int, int]] = {}
    start = 0
    for part, names in held.items():
        size = (levels + (part == "rate")) * len(names)
        parts[part] = row[start : start + size].reshape(-1, len(names))
        starts |= {name: (start + place, len(names)) for place, name in enumerate(names)}
        start += size
    owners = [entity for entity in memory.entities for _ in entity.levels]
    wanted = [(level, name) for level, entity in enumerate(owners) for name in level_facts(entity, memory.windows)]
    pick = [starts[name][0] + level * starts[name][1] for level, name in wanted]
    return row, parts, np.array(pick, dtype=np.int64)


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
