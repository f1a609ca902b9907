"""Leaks planted inside the store that serves: the comparison that passes the store finds each of them."""

import numpy as np
import pytest

from leanrisk.core.errors import MemoryStoreError
from leanrisk.graph.history import Places
from leanrisk.graph.state import State
from leanrisk.graph.store import MemoryStore
from tests.graph.test_store import REMEMBERED, asked, assert_same, built, read, table

_ripe, _advance = State._ripe, State.advance


def known_at_the_very_moment(patch: pytest.MonkeyPatch) -> None:
    def ripe(self: State, at: float) -> Places:
        return _ripe(self, float(np.nextafter(at, np.inf)))

    patch.setattr(State, "_ripe", ripe)


def known_an_hour_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(State, "advance", lambda self, at, history: _advance(self, at + 1 / 24, history))


def known_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(State, "_ripe", lambda self, at: _ripe(self, np.inf))


def never_known(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(State, "advance", lambda self, at, history: None)


def check() -> None:
    """Compare store and build before, at and just after moments at which outcomes become known."""
    rows = [
        {"id": f"e{place}", "shop": "abc", "town": "t1", "card": 1, "when": 1.0, "amount": 1.0, "bad": place % 2}
        | {"known": known}
        for place, known in enumerate((1.0, 5.0, 6.0, 6.0, 7.0, 8.0))
    ]
    events = read(table(rows))
    store = MemoryStore.build(REMEMBERED, events)
    # At 6 and at 8 an earlier outcome is still to be counted: the look-up takes out several at once.
    for at in (4.98, 6.0, 6.02, 8.0, 8.02):
        assert_same(asked(store, at), built(events, at))


@pytest.mark.parametrize("plant", [known_at_the_very_moment, known_an_hour_early, known_at_once, never_known])
def test_a_leak_planted_in_the_store_is_found(monkeypatch, plant):
    plant(monkeypatch)
    # A fact that counted too soon also moves the clock past the moments that are still asked.
    with pytest.raises((AssertionError, MemoryStoreError)):
        check()


def test_the_store_as_it_is_passes_the_same_comparison():
    check()
