"""What one level of an entity has behind it at many moments: its facts, and the outcomes that rates are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.memory import Entity, Fact, Memory
from leanrisk.graph.events import Events
from leanrisk.graph.facts import ALL, DECAYED, Horizon
from leanrisk.graph.keys import MISSING_KEY, Keys
from leanrisk.graph.timeline import Clock, Floats, Places, Question, Timeline


@dataclass(frozen=True)
class Outcomes:
    """How many outcomes are known and how many of them are bad, for each asked row; both float64 (rows,)."""

    known: Floats
    bads: Floats


@dataclass(frozen=True)
class Tally:
    """Of one level, by asked row: plain facts by name, and outcomes by horizon; `absent` rows name nobody."""

    facts: dict[str, Floats]
    outcomes: dict[Horizon, Outcomes]
    absent: npt.NDArray[np.bool_]


def tally(
    memory: Memory, entity: Entity, level: str, wanted: Sequence[Horizon], events: Events, asked: Events, clock: Clock
) -> Tally:
    """Return what is known of each asked row's entity at this level, strictly before the row happened."""
    keys, mine = events.keys[level], asked.keys[level]
    facts: dict[str, Floats] = {}
    if {Fact.COUNT, Fact.VOLUME, Fact.RECENCY, Fact.NOVELTY} & set(entity.facts):
        happened = Timeline.of(keys, events.happened, clock, amount=events.amount.astype(np.float64))
        facts = _events_facts(happened, mine, asked.happened, entity.facts, memory.windows)
    absent = mine == MISSING_KEY
    facts = {name: np.where(absent, np.nan, values) for name, values in facts.items()}
    return Tally(facts, outcomes(keys, mine, events, asked, clock, wanted, memory.half_life), absent)


def outcomes(
    keys: Keys,
    mine: Keys,
    events: Events,
    asked: Events,
    clock: Clock,
    wanted: Iterable[Horizon],
    half_life: float,
) -> dict[Horizon, Outcomes]:
    """Return the outcomes known of `mine` before each asked row, over each wanted horizon."""
    horizons = tuple(wanted)
    if not horizons:
        return {}
    told = np.isfinite(events.outcome)
    bad = np.where(told, events.outcome, 0.0).astype(np.float64)
    line = Timeline.of(np.where(told, keys, np.uint64(MISSING_KEY)), events.known, clock, bad=bad)
    question = line.question(mine, asked.happened)
    first, end = line.span(question)
    found = {horizon: _over(line, question, first, end, horizon, half_life) for horizon in horizons}
    return {horizon: _in_order(question, known, bads) for horizon, (known, bads) in found.items()}


def _over(
    line: Timeline, question: Question, first: Places, end: Places, horizon: Horizon, half_life: float
) -> tuple[Floats, Floats]:
    if horizon == DECAYED:
        line = Timeline(
            line.names, line.code, line.place, line.time, {**line.values, "one": np.ones(line.time.size)}, line.clock
        )
        return _faded(line, question, first, end, "one", half_life), _faded(
            line, question, first, end, "bad", half_life
        )
    begin = first if horizon == ALL else line.since(question, float(horizon), first, end)
    bads = line.sums("bad")
    return (end - begin).astype(np.float64), bads[end] - bads[begin]


def _faded(line: Timeline, question: Question, first: Places, end: Places, name: str, half_life: float) -> Floats:
    """Return the decayed sum at the moment asked, from the one that stood at the latest fact before it."""
    if not line.time.size:
        return np.zeros(end.size)
    latest = np.maximum(end - 1, 0)
    total = line.decayed(name, half_life)[latest] * np.exp2(-(question.time - line.time[latest]) / half_life)
    return np.where(end > first, total, 0.0)


def _events_facts(
    line: Timeline, mine: Keys, times: Floats, families: Sequence[Fact], windows: Sequence[float]
) -> dict[str, Floats]:
    question = line.question(mine, times)
    first, end = line.span(question)
    found: dict[str, Floats] = {}
    begins = {
        window: line.since(question, window, first, end)
        for window in windows
        if Fact.COUNT in families or Fact.VOLUME in families
    }
    if Fact.COUNT in families:
        found |= {f"count_{window:g}": (end - begin).astype(np.float64) for window, begin in begins.items()}
    if Fact.VOLUME in families:
        sums = line.sums("amount")
        # Where there is nothing, the difference of two running sums may still leave a rounding error.
        found |= {
            f"volume_{window:g}": np.where(end > begin, sums[end] - sums[begin], 0.0)
            for window, begin in begins.items()
        }
    if Fact.RECENCY in families:
        found["recency"] = _days_since(line, question, end - 1, first, end)
        found["age"] = _days_since(line, question, first, first, end)
    if Fact.NOVELTY in families:
        found["new"] = (end == first).astype(np.float64)
    return {name: _back(question, values) for name, values in found.items()}


def _days_since(line: Timeline, question: Question, place: Places, first: Places, end: Places) -> Floats:
    if not line.time.size:
        return np.full(end.size, np.nan)
    inside = np.clip(place, 0, line.time.size - 1)
    return np.where(end > first, question.time - line.time[inside], np.nan)


def _in_order(question: Question, known: Floats, bads: Floats) -> Outcomes:
    return Outcomes(_back(question, known), _back(question, bads))


def _back(question: Question, values: Floats) -> Floats:
    found = np.empty(values.shape)
    found[question.order] = values
    return found
