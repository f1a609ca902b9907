"""What one level of an entity has behind it at many moments: its facts, and the outcomes that rates are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.memory import Entity, Fact, Memory
from leanrisk.graph.events import Events
from leanrisk.graph.facts import ALL, DECAYED, Horizon
from leanrisk.graph.timeline import Floats, Names, Places, Question, Ranks, Timeline


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


@dataclass(frozen=True)
class Subject:
    """The entities of one level, and what is asked of them."""

    names: Names
    question: Question

    @property
    def absent(self) -> npt.NDArray[np.bool_]:
        """Whether an asked row names nobody."""
        return np.equal(self.names.asked, self.names.count)


@dataclass(frozen=True)
class Book:
    """What one build reads: the events, the questions, and the places of all their times."""

    events: Events
    asked: Events
    ranks: Ranks

    @classmethod
    def of(cls, events: Events, asked: Events) -> Book:
        """Return the events and questions with their times placed."""
        return cls(events, asked, Ranks.of(events.happened, events.known, asked.happened))

    def subject(self, level: str) -> Subject:
        """Return the entities of a level and what is asked of them; "" is the whole book."""
        events, asked = self.events, self.asked
        names = Names.of(events.keys[level], asked.keys[level]) if level else Names.book(events.rows, asked.rows)
        return Subject(names, Question.of(names.asked, self.ranks.asked, asked.happened, self.ranks.size))


def plain_facts(memory: Memory, entity: Entity, subject: Subject, book: Book) -> dict[str, Floats]:
    """Return all facts but rates of each asked row's entity, from events strictly before the row; NaN for nobody."""
    families = set(entity.facts)
    if not {Fact.COUNT, Fact.VOLUME, Fact.RECENCY, Fact.NOVELTY} & families:
        return {}
    names, events, ranks = subject.names, book.events, book.ranks
    amounts = {"amount": events.amount} if Fact.VOLUME in families else {}
    line = Timeline.of(
        names.events, ranks.happened, events.happened, count=names.count, size=ranks.size, values=amounts
    )
    facts = _events_facts(line, subject.question, families, memory.windows)
    absent = subject.absent
    return {name: np.where(absent, np.nan, values) for name, values in facts.items()} if absent.any() else facts


def outcomes(subject: Subject, book: Book, wanted: Sequence[Horizon], half_life: float) -> dict[Horizon, Outcomes]:
    """Return the outcomes of each asked row's entity known strictly before the row, over each wanted horizon."""
    if not wanted:
        return {}
    names, question = subject.names, subject.question
    events, ranks = book.events, book.ranks
    told = np.where(np.isfinite(events.outcome), events.known, np.inf)
    line = Timeline.of(
        names.events, ranks.known, told, count=names.count, size=ranks.size, values={"bad": events.outcome}
    )
    first, end = line.span(question)
    bads = line.sums("bad")
    found: dict[Horizon, Outcomes] = {}
    for horizon in wanted:
        if horizon == DECAYED:
            pair = _faded(line, question, first, end, half_life)
        else:
            begin = first if horizon == ALL else line.since(question, float(horizon), first, end)
            pair = (end - begin).astype(np.float64), bads[end] - bads[begin]
        found[horizon] = Outcomes(*(_back(question, values) for values in pair))
    return found


def _faded(line: Timeline, question: Question, first: Places, end: Places, half_life: float) -> tuple[Floats, Floats]:
    """Return the decayed sums at the moment asked, from those that stood at the latest outcome before it."""
    if not line.time.size:
        return np.zeros(end.size), np.zeros(end.size)
    latest = np.maximum(end - 1, 0)
    # Where nothing was known before, the latest outcome is another's, of any time.
    weight = np.where(end > first, np.exp2(-np.abs(question.time - line.time[latest]) / half_life), 0.0)
    known, bads = (line.decayed(values, half_life)[latest] for values in (np.ones(line.time.size), line.values["bad"]))
    return known * weight, bads * weight


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
    return {name: _back(question, values) for name, values in found.items()}


def _days_since(line: Timeline, question: Question, place: Places, first: Places, end: Places) -> Floats:
    if not line.time.size:
        return np.full(end.size, np.nan)
    inside = np.clip(place, 0, line.time.size - 1)
    return np.where(end > first, question.time - line.time[inside], np.nan)


def _back(question: Question, values: Floats) -> Floats:
    found = np.empty(values.shape)
    found[question.order] = values
    return found
