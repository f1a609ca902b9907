"""Slim trees: the numbers of LightGBM, a graph that repeats them bit by bit, and a file that cannot lead astray."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.inputs import CategoryField, Fields, Inputs, NumericField
from leanrisk.core.metrics import auc
from leanrisk.models.calibration import Calibration
from leanrisk.models.forest import Forest, floor32, forest_of, ranked_matrix
from leanrisk.models.forest_fit import ForestConfig, fit_forest, ranked_levels
from leanrisk.models.forest_graph import forest_graph
from leanrisk.models.lesson import TaughtRows
from leanrisk.models.onnx_session import GraphSession
from leanrisk.models.soft_loss import SoftLoss
from leanrisk.models.training_config import TrainingConfig

LOSS = SoftLoss.of(TrainingConfig(), "binary")
FIELDS = Fields(
    (NumericField("income", (0.0, 1.0)), NumericField("debt", (0.0, 1.0)), NumericField("age", (0.0, 1.0))),
    (CategoryField("sector", ("farm", "shop", "mill", "mine")),),
)


@functools.cache
def rows(seed: int = 1, count: int = 1500) -> TaughtRows:
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(count, 3)).astype(np.float32)
    numeric[rng.random((count, 3)) < 0.1] = np.nan
    category = rng.integers(0, 6, (count, 1))
    margin = (
        np.nan_to_num(numeric[:, 0] - numeric[:, 1] * (numeric[:, 2] > 0))
        + np.array([0, 0, 1, -1, 2, -2])[category[:, 0]]
    )
    outcome = (rng.random(count) < 1 / (1 + np.exp(-margin))).astype(np.float32)
    return TaughtRows(Inputs(numeric, category), outcome, margin.astype(np.float32))


@functools.cache
def forest(**settings: Any) -> Forest:
    return fit_forest(rows(), rows(2, 400), FIELDS, config=ForestConfig(trees=60, **settings), loss=LOSS, seed=3)


def odd_inputs() -> Inputs:
    """Return rows with nothing known, infinities, extremes and the very thresholds of the trees."""
    made = forest()
    at = made.threshold[made.feature == 0][:50]
    near = np.concatenate([at, np.nextafter(at, np.float32(-np.inf)), np.nextafter(at, np.float32(np.inf))])
    special = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, -0.0, 1e-40], dtype=np.float32)
    values = np.concatenate([near, special])
    return Inputs(
        np.stack([values, values[::-1], np.full_like(values, np.nan)], axis=1), (np.arange(values.size) % 6)[:, None]
    )


@given(number=st.floats(allow_nan=False, allow_infinity=True), other=st.floats(allow_nan=False, width=32))
def test_a_rounded_threshold_sends_every_float32_the_same_way(number, other):
    low = floor32(np.array([number]))[0]
    assert low.dtype == np.float32
    with np.errstate(over="ignore"):
        above = np.nextafter(low, np.float32(np.inf))
    for value in (np.float32(other), low, above, np.float32(-np.inf)):
        assert (float(value) <= number) == (value <= low)


def test_trees_are_those_that_lightgbm_fitted_to_the_leaf():
    lesson = rows()
    matrix = ranked_matrix(lesson.inputs, ranked_levels(lesson.inputs, LOSS.wanted(lesson), FIELDS), FIELDS)
    data = lgb.Dataset(matrix, lesson.targets, params={"verbosity": -1})
    booster = lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1, "num_leaves": 25}, data, 80)
    made = forest_of(booster.dump_model(), base=0.0, orders=np.zeros(6, np.float32))
    odd = odd_inputs().matrix()
    # LightGBM's own prediction takes what is nearer to zero than 1e-35 for zero.
    odd = odd[(np.isnan(odd) | (np.abs(odd) > 2e-35) | (odd == 0)).all(axis=1)]
    for part in (matrix, odd):
        expected = booster.predict(part, raw_score=True, num_threads=1)
        # What differs is the leaves' rounding to the grid of 80 trees, not a leaf.
        assert np.abs(made.logits(part) - expected).max() < 80 * 2.0**-20
    assert made.trees == 80
    assert made.parameters == 80 * (2 * 24 + 25)


def test_the_graph_gives_the_forest_to_the_bit_in_any_batch_and_on_any_number_of_threads():
    made = forest()
    graph = forest_graph(made, FIELDS, Calibration())
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    for inputs in (rows().inputs, odd_inputs()):
        expected = made.logits(made.matrix(inputs, FIELDS))
        feed: dict[str, Any] = {"numeric": inputs.numeric, "category": inputs.category}
        for threads in (1, 2):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            (logits,) = session.run(("logit",), feed)
            assert np.array_equal(logits, expected)
            for row in range(0, inputs.rows, 97):
                (alone,) = session.run(("logit",), {name: values[row : row + 1] for name, values in feed.items()})
                assert np.array_equal(alone, expected[row : row + 1])
    assert GraphSession(graph).probability(rows().inputs.take(slice(0, 0))).shape == (0,)


def test_no_order_of_the_trees_changes_a_bit():
    made = forest()
    order = np.random.default_rng(0).permutation(made.trees)
    matrix = made.matrix(rows().inputs, FIELDS)
    shuffled = replace(made, starts=made.starts[order])
    assert np.array_equal(made.logits(matrix), shuffled.logits(matrix))


def test_trees_rank_like_their_teacher_and_equal_arguments_give_equal_trees():
    fresh = rows(9)
    again = fit_forest(rows(), rows(2, 400), FIELDS, config=ForestConfig(trees=60), loss=LOSS, seed=3)
    logits = forest().logits(forest().matrix(fresh.inputs, FIELDS))
    assert np.array_equal(logits, again.logits(again.matrix(fresh.inputs, FIELDS)))
    assert fresh.teacher is not None
    assert auc(fresh.targets, logits) > auc(fresh.targets, fresh.teacher) - 0.02
    other = fit_forest(rows(), rows(2, 400), FIELDS, config=ForestConfig(trees=60), loss=LOSS, seed=4)
    assert not np.array_equal(logits, other.logits(other.matrix(fresh.inputs, FIELDS)))


def test_levels_rank_by_what_their_rows_should_be_given_and_unknown_ones_stand_in_the_middle():
    lesson = rows()
    ranks = ranked_levels(lesson.inputs, LOSS.wanted(lesson), FIELDS)
    assert ranks[4] == ranks.max()
    assert ranks[5] == ranks.min()
    seen = lesson.inputs.category[:, 0] != 1
    unseen = ranked_levels(lesson.inputs.take(seen), LOSS.wanted(lesson)[seen], FIELDS)
    assert unseen.min() < unseen[1] < unseen.max()


@pytest.mark.parametrize("case", ["one column that never varies", "no numbers", "no categories"])
def test_forests_of_odd_tables_export(case):
    whole = rows()
    if case == "no numbers":
        fields = Fields((), FIELDS.category)
        inputs = Inputs(np.empty((whole.rows, 0), np.float32), whole.inputs.category)
    elif case == "no categories":
        fields = Fields(FIELDS.numeric, ())
        inputs = Inputs(whole.inputs.numeric, np.empty((whole.rows, 0), np.int64))
    else:
        fields = Fields(FIELDS.numeric[:1], ())
        inputs = Inputs(np.ones((whole.rows, 1), np.float32), np.empty((whole.rows, 0), np.int64))
    lesson = TaughtRows(inputs, whole.targets, whole.teacher)
    made = fit_forest(lesson, lesson, fields, config=ForestConfig(trees=5), loss=LOSS, seed=1)
    session = onnxruntime.InferenceSession(forest_graph(made, fields, Calibration()))
    feed = {entry.name: getattr(inputs, entry.name) for entry in session.get_inputs()}
    assert np.array_equal(session.run(("logit",), feed)[0], made.logits(made.matrix(inputs, fields)))


def test_a_table_without_columns_is_refused():
    whole = rows()
    inputs = Inputs(np.empty((whole.rows, 0), np.float32), np.empty((whole.rows, 0), np.int64))
    lesson = TaughtRows(inputs, whole.targets, whole.teacher)
    with pytest.raises(ModelError, match="at least one feature"):
        fit_forest(lesson, lesson, Fields((), ()), config=ForestConfig(), loss=LOSS, seed=1)


def test_a_saved_forest_comes_back_equal(tmp_path):
    forest().save(tmp_path)
    again = Forest.load(tmp_path, FIELDS)
    matrix = forest().matrix(odd_inputs(), FIELDS)
    assert np.array_equal(again.logits(matrix), forest().logits(matrix))
    assert forest().depth == again.depth > 1


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("left", lambda a: np.zeros_like(a), "points outside"),
        ("right", lambda a: a + 10**6, "points outside"),
        ("starts", lambda a: a - 1, "points outside"),
        ("feature", lambda a: np.where(a >= 0, 9, a), "column that is not there"),
        ("value", lambda a: a * np.float32(np.nan), "not finite"),
        ("threshold", lambda a: a[:-1], "'threshold' of its forest has"),
        ("orders", lambda a: a[:-1], "'orders' of its forest has"),
        ("base", lambda a: a.astype(np.float64), "'base' of its forest has"),
        ("value", None, "not what a saved forest writes"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, name, change, why):
    forest().save(tmp_path)
    arrays = load_file(tmp_path / "forest.safetensors")
    if change is None:
        del arrays[name]
    else:
        arrays[name] = np.ascontiguousarray(change(arrays[name]))
    save_file(arrays, tmp_path / "forest.safetensors")
    with pytest.raises(ValueError, match=why):
        Forest.load(tmp_path, FIELDS)


def test_a_file_that_is_cut_is_refused(tmp_path):
    forest().save(tmp_path)
    file = tmp_path / "forest.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match="not what a saved forest writes"):
        Forest.load(tmp_path, FIELDS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trees": 0}, "trees.trees must lie"),
        ({"leaves": 1}, "trees.leaves in 2"),
        ({"learning_rate": 0.0}, "trees.learning_rate"),
        ({"share": 1.5}, "trees.share"),
        ({"min_rows": 0}, "trees.min_rows"),
        ({"patience": 0}, "trees.patience"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ForestConfig(**settings)
