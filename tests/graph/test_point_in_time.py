"""What was known at a moment, by definition: the batch build keeps to it, and a planted leak is always found."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from leanrisk.graph import timeline
from leanrisk.graph.build import build_facts
from leanrisk.graph.events import Events
from leanrisk.graph.facts import fact_names
from leanrisk.graph.timeline import CELLS, Timeline
from tests.graph.entity_books import MEMORY, Happening, as_events, as_of, books, later_changed, reference

Engine = Callable[[Events, Events], np.ndarray]

AT = st.integers(-8, 84).map(lambda quarter: quarter / 4)
# The same books in every run, and no shrinking: that a fault is found matters here, not how small a book shows it.
SEARCH = settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
QUESTIONS = [Happening(shop, town, card, 0.0) for shop in range(5) for town, card in ((0, 1), (1, 0), (2, 3))]


def build(events: Events, asked: Events) -> np.ndarray:
    return build_facts(MEMORY, events, asked).to_numpy()


@settings(deadline=None)
@given(books(), books(most=8))
def test_the_build_gives_what_the_definition_says(book, asked):
    rows = [*book, *asked]
    frame = build_facts(MEMORY, as_events(book), as_events(rows))
    assert frame.columns == list(fact_names(MEMORY))
    expected = reference(book, rows).reshape(frame.shape)
    np.testing.assert_allclose(frame.to_numpy(), expected, rtol=1e-6)
    whole = [name for name in frame.columns if name.rpartition(".")[2].startswith(("count", "known", "new"))]
    places = [frame.columns.index(name) for name in whole]
    np.testing.assert_array_equal(frame.to_numpy()[:, places], expected[:, places])


def facts_at(engine: Engine, book: list[Happening], at: float) -> np.ndarray:
    return engine(as_events(book), as_of(as_events(QUESTIONS), at))


@settings(deadline=None)
@given(books(), AT, st.data())
def test_nothing_known_at_or_after_a_moment_changes_its_facts(book, at, data):
    other = later_changed(data, book, at)
    np.testing.assert_allclose(facts_at(build, book, at), facts_at(build, other, at), rtol=1e-6)


@settings(deadline=None)
@given(books(), st.data())
def test_no_row_knows_its_own_outcome(book, data):
    outcomes = [data.draw(st.sampled_from((0.0, 1.0))) if math.isfinite(event.known) else math.nan for event in book]
    for place in range(len(book)):
        changed = list(book)
        changed[place] = book[place]._replace(outcome=outcomes[place])
        before, after = (build(as_events(one), as_events([book[place]])) for one in (book, changed))
        np.testing.assert_allclose(before, after, rtol=1e-6)


def _at_once(events: Events) -> Events:
    return replace(events, known=np.where(np.isfinite(events.known), events.happened, np.inf))


def known_when_it_happens(events: Events, asked: Events) -> np.ndarray:
    return build(_at_once(events), asked)


def known_the_same_moment(events: Events, asked: Events) -> np.ndarray:
    return build(events, replace(asked, happened=np.nextafter(asked.happened, np.inf)))


def known_a_quarter_early(events: Events, asked: Events) -> np.ndarray:
    return build(replace(events, known=np.maximum(events.known - 0.25, events.happened)), asked)


def whole_windows_ahead(events: Events, asked: Events) -> np.ndarray:
    return build(events, replace(asked, happened=(np.floor(asked.happened) + 1.0)))


def all_outcomes_at_the_end(events: Events, asked: Events) -> np.ndarray:
    end = max(float(events.happened.max(initial=0.0)), float(asked.happened.max(initial=0.0))) + 100.0
    return build(events, replace(asked, happened=np.full(asked.rows, end)))


def own_outcome(events: Events, asked: Events) -> np.ndarray:
    known = np.where(np.isfinite(events.known), np.nextafter(events.happened, -np.inf), np.inf)
    return build(replace(events, known=known), asked)


def unknown_outcomes_are_good(events: Events, asked: Events) -> np.ndarray:
    # A good is not known before its maturity: to take the silence for one tells which outcomes are still to come.
    silent = np.isnan(events.outcome) | (events.known >= asked.happened.max(initial=0.0))
    outcome = np.where(silent, np.where(events.outcome == 1, 1, 0), events.outcome).astype(np.float32)
    return build(replace(events, outcome=outcome, known=np.where(silent, events.happened, events.known)), asked)


LEAKS = (
    known_when_it_happens,
    known_the_same_moment,
    known_a_quarter_early,
    whole_windows_ahead,
    all_outcomes_at_the_end,
    own_outcome,
    unknown_outcomes_are_good,
)


@pytest.mark.parametrize("leaking", LEAKS)
def test_the_property_finds_every_planted_leak(leaking):
    @SEARCH
    @given(books(), AT, st.data())
    def blind(book, at, data):
        other = later_changed(data, book, at)
        np.testing.assert_allclose(facts_at(leaking, book, at), facts_at(leaking, other, at), rtol=1e-6)

    with pytest.raises(AssertionError):
        blind()


def _span_with_ties(self: Timeline, asked: timeline.Question) -> tuple[np.ndarray, np.ndarray]:
    codes = self.code * self.size + self.place
    end = np.searchsorted(codes, asked.code * self.size + asked.place, side="right")
    return np.searchsorted(self.code, asked.code, side="left"), end


def _longer_window(self: Timeline, asked: timeline.Question, window: float, first: np.ndarray, end: np.ndarray):
    return _since(self, asked, window * (CELLS + 1) / CELLS, first, end)


def _exact_window(self: Timeline, asked: timeline.Question, window: float, first: np.ndarray, end: np.ndarray):
    inside = [
        next((place for place in range(a, b) if self.time[place] >= at - window), b)
        for a, b, at in zip(first, end, asked.time, strict=True)
    ]
    return np.array(inside, dtype=np.int64)


_since = Timeline.since
FAULTS = (("span", _span_with_ties), ("since", _longer_window), ("since", _exact_window))


@pytest.mark.parametrize(("part", "broken"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_the_definition_finds_a_fault_in_the_engine_itself(monkeypatch, part, broken):
    monkeypatch.setattr(Timeline, part, broken)

    @SEARCH
    @given(books())
    def defined(book):
        facts = build(as_events(book), as_events(book))
        np.testing.assert_allclose(facts, reference(book, book).reshape(facts.shape), rtol=1e-6)

    with pytest.raises(AssertionError):
        defined()


def test_an_unknown_entity_has_no_past_and_the_coarser_rate():
    book = [Happening(1, 1, 1, 0.0, 1.0, 1.0), Happening(2, 1, 1, 0.0, 1.0, 0.0)]
    asked = [Happening(9, 1, 7, 2.0), Happening(0, 1, 0, 2.0)]
    unknown, missing = build_facts(MEMORY, as_events(book), as_events(asked)).to_dicts()
    assert (unknown["memory.card.count_16"], unknown["memory.shop.new"], unknown["memory.card.known"]) == (0, 1, 0)
    assert math.isnan(missing["memory.card.count_16"])
    assert math.isnan(missing["memory.shop.new"])
    assert unknown["memory.card.rate"] == missing["memory.card.rate"] == 0.5
    assert unknown["memory.shop.rate_16"] == missing["memory.shop.rate_16"]


def test_a_memory_without_events_or_questions_still_has_its_columns():
    assert build_facts(MEMORY, as_events([]), as_events([])).columns == list(fact_names(MEMORY))
    row = build_facts(MEMORY, as_events([]), as_events([Happening(1, 1, 1, 0.0)])).row(0, named=True)
    assert row["memory.card.rate"] == 0.5
    assert row["memory.town.new"] == 1
