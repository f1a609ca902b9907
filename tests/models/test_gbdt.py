"""The LightGBM incumbent: one fit, its routes, its files."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import CategoryField, Fields, Inputs, NumericField
from leanrisk.evaluate.delong import auc_interval
from leanrisk.models.gbdt import Gbdt, Objective, load_gbdt
from leanrisk.models.gbdt_fit import refit_gbdt, safe_names, slim_gbdt
from leanrisk.models.gbdt_served import frame_classifier
from tests.models.loans import READING, records_of, small_book, small_fields

PARAMS = {"learning_rate": 0.1, "num_leaves": 15, "min_data_in_leaf": 10, "min_data_per_group": 10, "cat_smooth": 5.0}


@pytest.fixture(scope="module")
def book():
    return small_book(1500, seed=3)


@pytest.fixture(scope="module")
def model(book) -> Gbdt:
    inputs, labels = READING.frame(book), book["bad"].to_numpy().astype(np.float32)
    return refit_gbdt(inputs, labels, small_fields(), READING, params=PARAMS, rounds=40, seed=1, threads=1)


def test_fit_splits_categories_natively(model):
    assert "num_cat=0" not in model.text.split("Tree=")[1]
    assert set(model.importance()) == set(model.features)
    assert model.features == small_fields().names


def test_equal_arguments_give_equal_trees(book, model):
    inputs, labels = READING.frame(book), book["bad"].to_numpy().astype(np.float32)
    bagged = {**PARAMS, "bagging_fraction": 0.7, "bagging_freq": 1, "feature_fraction": 0.6}

    def text(seed: int) -> str:
        return refit_gbdt(inputs, labels, small_fields(), READING, params=bagged, rounds=10, seed=seed, threads=1).text

    assert text(5) == text(5)
    assert text(5) != text(6)


def test_routes_agree_with_predict_to_the_last_bit(model):
    fresh = small_book(300, seed=4, odd=True)
    scores = model.predict(fresh)
    usual, bare, compiled = model.usual(), model.bare(), model.compiled()
    for record, score in zip(records_of(fresh), scores, strict=True):
        row = model.bare_row(record)
        assert row.shape == (1, len(model.features))
        assert usual(record) == score
        assert bare(row) == score
        assert abs(compiled(row) - score) <= 1e-12
        assert compiled(row[0]) == compiled(row)
    assert scores.dtype == np.float64
    assert ((scores > 0) & (scores < 1)).all()


def test_two_single_row_calls_do_not_disturb_each_other(model):
    record = records_of(small_book(1, seed=9))[0]
    row, other = model.bare_row(record), np.zeros((1, len(model.features)), dtype=np.float32)
    first, second = model.compiled(), model.compiled()
    expected = first(row)
    second(other)
    del second
    assert first(row) == expected


def test_rebuilt_classifier_equals_a_fitted_one(book):
    inputs, labels = READING.frame(book), book["bad"].to_numpy()
    frame = pd.DataFrame(inputs.matrix(), columns=list(small_fields().names))
    fitted = lgb.LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1).fit(frame, labels)
    rebuilt = frame_classifier(fitted.booster_, binary=True)
    assert np.array_equal(fitted.predict_proba(frame), rebuilt.predict_proba(frame))
    regressor = lgb.LGBMRegressor(n_estimators=20, n_jobs=1, verbose=-1).fit(frame, labels)
    assert np.array_equal(regressor.predict(frame), frame_classifier(regressor.booster_, binary=False).predict(frame))


def test_unseen_and_missing_values_are_scored(model):
    empty = dict.fromkeys(model.features)
    unseen = {**empty, "sector": "a sector nobody has heard of"}
    for record in (empty, unseen, {}):
        score = model.compiled()(model.bare_row(record))
        assert 0 < score < 1
        assert score == model.usual()(record)


def test_saved_model_scores_the_same(model, tmp_path):
    model.save(tmp_path)
    again = load_gbdt(tmp_path, READING, threads=1)
    fresh = small_book(200, seed=8, odd=True)
    assert np.array_equal(again.predict(fresh), model.predict(fresh))
    assert again.features == model.features
    assert again.objective is Objective.BINARY
    on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())
    # The facts are indented on disk.
    assert model.size_bytes <= on_disk <= 2 * model.size_bytes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gbdt.json", "model.txt"]


def test_saved_model_that_was_cut_or_mixed_up_is_refused(model, tmp_path):
    model.save(tmp_path)
    facts = (tmp_path / "gbdt.json").read_text()
    (tmp_path / "gbdt.json").write_text(facts[: len(facts) // 2])
    with pytest.raises(ModelError, match="must be JSON"):
        load_gbdt(tmp_path, READING)
    (tmp_path / "gbdt.json").write_text('{"objective": "binary", "fields": {"numeric": [], "category": []}}')
    with pytest.raises(ModelError, match="must agree"):
        load_gbdt(tmp_path, READING)
    (tmp_path / "gbdt.json").write_text("[1]")
    with pytest.raises(ModelError, match="JSON object"):
        load_gbdt(tmp_path, READING)
    with pytest.raises(ModelError, match="readable"):
        load_gbdt(tmp_path / "nowhere", READING)


def test_contributions_add_up_to_the_margin(model):
    inputs = READING.frame(small_book(50, seed=2))
    assert np.allclose(model.contributions(inputs).sum(axis=1), model.margin(inputs), atol=1e-9)


def test_zero_rows_give_zero_scores(model):
    assert model.predict(small_book(5, seed=1).head(0)).shape == (0,)


def test_slim_ensemble_is_small_and_knows_something(book):
    inputs, labels = READING.frame(book), book["bad"].to_numpy().astype(np.float32)
    slim = slim_gbdt(inputs, labels, small_fields(), READING, seed=1, threads=1)
    assert slim.rounds <= 100
    fresh = small_book(3000, seed=77)
    assert auc_interval(fresh["bad"].to_numpy(), slim.predict(fresh)).lo > 0.6


def test_regression_predicts_values(tmp_path):
    book = small_book(1200, seed=6)
    inputs = READING.frame(book)
    truth = (np.nan_to_num(inputs.numeric[:, 0]) * 3 + 100).astype(np.float32)
    model = refit_gbdt(
        inputs, truth, small_fields(), READING, params=PARAMS, rounds=60, seed=1, objective="regression", threads=1
    )
    fresh = small_book(300, seed=7)
    wanted = np.nan_to_num(READING.frame(fresh).numeric[:, 0]) * 3 + 100
    found = model.predict(fresh)
    assert np.abs(found - wanted).mean() < 0.3 * np.abs(wanted - truth.mean()).mean()
    record = records_of(fresh)[0]
    assert model.usual()(record) == found[0]
    assert abs(model.compiled()(model.bare_row(record)) - found[0]) <= 1e-12 * abs(found[0])
    model.save(tmp_path)
    assert np.array_equal(load_gbdt(tmp_path, READING).predict(fresh), found)


@pytest.mark.parametrize(
    ("fields", "inputs"),
    [
        (
            Fields((NumericField("a", (0.0, 1.0)),), ()),
            Inputs(np.arange(20, dtype=np.float32)[:, None], np.empty((20, 0), np.int64)),
        ),
        (
            Fields((), (CategoryField("c", ("x", "y")),)),
            Inputs(np.empty((20, 0), np.float32), (np.arange(20) % 4)[:, None]),
        ),
        (
            Fields((NumericField("k", (0.0, 1.0)),), ()),
            Inputs(np.ones((20, 1), np.float32), np.empty((20, 0), np.int64)),
        ),
        (
            Fields((NumericField("n", (0.0, 1.0)),), ()),
            Inputs(np.full((20, 1), np.nan, np.float32), np.empty((20, 0), np.int64)),
        ),
    ],
    ids=["one number", "one category", "constant", "all missing"],
)
def test_tiny_tables_are_fitted(fields, inputs):
    labels = (np.arange(20) >= 15).astype(np.float32)
    model = refit_gbdt(inputs, labels, fields, READING, params=PARAMS, rounds=20, seed=0, threads=1)
    scores = model.score(inputs)
    assert np.isfinite(scores).all()
    assert model.compiled()(inputs.matrix()[:1]) == scores[0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(4), "both outcomes"),
        (np.array([0, 1, 2, 1]), "1 \\(bad\\) or 0 \\(good\\)"),
        (np.array([0, 1, np.nan, 1]), "finite"),
        (np.array([0, 1]), "one label per row"),
    ],
)
def test_labels_that_no_model_can_use_are_refused(labels, message):
    inputs = Inputs(np.zeros((4, 1), np.float32), np.empty((4, 0), np.int64))
    fields = Fields((NumericField("a", (0.0, 1.0)),), ())
    with pytest.raises(ModelError, match=message):
        refit_gbdt(inputs, labels, fields, READING, params={}, rounds=5, seed=0)


def test_a_table_without_features_is_refused():
    inputs = Inputs(np.empty((4, 0), np.float32), np.empty((4, 0), np.int64))
    with pytest.raises(ModelError, match="at least one feature"):
        refit_gbdt(inputs, np.array([0, 1, 0, 1]), Fields((), ()), READING, params={}, rounds=5, seed=0)


def test_names_that_lightgbm_cannot_hold_are_made_safe():
    assert safe_names(("a b", "收入", 'q"[1]')) == ["a_b", "收入", "q__1_"]
    assert len(set(safe_names(("a b", "a_b", "a:b")))) == 3


def test_odd_column_names_survive_training_and_saving(tmp_path):
    names = ("loan amount", "loan_amount", "收入:月", "x=1")
    inputs = Inputs(np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32), np.empty((80, 0), np.int64))
    labels = (inputs.numeric[:, 0] > 0).astype(np.float32)
    fields = Fields(tuple(NumericField(name, (0.0, 1.0)) for name in names), ())
    model = refit_gbdt(inputs, labels, fields, READING, params=PARAMS, rounds=10, seed=0, threads=1)
    model.save(tmp_path)
    assert load_gbdt(tmp_path, READING).features == names


def test_frames_are_read_by_column_name(model):
    fresh = small_book(40, seed=5)
    assert np.array_equal(model.predict(fresh.select(reversed(fresh.columns))), model.predict(fresh))
