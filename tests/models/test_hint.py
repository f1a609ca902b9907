"""A hint brings the state nearer to the teacher's, counts only rows that have one, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.inputs import Inputs
from leanrisk.models.frontier import FreezeConfig
from leanrisk.models.hint import HintMap, checked_hints, standardised
from leanrisk.models.lesson import Lesson, TaughtRows
from leanrisk.models.training import predict_logits, predict_states, train
from leanrisk.models.training_config import TrainingConfig
from tests.models.networks import made_fields, made_network, ruled_lesson

FIELDS = made_fields(4, 1, codes=0)
CONFIG = TrainingConfig(epochs=3, batch=64, threads=1)


def hinted(rows: int, *, seed: int, without: float = 0.0) -> Lesson:
    """Return rows whose teacher shows a state of four numbers, which are curves of the first two fields."""
    lesson = ruled_lesson(rows, seed=seed)
    values = lesson.lookups.weight[:, :4] + np.sin(lesson.lookups.index[:, :4].astype(np.float32))
    hints = np.tanh(3 * values).astype(np.float32)
    hints[np.random.default_rng(seed).random(rows) < without] = np.nan
    return replace(lesson, hints=hints)


def explained(preset: str, weight: float, *, without: float = 0.0, freeze: FreezeConfig | None = None) -> float:
    """Return the share of the teacher's state that a line of the student's explains on rows that it did not see."""
    network = made_network(preset, FIELDS)
    config = replace(CONFIG, hint_weight=weight)
    lesson = hinted(900, seed=1, without=without)
    train(network, lesson, held_out=hinted(200, seed=2), config=config, seed=0, freeze=freeze)
    test = hinted(800, seed=3)
    assert test.hints is not None
    states = np.c_[predict_states(network, test.lookups), np.ones(800)]
    states /= np.abs(states).max()
    kept = 1e-3 * len(states) * np.eye(states.shape[1])
    line = np.linalg.solve(states.T @ states + kept, states.T @ test.hints)
    return float(1 - np.var(test.hints - states @ line) / np.var(test.hints))


def test_it_brings_the_states_nearer_also_where_many_rows_have_none():
    plain = explained("swift", 0.0)
    assert explained("swift", 3.0) > plain + 0.05
    assert explained("swift", 3.0, without=0.4) > plain + 0.03


def test_it_reaches_the_blocks_above_a_frontier():
    frozen = FreezeConfig(start=2)
    assert explained("tiny", 3.0, freeze=frozen) > explained("tiny", 0.0, freeze=frozen) + 0.02


def test_without_a_weight_or_without_states_nothing_changes():
    told, plain = [], replace(hinted(300, seed=1), hints=None)
    for lesson, weight in ((plain, 0.0), (hinted(300, seed=1), 0.0), (plain, 1.0)):
        network = made_network("swift", FIELDS)
        train(network, lesson, held_out=plain, config=replace(CONFIG, hint_weight=weight), seed=0)
        told.append(predict_logits(network, plain.lookups).tolist())
    assert told[0] == told[1] == told[2]


def test_equal_seeds_give_equal_weights_with_any_number_of_threads():
    told = []
    for threads in (1, 2):
        network = made_network("swift", FIELDS)
        config = replace(CONFIG, hint_weight=1.0, threads=threads, batch=1024)
        train(network, hinted(2100, seed=1), held_out=hinted(100, seed=2), config=config, seed=0)
        told.append(predict_logits(network, hinted(50, seed=3).lookups).tolist())
    assert told[0] == told[1]


def test_a_row_without_a_state_counts_nothing():
    state, map_ = torch.randn(6, 3), HintMap(3, 2)
    hints = torch.randn(6, 2)
    some = hints.clone()
    some[2:] = torch.nan
    assert torch.equal(map_.loss(state, some), map_.loss(state[:2], hints[:2]))
    nothing = map_.loss(state, torch.full((6, 2), torch.nan))
    assert float(nothing.detach()) == 0.0
    nothing.backward()
    with pytest.raises(ModelError, match="pooled state"):
        HintMap.between(None, hints.numpy())


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(2, 40), width=st.integers(1, 4), seed=st.integers(0, 99), scale=st.sampled_from([1e-3, 1, 1e4]))
def test_hints_have_no_unit(rows, width, seed, scale):
    rng = np.random.default_rng(seed)
    values = (scale * (rng.normal(size=(rows, width)) + 3)).astype(np.float32)
    values[1:][rng.random(rows - 1) < 0.3] = np.nan
    told = standardised(values)
    known = np.isfinite(told).all(axis=1)
    assert np.array_equal(known, np.isfinite(values).all(axis=1))
    assert np.abs(told[known].mean(axis=0)).max() < 0.02
    assert (told[known].std(axis=0) < 1.01).all()


def test_states_that_do_not_fit_are_refused_by_name():
    assert np.isnan(checked_hints([[1.0, np.nan], [1.0, 2.0]], 2, "base")[0]).all()
    for values, rows in (([1.0, 2.0], 2), ([[1.0], [2.0]], 3), (np.empty((2, 0)), 2)):
        with pytest.raises(ModelError, match="'base' gave an array"):
            checked_hints(values, rows, "base")
    with pytest.raises(ModelError, match="some of 'base' are"):
        checked_hints([[np.inf]], 1, "base")
    with pytest.raises(ModelError, match="none has one"):
        standardised(np.full((3, 2), np.nan, dtype=np.float32))
    with pytest.raises(ModelError, match="one vector per row"):
        replace(ruled_lesson(5, seed=0), hints=np.ones((4, 2), dtype=np.float32))
    with pytest.raises(ConfigError, match="hint_weight must be a number"):
        TrainingConfig(hint_weight=float("nan"))


def test_parts_without_states_are_joined_as_rows_without_any():
    inputs = Inputs(np.zeros((2, 1), dtype=np.float32), np.zeros((2, 0), dtype=np.int64))
    targets = np.array([0, 1], dtype=np.float32)
    shown = TaughtRows(inputs, targets, targets, np.ones((2, 3), dtype=np.float32))
    joined = TaughtRows.joined([TaughtRows(inputs, targets, targets), shown])
    assert joined.hints is not None
    assert np.isnan(joined.hints[:2]).all()
    assert (joined.hints[2:] == 1).all()
