"""The names of all facts of a memory, in the one order that every engine gives them in."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from leanrisk.core.memory import PREFIX, Entity, Fact, Memory
from leanrisk.graph.edge_facts import edge_fact_names
from leanrisk.graph.links import link_fact_names

ALL, DECAYED = "all", "decayed"
"""Names of the two horizons beside the windows: all outcomes ever known, and all with halving weights."""

Horizon = str | float
"""What a rate looks back over: `ALL`, `DECAYED`, or a window's length."""


def fact_names(memory: Memory) -> tuple[str, ...]:
    """Return the column of every fact: entities in their order, each from fine to coarse, then links, then edges."""
    linked = (name for link in memory.links for name in link_fact_names(link, memory.windows))
    edges = (name for table in memory.edges for name in edge_fact_names(table, memory.windows))
    return (*entity_fact_names(memory), *linked, *edges)


def entity_fact_names(memory: Memory) -> tuple[str, ...]:
    """Return the columns of all entities' facts."""
    return tuple(
        f"{PREFIX}{level}.{fact}"
        for entity in memory.entities
        for level in entity.levels
        for fact in level_facts(entity, memory.windows)
    )


def level_facts(entity: Entity, windows: tuple[float, ...]) -> tuple[str, ...]:
    """Return the facts of one level of an entity, without the level's name."""
    return tuple(name for fact in dict.fromkeys(entity.facts) for name in _names(fact, windows))


def horizons(entity: Entity, windows: tuple[float, ...]) -> tuple[Horizon, ...]:
    """Return what the rates of an entity look back over."""
    found: list[Horizon] = [ALL] if Fact.RATE in entity.facts else []
    found += list(windows) if Fact.WINDOW_RATE in entity.facts else []
    return (*found, DECAYED) if Fact.DECAYED_RATE in entity.facts else tuple(found)


def parents(memory: Memory) -> dict[str, str]:
    """Return the next coarser level of each level, "" where that is the whole book; coarse levels come first."""
    above: dict[str, str] = {}
    for entity in memory.entities:
        chain = (*entity.levels, entity.under)
        above.update(pairwise(chain))
    return {level: above[level] for level in sorted(above, key=lambda level: len(list(_ancestry(level, above))))}


def _ancestry(level: str, above: dict[str, str]) -> Iterator[str]:
    while level:
        yield level
        level = above[level]


def _names(fact: Fact, windows: tuple[float, ...]) -> tuple[str, ...]:
    match fact:
        case Fact.COUNT:
            return tuple(f"count_{window:g}" for window in windows)
        case Fact.VOLUME:
            return tuple(f"volume_{window:g}" for window in windows)
        case Fact.RATE:
            return ("rate", "known")
        case Fact.WINDOW_RATE:
            return tuple(f"rate_{window:g}" for window in windows)
        case Fact.DECAYED_RATE:
            return ("decayed_rate",)
        case Fact.RECENCY:
            return ("recency", "age")
        case Fact.NOVELTY:
            return ("new",)
