"""Small books of events, and a reference for every fact of an entity written as plainly as its definition."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from leanrisk.core.memory import Entity, Fact, Memory
from leanrisk.graph.events import Events

WINDOWS = (1.0, 3.0, 16.0)
MEMORY = Memory(
    entities=(
        Entity("shop", ("shop",), prefixes=(2, 1), under="town", facts=tuple(Fact)),
        Entity("town", ("town",), facts=(Fact.VOLUME, Fact.WINDOW_RATE, Fact.NOVELTY)),
        Entity("card", ("card",), facts=(Fact.COUNT, Fact.DECAYED_RATE, Fact.RATE)),
    ),
    windows=WINDOWS,
    half_life=4.0,
    strength=2.5,
)
LEVELS = ("shop", "shop_2", "shop_1", "town", "card")
ABOVE = {"shop": "shop_2", "shop_2": "shop_1", "shop_1": "town", "town": "", "card": ""}


class Happening(NamedTuple):
    """One event; a key of 0 names nobody. The coarser levels of a shop follow from its key."""

    shop: int
    town: int
    card: int
    happened: float
    known: float = math.inf
    outcome: float = math.nan
    amount: float = 1.0
    id: int = 0

    def key(self, level: str) -> int:
        coarser = {"shop_2": self.shop and 1 + self.shop // 2, "shop_1": self.shop and 1 + self.shop // 4}
        return coarser[level] if level in coarser else int(getattr(self, level))


def as_events(book: list[Happening]) -> Events:
    def column(name: str) -> np.ndarray:
        return np.array([getattr(event, name) for event in book], dtype=np.float64)

    return Events(
        id=np.array([event.id or place + 1 for place, event in enumerate(book)], dtype=np.uint64),
        happened=column("happened"),
        known=column("known"),
        outcome=column("outcome").astype(np.float32),
        amount=column("amount").astype(np.float32),
        keys={level: np.array([event.key(level) for event in book], dtype=np.uint64) for level in LEVELS},
        ends={},
    )


@st.composite
def books(draw: st.DrawFn, most: int = 30) -> list[Happening]:
    """Crowded books: few entities, some missing, times on a quarter grid with many ties, outcomes told or not."""
    key = st.integers(0, 4)
    bad = st.sampled_from((1.0, 0.0, 0.0, math.nan))
    row = st.tuples(key, st.integers(0, 2), key, st.integers(-12, 80), st.integers(0, 40), bad, st.integers(0, 9))
    return [
        Happening(
            shop, town, card, when / 4, math.inf if math.isnan(told) else (when + delay) / 4, told, float(amount), place
        )
        for place, (shop, town, card, when, delay, told, amount) in enumerate(draw(st.lists(row, max_size=most)), 1)
    ]


class Reference:
    """Facts of one entity, or of the whole book, from the events and outcomes known strictly before a moment."""

    def __init__(self, book: list[Happening], at: float) -> None:
        self.at = at
        self.seen = [event for event in book if event.happened < at]
        self.told = [event for event in book if event.known < at and not math.isnan(event.outcome)]

    def facts(self, asked: Happening) -> list[float]:
        entities = {level: entity for entity in MEMORY.entities for level in entity.levels}
        return [
            fact
            for level, entity in entities.items()
            for family in entity.facts
            for fact in getattr(self, family.value)(level, asked)
        ]

    def within(self, time: float, window: float) -> bool:
        step = window / 8
        return math.floor(self.at / step) - 8 < math.floor(time / step)

    def events(self, level: str, asked: Happening) -> list[Happening]:
        return [event for event in self.seen if event.key(level) == asked.key(level)]

    def count(self, level: str, asked: Happening) -> list[float]:
        mine = self.events(level, asked)
        counts = [float(sum(self.within(event.happened, window) for event in mine)) for window in WINDOWS]
        return counts if asked.key(level) else [math.nan] * len(counts)

    def volume(self, level: str, asked: Happening) -> list[float]:
        mine = self.events(level, asked)
        sums = [float(sum(event.amount for event in mine if self.within(event.happened, one))) for one in WINDOWS]
        return sums if asked.key(level) else [math.nan] * len(sums)

    def recency(self, level: str, asked: Happening) -> list[float]:
        times = [event.happened for event in self.events(level, asked)]
        if not asked.key(level) or not times:
            return [math.nan, math.nan]
        return [self.at - max(times), self.at - min(times)]

    def novelty(self, level: str, asked: Happening) -> list[float]:
        return [float(not self.events(level, asked)) if asked.key(level) else math.nan]

    def rate(self, level: str, asked: Happening) -> list[float]:
        known = float(len(self.outcomes(level, asked))) if asked.key(level) else math.nan
        return [self.smoothed(level, asked, None), known]

    def window_rate(self, level: str, asked: Happening) -> list[float]:
        return [self.smoothed(level, asked, window) for window in WINDOWS]

    def decayed_rate(self, level: str, asked: Happening) -> list[float]:
        return [self.smoothed(level, asked, math.inf)]

    def outcomes(self, level: str, asked: Happening) -> list[Happening]:
        if not level:
            return self.told
        return [event for event in self.told if asked.key(level) and event.key(level) == asked.key(level)]

    def smoothed(self, level: str, asked: Happening, window: float | None) -> float:
        """Return the rate over all outcomes (None), over a window, or with halving weights (infinity)."""
        weighed = [(self.weight(event.known, window), event.outcome) for event in self.outcomes(level, asked)]
        known, bads = sum(weight for weight, _ in weighed), sum(weight * bad for weight, bad in weighed)
        if level:
            above = self.smoothed(ABOVE[level], asked, window)
        elif window is None:
            return (bads + 1) / (known + 2)
        else:
            above = self.smoothed("", asked, None)
        return (bads + MEMORY.strength * above) / (known + MEMORY.strength)

    def weight(self, known: float, window: float | None) -> float:
        if window is None:
            return 1.0
        if window == math.inf:
            return float(2.0 ** -((self.at - known) / MEMORY.half_life))
        return float(self.within(known, window))


def reference(book: list[Happening], asked: list[Happening]) -> np.ndarray:
    """Return the facts of every asked row, float32 (rows, facts)."""
    return np.array([Reference(book, row.happened).facts(row) for row in asked], dtype=np.float32)


def later_changed(draw: st.DrawFn | st.DataObject, book: list[Happening], at: float) -> list[Happening]:
    """Return the book with everything that is known at `at` or later replaced: other events, other outcomes."""
    pick = draw.draw if isinstance(draw, st.DataObject) else draw
    others = [event._replace(id=0) for event in pick(books(most=12)) if event.happened >= at]
    kept = [event for event in book if event.happened < at]
    told = st.sampled_from((0.0, 1.0, math.nan))
    changed = [
        event._replace(outcome=pick(told), known=at + pick(st.integers(0, 20)) / 4) if event.known >= at else event
        for event in kept
    ]
    return [event._replace(id=place) for place, event in enumerate([*changed, *others], 1)]


def as_of(events: Events, at: float) -> Events:
    """Return the events as questions, all asked at one moment."""
    return replace(events, happened=np.full(events.rows, at))
