"""The facts of a whole table at once, each row as of its own moment: the engine that training uses.

Needs all events and all asked rows in memory: about 200 bytes for each of them and each level.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl

from leanrisk.core.memory import PREFIX, Entity, Memory
from leanrisk.graph.events import Events
from leanrisk.graph.facts import ALL, DECAYED, Horizon, fact_names, horizons, parents
from leanrisk.graph.links import build_link_facts
from leanrisk.graph.smoothing import book_rate, smoothed
from leanrisk.graph.tally import Book, Tally, outcomes, plain_facts
from leanrisk.graph.timeline import Floats

_MOST_THREADS = 4


def build_facts(memory: Memory, events: Events, asked: Events) -> pl.DataFrame:
    """Return one row of float32 facts for every asked row, as known strictly before it happened.

    Columns are those of `fact_names`. An entity that nobody has seen has counts of 0 and the coarser entity's rates; a
    row that names none has NaN counts and the coarser rates. `MemoryStore.lookup` gives the same, one row at a time.
    """
    book = Book.of(events, asked)
    levels = {level: entity for entity in memory.entities for level in entity.levels}
    wanted = _wanted(memory)
    tallies = _tallies(memory, levels, wanted, book)
    rates = _rates(memory, tallies, wanted)
    columns = _columns(memory, levels, tallies, rates)
    frames = [build_link_facts(memory, link, events, asked) for link in memory.links]
    facts = pl.DataFrame({name: values.astype(np.float32) for name, values in columns.items()})
    return pl.concat([facts, *frames], how="horizontal").select(fact_names(memory))


def _tallies(
    memory: Memory, levels: Mapping[str, Entity], wanted: Mapping[str, tuple[Horizon, ...]], book: Book
) -> dict[str, Tally]:
    """Return the tallies of all levels and of the book (""); numpy sorts and searches on several threads at once."""
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        subjects = dict(zip(wanted, pool.map(book.subject, wanted), strict=True))
        # Events and outcomes apart, so that even a memory of one entity keeps several threads busy.
        plain = {level: pool.submit(plain_facts, memory, levels[level], subjects[level], book) for level in levels}
        told = {
            level: pool.submit(outcomes, subjects[level], book, wanted[level], memory.half_life) for level in wanted
        }
        return {
            level: Tally(plain[level].result() if level else {}, told[level].result(), subjects[level].absent)
            for level in wanted
        }


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


def _rates(
    memory: Memory, tallies: Mapping[str, Tally], wanted: Mapping[str, tuple[Horizon, ...]]
) -> dict[str, dict[Horizon, Floats]]:
    whole = tallies[""].outcomes
    rates: dict[str, dict[Horizon, Floats]] = {"": {}}
    for horizon, told in whole.items():
        # All outcomes come first, and every other horizon of the book leans on them.
        known = rates[""].get(ALL)
        rates[""][horizon] = (
            book_rate(told.bads, told.known)
            if known is None
            else smoothed(told.bads, told.known, known, memory.strength)
        )
    for level, above in parents(memory).items():
        rates[level] = {}
        for horizon in wanted[level]:
            told = tallies[level].outcomes[horizon]
            rates[level][horizon] = smoothed(told.bads, told.known, rates[above][horizon], memory.strength)
    return rates


def _columns(
    memory: Memory,
    levels: Mapping[str, Entity],
    tallies: Mapping[str, Tally],
    rates: Mapping[str, Mapping[Horizon, Floats]],
) -> dict[str, Floats]:
    columns: dict[str, Floats] = {}
    for level, entity in levels.items():
        told, where = tallies[level], f"{PREFIX}{level}."
        columns |= {where + name: values for name, values in told.facts.items()}
        for horizon in horizons(entity, memory.windows):
            columns[where + rate_name(horizon)] = rates[level][horizon]
        if ALL in told.outcomes:
            columns[f"{where}known"] = np.where(told.absent, np.nan, told.outcomes[ALL].known)
    return columns


def rate_name(horizon: Horizon) -> str:
    """Return the name of the fact that is the rate over this horizon."""
    if horizon == ALL:
        return "rate"
    return "decayed_rate" if horizon == DECAYED else f"rate_{horizon:g}"
