"""What one level of an entity has behind it at many moments: its facts, and the outcomes that rates are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.memory import Entity, Fact, Memory
from leanrisk.graph.blocks import Block
from leanrisk.graph.facts import ALL, DECAYED, Horizon, level_facts
from leanrisk.graph.keys import MISSING_KEY, Keys
from leanrisk.graph.timeline import Floats, Names, Places, Question, Ranks, Timeline

_RATES = ("rate", "known", "decayed")


@dataclass(frozen=True)
class Outcomes:
    """How many outcomes are known and how many of them are bad, for each asked row; both float64 (rows,)."""

    known: Floats
    bads: Floats


@dataclass(frozen=True)
class Tally:
    """Of one level, by asked row: `numbers` holds the `facts`, then known outcomes and bads for each of `horizons`.

    float32 (rows, facts + 2 * horizons), row by row, since blocks write whole rows; `absent` rows name nobody.
    """

    facts: tuple[str, ...]
    horizons: tuple[Horizon, ...]
    numbers: npt.NDArray[np.float32]
    absent: npt.NDArray[np.bool_]

    @classmethod
    def empty(cls, entity: Entity, memory: Memory, horizons: tuple[Horizon, ...], asked: Keys) -> Tally:
        """Return the tally of a level before its blocks are counted: all that rows without an entity will have."""
        names = level_facts(entity, memory.windows)
        facts = tuple(name for name in names if name.partition("_")[0] not in _RATES)
        absent = asked == MISSING_KEY
        numbers = np.empty((asked.size, len(facts) + 2 * len(horizons)), dtype=np.float32)
        numbers[absent, : len(facts)] = np.nan
        numbers[absent, len(facts) :] = 0.0
        return cls(facts, horizons, numbers, absent)

    def fact(self, name: str, rows: slice) -> npt.NDArray[np.float32]:
        """Return one fact of these rows."""
        return self.numbers[rows, self.facts.index(name)]

    def outcomes(self, rows: slice) -> dict[Horizon, Outcomes]:
        """Return the outcomes of these rows by horizon."""
        told = self.numbers[rows, len(self.facts) :].astype(np.float64, order="F")
        return {one: Outcomes(told[:, 2 * place], told[:, 2 * place + 1]) for place, one in enumerate(self.horizons)}

    def count(self, entity: Entity, memory: Memory, block: Block) -> None:
        """Fill in the rows of a block; other blocks may be counted at the same time."""
        subject = Subject.of(block)
        facts = plain_facts(memory, entity, subject, block)
        told = outcomes(subject, block, self.horizons, memory.half_life)
        found = np.empty((block.rows.size, self.numbers.shape[1]), dtype=np.float32)
        columns = [facts[name] for name in self.facts]
        columns += [values for one in self.horizons for values in (told[one].known, told[one].bads)]
        for place, values in enumerate(columns):
            found[:, place] = values
        self.numbers[block.rows[subject.question.order]] = found


@dataclass(frozen=True)
class Subject:
    """The entities of one block, the places of all its times, and what is asked: the order that answers come in."""

    names: Names
    ranks: Ranks
    question: Question

    @classmethod
    def of(cls, block: Block) -> Subject:
        """Return the entities of a block and what is asked of them."""
        names = Names.of(block.key, block.asked_key)
        ranks = Ranks.of(block.happened, block.known, block.asked_time)
        return cls(names, ranks, Question.of(names.asked, ranks.asked, block.asked_time, ranks.size))


def plain_facts(memory: Memory, entity: Entity, subject: Subject, block: Block) -> dict[str, Floats]:
    """Return all facts but rates, from events strictly before each question, in the questions' sorted order."""
    families = set(entity.facts)
    if not {Fact.COUNT, Fact.VOLUME, Fact.RECENCY, Fact.NOVELTY} & families:
        return {}
    names, ranks = subject.names, subject.ranks
    amounts = {"amount": block.amount} if Fact.VOLUME in families else {}
    line = Timeline.of(names.events, ranks.happened, block.happened, count=names.count, size=ranks.size, values=amounts)
    return _events_facts(line, subject.question, families, memory.windows)


def outcomes(subject: Subject, block: Block, wanted: Sequence[Horizon], half_life: float) -> dict[Horizon, Outcomes]:
    """Return the outcomes known strictly before each question over each horizon, in the questions' sorted order."""
    if not wanted:
        return {}
    names, ranks, question = subject.names, subject.ranks, subject.question
    told = np.where(np.isfinite(block.outcome), block.known, np.inf)
    line = Timeline.of(
        names.events, ranks.known, told, count=names.count, size=ranks.size, values={"bad": block.outcome}
    )
    first, end = line.span(question)
    bads = line.sums("bad")
    found: dict[Horizon, Outcomes] = {}
    for horizon in wanted:
        if horizon == DECAYED:
            found[horizon] = _faded(line, question, first, end, half_life)
        else:
            begin = first if horizon == ALL else line.since(question, float(horizon), first, end)
            found[horizon] = Outcomes((end - begin).astype(np.float64), bads[end] - bads[begin])
    return found


def _faded(line: Timeline, question: Question, first: Places, end: Places, half_life: float) -> Outcomes:
    """Return the decayed sums at the moment asked, from those that stood at the latest outcome before it."""
    if not line.time.size:
        return Outcomes(np.zeros(end.size), np.zeros(end.size))
    latest = np.maximum(end - 1, 0)
    # Where nothing was known before, the latest outcome is another's, of any time.
    weight = np.where(end > first, np.exp2(-np.abs(question.time - line.time[latest]) / half_life), 0.0)
    known, bads = (line.decayed(values, half_life)[latest] for values in (np.ones(line.time.size), line.values["bad"]))
    return Outcomes(known * weight, bads * weight)


def _events_facts(
    line: Timeline, question: Question, families: set[Fact], windows: Sequence[float]
) -> dict[str, Floats]:
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
    return found


def _days_since(line: Timeline, question: Question, place: Places, first: Places, end: Places) -> Floats:
    if not line.time.size:
        return np.full(end.size, np.nan)
    inside = np.clip(place, 0, line.time.size - 1)
    return np.where(end > first, question.time - line.time[inside], np.nan)
