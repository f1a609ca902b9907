"""The facts of a whole table at once, each row as of its own moment: the engine that training uses.

Needs all events and all asked rows in memory, and beside them, for each row, some 4 bytes per fact and 8 per rate.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.memory import PREFIX, Entity, Fact, Memory
from leanrisk.graph.blocks import Block, blocks
from leanrisk.graph.edge_facts import build_edge_facts
from leanrisk.graph.edges import Edges
from leanrisk.graph.events import Events
from leanrisk.graph.facts import ALL, DECAYED, Horizon, entity_fact_names, fact_names, horizons, parents
from leanrisk.graph.links import build_link_facts
from leanrisk.graph.smoothing import book_rate, smoothed
from leanrisk.graph.tally import Outcomes, Tally
from leanrisk.graph.timeline import Floats, Places
from leanrisk.graph.whole import Whole

_MOST_THREADS = 4
_CHUNK_ROWS = 1 << 14

Columns = dict[str, npt.NDArray[np.float32]]
Wanted = Mapping[str, tuple[Horizon, ...]]


def build_facts(
    memory: Memory, events: Events, asked: Events, edges: Mapping[str, Edges] | None = None
) -> pl.DataFrame:
    """Return one row of float32 facts for every asked row, as known strictly before it happened.

    Columns are those of `fact_names`. An entity that nobody has seen has counts of 0 and the coarser entity's rates; a
    row that names none has NaN counts and the coarser rates. `edges`: by the name of their table; a table that is not
    among them has none. `MemoryStore.lookup` gives the same, one row at a time.
    """
    facts = pl.DataFrame(_entity_facts(memory, events, asked))
    frames = [build_link_facts(memory, link, events, asked) for link in memory.links]
    held = edges or {}
    frames += [
        build_edge_facts(memory, table, held.get(table.name, Edges.none()), events, asked) for table in memory.edges
    ]
    return pl.concat([facts, *frames], how="horizontal").select(fact_names(memory))


def _entity_facts(memory: Memory, events: Events, asked: Events) -> Columns:
    """Return the facts of all entities; numpy sorts and searches on several threads at once."""
    build = _Build.of(memory, events, asked)
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        whole = pool.submit(Whole.of, events, build.wanted[""], memory.half_life)
        deque(pool.map(build.count, build.pieces()), maxlen=0)
        columns = {name: np.empty(asked.rows, dtype=np.float32) for name in entity_fact_names(memory)}
        chunks = (slice(first, first + _CHUNK_ROWS) for first in range(0, asked.rows, _CHUNK_ROWS))
        deque(pool.map(partial(build.write, columns, whole.result()), chunks), maxlen=0)
    return columns


@dataclass(frozen=True)
class _Build:
    """One build under way: what it reads, and the tallies, which blocks fill in and columns are written from."""

    memory: Memory
    events: Events
    asked: Events
    levels: Mapping[str, Entity]
    wanted: Wanted
    tallies: Mapping[str, Tally]

    @classmethod
    def of(cls, memory: Memory, events: Events, asked: Events) -> _Build:
        wanted = _wanted(memory)
        levels = {level: entity for entity in memory.entities for level in entity.levels}
        tallies = {
            level: Tally.empty(entity, memory, wanted[level], asked.keys[level]) for level, entity in levels.items()
        }
        return cls(memory, events, asked, levels, wanted, tallies)

    def pieces(self) -> Iterator[tuple[str, Places, Places]]:
        """Yield a level, rows of the events and rows of the questions, block by block."""
        for level in self.levels:
            for told, questions in blocks(self.events.keys[level], self.asked.keys[level]):
                yield level, told, questions

    def count(self, piece: tuple[str, Places, Places]) -> None:
        """Count the events of one block."""
        level, told, questions = piece
        block = Block.of(level, self.events, self.asked, told, questions)
        self.tallies[level].count(self.levels[level], self.memory, block)

    def write(self, columns: Columns, whole: Whole, rows: slice) -> None:
        """Write the facts of these rows into the columns, once all blocks are counted."""
        told = {level: tally.outcomes(rows) for level, tally in self.tallies.items()}
        told[""] = whole.outcomes(self.asked.happened[rows])
        rates = _rates(self.memory, told, self.wanted)
        for level, entity in self.levels.items():
            tally, where = self.tallies[level], f"{PREFIX}{level}."
            for name in tally.facts:
                columns[where + name][rows] = tally.fact(name, rows)
            for horizon in horizons(entity, self.memory.windows):
                columns[where + rate_name(horizon)][rows] = rates[level][horizon]
            if Fact.RATE in entity.facts:
                columns[f"{where}known"][rows] = np.where(tally.absent[rows], np.nan, told[level][ALL].known)


def _rates(
    memory: Memory, told: Mapping[str, Mapping[Horizon, Outcomes]], wanted: Wanted
) -> dict[str, dict[Horizon, Floats]]:
    rates: dict[str, dict[Horizon, Floats]] = {"": {}}
    for horizon, own in told[""].items():
        # All outcomes come first, and every other horizon of the book leans on them.
        known = rates[""].get(ALL)
        rates[""][horizon] = (
            book_rate(own.bads, own.known) if known is None else smoothed(own.bads, own.known, known, memory.strength)
        )
    for level, above in parents(memory).items():
        rates[level] = {}
        for horizon in wanted[level]:
            own = told[level][horizon]
            rates[level][horizon] = smoothed(own.bads, own.known, rates[above][horizon], memory.strength)
    return rates


def _wanted(memory: Memory) -> dict[str, tuple[Horizon, ...]]:
    """Return the horizons that each level needs: its own, and those of the finer levels that are smoothed to it.

    Those of the whole book (level "") start with all outcomes, which its other horizons are smoothed to.
    """
    above = parents(memory)
    wanted: dict[str, dict[Horizon, None]] = {level: {} for level in ("", *above)}
    own = {level: horizons(entity, memory.windows) for entity in memory.entities for level in entity.levels}
    for level in reversed(above):
        wanted[level] |= dict.fromkeys(own[level])
        wanted[above[level]] |= wanted[level]
    if wanted[""]:
        wanted[""] = dict.fromkeys([ALL, *wanted[""]])
    return {level: tuple(found) for level, found in wanted.items()}


def rate_name(horizon: Horizon) -> str:
    """Return the name of the fact that is the rate over this horizon."""
    if horizon == ALL:
        return "rate"
    return "decayed_rate" if horizon == DECAYED else f"rate_{horizon:g}"
