"""Leaks planted inside the engine's own small functions: the property that passes the engine finds each of them."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.graph import build
from leanrisk.graph.events import Events
from leanrisk.graph.facts import Horizon
from leanrisk.graph.tally import Outcomes
from leanrisk.graph.timeline import Floats, Question, Ranks, Timeline, steps
from leanrisk.graph.whole import Moments, Whole
from tests.graph.entity_books import MEMORY, Happening, books, later_changed
from tests.graph.test_point_in_time import AT, SEARCH, facts_at

_span, _ranks, _before = Timeline.span, Ranks.of, Moments.before


def engine(events: Events, asked: Events) -> np.ndarray:
    return build.build_facts(MEMORY, events, asked).to_numpy()


def not_strictly_before(patch: pytest.MonkeyPatch) -> None:
    def span(self: Timeline, asked: Question) -> tuple[np.ndarray, np.ndarray]:
        own = self.code * self.size + self.place
        end = np.searchsorted(own, asked.code * self.size + asked.place, side="right")
        return _span(self, asked)[0], end

    patch.setattr(Timeline, "span", span)


def all_of_the_step_under_way(patch: pytest.MonkeyPatch) -> None:
    def span(self: Timeline, asked: Question) -> tuple[np.ndarray, np.ndarray]:
        first, end = _span(self, asked)
        width = MEMORY.windows[-1]
        ends = [
            np.searchsorted(self.code, code) + np.sum((self.code == code) & (steps(self.time, width) <= step))
            for code, step in zip(asked.code, steps(asked.time, width), strict=True)
        ]
        return first, np.maximum(end, np.array(ends, dtype=np.int64))

    patch.setattr(Timeline, "span", span)


def known_ignored(patch: pytest.MonkeyPatch) -> None:
    def ranks(happened: np.ndarray, known: np.ndarray, asked: np.ndarray) -> Ranks:
        return _ranks(happened, np.where(np.isfinite(known), happened, np.inf), asked)

    patch.setattr(Ranks, "of", ranks)


def own_outcome_seen(patch: pytest.MonkeyPatch) -> None:
    def ranks(happened: np.ndarray, known: np.ndarray, asked: np.ndarray) -> Ranks:
        return _ranks(happened, np.where(np.isfinite(known), np.nextafter(happened, -np.inf), np.inf), asked)

    patch.setattr(Ranks, "of", ranks)


def rate_of_the_book_from_the_future(patch: pytest.MonkeyPatch) -> None:
    def outcomes(self: Whole, at: Floats) -> dict[Horizon, Outcomes]:
        known, bads = (np.full(at.size, float(kind.time.size)) for kind in (self.known, self.bads))
        return dict.fromkeys(self.horizons, Outcomes(known, bads))

    patch.setattr(Whole, "outcomes", outcomes)


def outcomes_of_the_book_on_their_own_day(patch: pytest.MonkeyPatch) -> None:
    def before(self: Moments, at: Floats, horizons: Sequence[Horizon]) -> Iterator[Floats]:
        return _before(self, np.floor(at) + 1.0, horizons)

    patch.setattr(Moments, "before", before)


PLANTS = (
    not_strictly_before,
    all_of_the_step_under_way,
    known_ignored,
    own_outcome_seen,
    rate_of_the_book_from_the_future,
    outcomes_of_the_book_on_their_own_day,
)


def check(book: list[Happening], at: float, data: st.DataObject) -> None:
    other = later_changed(data, book, at)
    np.testing.assert_allclose(facts_at(engine, book, at), facts_at(engine, other, at), rtol=1e-6)


@pytest.mark.parametrize("plant", PLANTS)
def test_a_leak_planted_in_the_engine_is_found(monkeypatch, plant):
    plant(monkeypatch)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        SEARCH(given(books(), AT, st.data())(check))()


def test_the_engine_as_it_is_passes_the_same_search():
    SEARCH(given(books(), AT, st.data())(check))()
