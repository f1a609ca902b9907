"""The frontier rises when blocks have come to rest, never falls, and refuses settings that make no sense."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.core.config import configured
from leanrisk.core.errors import ConfigError
from leanrisk.models.frontier import FreezeConfig, Frontier, Move

STILL, MOVING = 0.001, 0.5


def quick(**changes: Any) -> FreezeConfig:
    return FreezeConfig(**{"start": 1, "most": 4, "patience": 2, "still": 0.02, **changes})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": -1}, "freeze.start must not be negative: it is -1"),
        ({"most": -2}, "freeze.most must not be negative: it is -2"),
        ({"start": 5, "most": 4}, "freeze.start must not lie above freeze.most: 5 > 4"),
        ({"checks": 0}, "freeze.checks must be at least 1: it is 0"),
        ({"patience": 0}, "freeze.patience must be at least 1"),
        ({"cache_mb": 0}, "freeze.cache_mb must be at least 1"),
        ({"still": 0.0}, "freeze.still must be above 0"),
        ({"still": math.nan}, "freeze.still must be above 0: it is nan"),
        ({"drift": -0.1}, "freeze.drift must be above 0: it is -0.1"),
        ({"drift": math.nan}, "freeze.drift must be above 0"),
        ({"depth": 3}, "'depth'"),
        ({"start": "half"}, "start"),
    ],
)
def test_nonsense_is_refused_by_name(settings, message):
    with pytest.raises(ConfigError, match=message):
        configured(FreezeConfig, settings, where="freeze")


@pytest.mark.parametrize(
    ("settings", "depth", "expected"),
    [
        ({}, 12, (6, 9)),
        ({}, 6, (3, 4)),
        ({}, 1, (0, 0)),
        ({"start": 0}, 6, (0, 4)),
        ({"most": 1}, 6, (1, 1)),
        ({"start": 5}, 6, (5, 5)),
        ({"start": 2, "most": 5}, 6, (2, 5)),
    ],
)
def test_half_of_the_blocks_stand_still_at_first_and_three_quarters_in_the_end(settings, depth, expected):
    assert FreezeConfig(**settings).limits(depth) == expected


@pytest.mark.parametrize("settings", [{}, {"start": 0}, {"start": 4, "most": 9}])
def test_without_blocks_there_is_only_the_table_to_freeze(settings):
    assert FreezeConfig(**settings).limits(0) == (0, 0)
    frontier = Frontier(FreezeConfig(**settings), 0)
    assert frontier.at == 0
    assert not frontier.may_rise


@pytest.mark.parametrize(("settings", "asked"), [({"start": 6}, 6), ({"most": 7}, 7), ({"start": 6, "most": 9}, 9)])
def test_something_must_learn(settings, asked):
    with pytest.raises(ConfigError, match=f"At least one block must learn: freeze asks for {asked} of 6"):
        FreezeConfig(**settings).limits(6)


def test_a_block_is_frozen_once_it_has_stood_still_often_enough():
    frontier = Frontier(quick(), 6)
    changes = [0.0, STILL, MOVING, MOVING, MOVING, MOVING]
    assert not frontier.checked(10, changes)
    assert frontier.at == 1
    assert frontier.checked(20, changes)
    assert frontier.moves == [Move(0, 1, "start"), Move(20, 2, "still")]


def test_a_block_that_moves_again_counts_anew():
    frontier = Frontier(quick(patience=3), 6)
    changes = {still: [0.0, STILL if still else MOVING, *[MOVING] * 4] for still in (True, False)}
    seen = [frontier.checked(step, changes[still]) for step, still in enumerate([True, True, False, True, True, True])]
    assert seen == [False] * 5 + [True]
    assert frontier.moves[1:] == [Move(5, 2, "still")]


def test_a_still_block_waits_for_those_below_it_and_then_goes_along():
    frontier = Frontier(quick(), 6)
    for step in range(5):
        assert not frontier.checked(step, [0.0, MOVING, STILL, STILL, STILL, STILL])
    frontier.checked(5, [0.0, STILL, STILL, MOVING, STILL, STILL])
    assert frontier.checked(6, [0.0, STILL, STILL, STILL, STILL, STILL])
    assert frontier.moves[1:] == [Move(6, 3, "still")]


def test_what_is_no_number_does_not_stand_still():
    frontier = Frontier(quick(patience=1), 6)
    assert not frontier.checked(1, [math.nan, math.nan, math.inf, 0.0, 0.0, 0.0])


def test_a_static_frontier_stays():
    frontier = Frontier(quick(dynamic=False), 6)
    assert not frontier.may_rise
    assert frontier.at == 1


@given(
    changes=st.lists(st.lists(st.floats(0, 0.04), min_size=6, max_size=6), max_size=30),
    start=st.integers(0, 4),
    room=st.integers(0, 4),
    patience=st.integers(1, 4),
)
def test_it_only_rises_stops_at_most_and_never_freezes_a_restless_block(changes, start, room, patience):
    most = min(5, start + room)
    frontier = Frontier(FreezeConfig(start=start, most=most, patience=patience, still=0.02), 6)
    for step, change in enumerate(changes):
        before = frontier.at
        rose = frontier.checked(step, change)
        assert rose == (frontier.at > before)
        assert frontier.may_rise == (frontier.at < most)
        for block in range(before, frontier.at):
            recent = np.array(changes)[max(0, step + 1 - patience) : step + 1, block]
            assert len(recent) == patience
            assert (recent < 0.02).all()
    places = [move.blocks for move in frontier.moves]
    assert places[0] == start
    assert places[-1] <= most
    assert places == sorted(set(places))
    assert [move.why for move in frontier.moves] == ["start"] + ["still"] * (len(places) - 1)
    steps = [move.step for move in frontier.moves[1:]]
    assert steps == sorted(set(steps))
