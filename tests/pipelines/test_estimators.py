"""The scikit-learn estimators: scikit-learn's own checks, and what only ours promise."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from lightgbm import LGBMClassifier
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import leanrisk
from leanrisk.core.errors import ConfigError, DataError, OutputError
from leanrisk.core.schema import Kind
from leanrisk.evaluate.delong import auc_difference, auc_interval
from leanrisk.pipelines.lean_fit import Effort
from leanrisk.registry.bundle import Bundle


@parametrize_with_checks([leanrisk.LeanRiskClassifier(), leanrisk.LeanRiskRegressor()])
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


QUICK: dict[str, Any] = {"trials": 1, "copies": 1, "epochs": 3}
"""Settings for tests that ask how a fit behaves, not how good it is."""


def quick(**settings: Any) -> leanrisk.LeanRiskClassifier:
    return leanrisk.LeanRiskClassifier(**{**QUICK, **settings})


def loans(rows: int, *, seed: int) -> pl.DataFrame:
    """Loans with numbers, gaps, a flag, a date and two categories; `risk` is what their outcome depends on."""
    rng = np.random.default_rng(seed)
    income = rng.lognormal(10, 0.7, rows).round(2)
    age = rng.integers(18, 80, rows)
    sector = rng.choice(["farm", "shop", "mill"], rows)
    risk = -1.2 * (np.log(income) - 10) + 1.5 * (sector == "mill") + 0.02 * (age - 45)
    return pl.DataFrame(
        {
            "income": pl.Series(income).set(pl.Series(rng.random(rows) < 0.1), None),
            "age": age,
            "owns home": rng.random(rows) < 0.5,
            "opened": pl.Series(np.datetime64("2015-01-01") + rng.integers(0, 2000, rows)).cast(pl.Date),
            "sector": sector,
            "region": pl.Series(rng.choice(["north", "south"], rows).tolist()).set(
                pl.Series(rng.random(rows) < 0.2), None
            ),
            "risk": risk,
        }
    )


def outcomes(frame: pl.DataFrame, *, seed: int) -> np.ndarray:
    chance = 1 / (1 + np.exp(-frame["risk"].to_numpy() + 0.5))
    return np.where(np.random.default_rng(seed).random(frame.height) < chance, "late", "fine").astype(object)


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return loans(800, seed=1)


@pytest.fixture(scope="module")
def fresh() -> pl.DataFrame:
    return loans(700, seed=2)


@pytest.fixture(scope="module")
def classifier(table) -> leanrisk.LeanRiskClassifier:
    return leanrisk.LeanRiskClassifier().fit(table.drop("risk"), outcomes(table, seed=1))


def numbers(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.col("income", "age").cast(pl.Float64))


def test_it_learns_what_there_is_to_learn(classifier):
    large = loans(4000, seed=3)
    late = (outcomes(large, seed=3) == "late").astype(float)
    chance = classifier.predict_proba(large.drop("risk"))
    assert classifier.classes_.tolist() == ["fine", "late"]
    assert auc_interval(late, chance[:, 1]).lo > 0.7
    assert abs(chance[:, 1].mean() - late.mean()) < 0.08
    assert set(classifier.predict(large.drop("risk"))) == {"fine", "late"}


def test_predictions_agree_with_each_other(classifier, fresh):
    rows = fresh.drop("risk")
    chance, odds = classifier.predict_proba(rows), classifier.decision_function(rows)
    assert np.array_equal(classifier.predict(rows), classifier.classes_[(odds > 0).astype(int)])
    assert np.array_equal(np.argsort(odds, kind="stable"), np.argsort(chance[:, 1], kind="stable"))
    assert np.allclose(1 / (1 + np.exp(-odds)), chance[:, 1])
    assert np.isfinite(odds).all()


def test_every_kind_of_table_gives_equal_predictions(table, fresh):
    rows, y = table.drop("risk"), outcomes(table, seed=1)
    expected = quick().fit(rows, y).predict_proba(fresh.drop("risk"))
    for convert in (pl.DataFrame.to_pandas, pl.DataFrame.to_arrow, pl.DataFrame.lazy, lambda f: f.to_dict()):
        # A mapping's columns are Series; the estimator reads whichever it is handed, at fit and at predict.
        again = quick().fit(convert(rows), pd.Series(y))
        assert np.array_equal(again.predict_proba(convert(fresh.drop("risk"))), expected)
        assert again.feature_names_in_.tolist() == rows.columns


def test_arrays_and_tables_of_the_same_numbers_give_equal_predictions(table, fresh):
    y = outcomes(table, seed=1)
    by_array = quick().fit(numbers(table).to_numpy(), y)
    by_table = quick().fit(numbers(table), y)
    assert not hasattr(by_array, "feature_names_in_")
    expected = by_array.predict_proba(numbers(fresh).to_numpy())
    assert np.array_equal(by_table.predict_proba(numbers(fresh)), expected)
    assert np.array_equal(by_array.predict_proba(numbers(fresh).to_numpy().tolist()), expected)
    with pytest.warns(UserWarning, match="valid feature names"):
        by_position = by_table.predict_proba(numbers(fresh).to_numpy())
    assert np.array_equal(by_position, expected)
    unnamed = pd.DataFrame(numbers(fresh).to_numpy())
    assert np.array_equal(by_array.predict_proba(unnamed), expected)


def test_kinds_follow_the_types_of_a_table(classifier, table, fresh):
    kinds = {column.name: column.kind for column in classifier.schema_.columns}
    assert [kinds[name] for name in ("income", "owns home", "opened", "sector", "region")] == [
        Kind.NUMERIC,
        Kind.NUMERIC,
        Kind.DATE,
        Kind.CATEGORY,
        Kind.CATEGORY,
    ]
    # pandas' `category` is one whatever it holds.
    frame = table.drop("risk").to_pandas().astype({"age": "category", "region": "category"})
    coded = quick().fit(frame, outcomes(table, seed=1))
    assert coded.schema_["age"].kind is Kind.CATEGORY
    assert coded.predict_proba(fresh.drop("risk").to_pandas()).shape == (fresh.height, 2)


def test_categories_unseen_and_missing_values_are_scored(classifier, fresh):
    odd = fresh.drop("risk").with_columns(sector=pl.lit("mine"), region=pl.lit(None, pl.String), income=None, age=None)
    chance = classifier.predict_proba(odd)
    assert np.isfinite(chance).all()
    assert ((chance >= 0) & (chance <= 1)).all()
    gaps = numbers(fresh).to_numpy().copy()
    gaps[::3] = np.nan
    plain = quick().fit(gaps, np.arange(len(gaps)) % 2)
    assert np.isfinite(plain.predict_proba(gaps)).all()


def test_a_gap_is_itself_information():
    rng = np.random.default_rng(0)
    y = np.arange(600) % 2
    X = rng.normal(size=(600, 2))
    X[(y == 1) & (rng.random(600) < 0.8), 0] = np.nan
    assert leanrisk.LeanRiskClassifier().fit(X, y).score(X, y) > 0.8


def test_equal_random_states_give_equal_predictions_and_others_other_ones(table, fresh):
    rows, y = numbers(table), outcomes(table, seed=1)

    def chance(state: Any) -> np.ndarray:
        return quick(random_state=state).fit(rows, y).predict_proba(numbers(fresh))

    assert np.array_equal(chance(7), chance(7))
    assert not np.array_equal(chance(7), chance(8))
    assert np.array_equal(chance(np.random.RandomState(7)), chance(np.random.RandomState(7)))


def test_a_fit_leaves_the_process_as_it_was(table):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    # scikit-learn's own convention draws from this state where random_state is None; ours is fixed.
    drawn: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    quick().fit(numbers(table), outcomes(table, seed=1))
    assert torch.equal(before, torch.get_rng_state())
    now: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    assert np.array_equal(drawn["state"]["key"], now["state"]["key"])
    assert threads == torch.get_num_threads()


def test_it_works_inside_a_pipeline(table):
    model = make_pipeline(SimpleImputer(strategy="median"), quick(copies=3, epochs=6))
    late = (outcomes(table, seed=1) == "late").astype(int)
    scores = cross_val_score(model, numbers(table).to_numpy(), late, cv=3, scoring="roc_auc", error_score="raise")
    assert scores.shape == (3,)
    assert scores.mean() > 0.6


def test_copies_and_pickles_predict_the_same(classifier, fresh):
    rows = fresh.drop("risk")
    expected = classifier.predict_proba(rows)
    for again in (pickle.loads(pickle.dumps(classifier)), copy.deepcopy(classifier)):
        assert np.array_equal(again.predict_proba(rows), expected)


def test_a_bundle_gives_the_same_bits(classifier, fresh, tmp_path):
    rows = fresh.drop("risk")
    written = classifier.to_bundle(tmp_path / "bundle")
    loaded = Bundle.load(tmp_path / "bundle")
    expected = classifier.predict_proba(rows)[:, 1].astype(np.float32)
    for bundle in (written, loaded):
        for one in (rows, rows.to_pandas(), rows.to_arrow(), rows.select(reversed(rows.columns))):
            scores = bundle.score(one)
            assert scores.dtype == np.float32
            assert np.array_equal(scores, expected)
    assert loaded.record(rows.to_dicts()[5]) == float(expected[5])
    assert sorted(loaded.features) == sorted(rows.columns)
    card = (tmp_path / "bundle" / "card.json").read_text()
    assert '"probability_of": "late"' in card


def test_a_bundle_of_an_array_names_its_columns_by_position(table, fresh, tmp_path):
    model = leanrisk.LeanRiskRegressor(**QUICK).fit(numbers(table).to_numpy(), table["risk"].to_numpy())
    bundle = model.to_bundle(str(tmp_path / "bundle"))
    values = numbers(fresh).to_numpy()
    named = pl.DataFrame({"x0": values[:, 0], "x1": values[:, 1]})
    assert np.array_equal(bundle.score(named), model.predict(values).astype(np.float32))


def test_categories_alone_are_enough(table, fresh, tmp_path):
    names = ["sector", "region"]
    model = quick().fit(table.select(names), outcomes(table, seed=1))
    chance = model.predict_proba(fresh.select(names))[:, 1].astype(np.float32)
    assert np.array_equal(model.to_bundle(tmp_path / "bundle").score(fresh.select(names)), chance)


def test_a_column_may_bear_any_name(table, tmp_path):
    odd = numbers(table).rename({"income": "target", "age": "self"})
    model = quick().fit(odd, outcomes(table, seed=1))
    assert model.schema_.target == "target_"
    assert np.array_equal(model.to_bundle(tmp_path / "b").score(odd), model.predict_proba(odd)[:, 1].astype(np.float32))


def test_amounts_are_predicted_in_their_own_unit(table, fresh):
    truth = 1e6 + 2e4 * table["risk"].to_numpy()
    model = leanrisk.LeanRiskRegressor().fit(table.drop("risk"), truth)
    wanted = 1e6 + 2e4 * fresh["risk"].to_numpy()
    assert model.score(fresh.drop("risk"), wanted) > 0.6
    assert abs(model.predict(fresh.drop("risk")).mean() - wanted.mean()) < 0.2 * wanted.std()


def test_a_constant_amount_is_learned(table):
    model = leanrisk.LeanRiskRegressor().fit(numbers(table), np.full(table.height, 12.5))
    assert np.allclose(model.predict(numbers(table)), 12.5, atol=0.2)


@pytest.mark.parametrize("rows", [4, 7, 20, 60])
def test_tiny_tables_are_fitted(rows):
    X = np.random.default_rng(rows).normal(size=(rows, 2))
    y = np.arange(rows) % 2
    assert np.isfinite(leanrisk.LeanRiskClassifier().fit(X, y).predict_proba(X)).all()
    assert np.isfinite(leanrisk.LeanRiskRegressor().fit(X, X[:, 0]).predict(X)).all()


def test_effort_follows_the_rows():
    effort = Effort(trials=10)
    assert [effort.search(rows).trials for rows in (20, 399, 400, 1000, 10_000)] == [1, 1, 2, 5, 10]
    assert [effort.distill(rows).classroom.copies for rows in (4, 20, 100, 1000, 10_000)] == [3, 10, 40, 4, 3]
    assert [effort.distill(rows).training.batch for rows in (4, 20, 100, 10_000)] == [16, 27, 256, 256]
    assert Effort(copies=0).distill(100).classroom.copies == 0


def test_it_ranks_no_worse_than_the_trees_a_notebook_would_try_first():
    X, y = interactions(1000, seed=1)
    fresh, truth = interactions(6000, seed=99)
    lean = leanrisk.LeanRiskClassifier().fit(X, y).predict_proba(fresh)[:, 1]
    forest = LGBMClassifier(n_estimators=60, learning_rate=0.05, n_jobs=1, verbose=-1)
    trees = np.asarray(forest.fit(pd.DataFrame(X), y).predict_proba(pd.DataFrame(fresh)))[:, 1]
    assert auc_difference(truth, trees, lean).lo > -0.02


def interactions(rows: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 8))
    margin = 1.2 * X[:, 0] * (X[:, 1] > 0) + X[:, 2] - 0.7 * np.abs(X[:, 3]) - 0.5
    return X, (rng.random(rows) < 1 / (1 + np.exp(-margin))).astype(int)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["good", "bad", "ugly"], "Only binary classification is supported. The type of the target is multiclass."),
        (["good"], "only one class, 'good'"),
        (["good"] * 39 + ["bad"], "at least 2 rows: class 'bad' has 1"),
    ],
)
def test_labels_that_are_not_two_classes_are_refused(labels, message):
    X = np.zeros((40, 1))
    with pytest.raises(ValueError, match=message):
        quick().fit(X, np.resize(np.array(labels, dtype=object), 40))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"preset": "huge"}, "preset must be one of tiny, swift, mid, base: it is 'huge'"),
        ({"trials": 0}, "trials must be at least 1"),
        ({"folds": 1}, "folds must lie in 2..20: it is 1"),
        ({"copies": 99}, "copies must lie in 0..50: it is 99"),
        ({"epochs": 0}, "epochs"),
        ({"threads": 0}, "threads"),
        ({"valid_share": 1.5}, "valid_share must lie in"),
    ],
)
def test_parameters_out_of_range_are_refused(table, setting, message):
    with pytest.raises(ConfigError, match=message):
        quick(**setting).fit(numbers(table), outcomes(table, seed=1))


def test_columns_that_no_model_reads_are_all_named(table):
    odd = table.with_columns(tags=pl.lit([1, 2]).implode(), spell=pl.lit(3).cast(pl.Duration("us")))
    with pytest.raises(DataError) as caught:
        quick().fit(odd, outcomes(table, seed=1))
    assert [fault.column for fault in caught.value.faults] == ["tags", "spell"]
    infinite = numbers(table).with_columns(income=float("inf"))
    with pytest.raises(DataError, match="'income'.*infinite"):
        quick().fit(infinite, outcomes(table, seed=1))


def test_a_table_to_score_must_be_like_the_one_learned_from(classifier, fresh):
    rows = fresh.drop("risk")
    with pytest.raises(ValueError, match="feature names should match"):
        classifier.predict(rows.rename({"age": "years"}))
    with pytest.raises(ValueError, match="must be in the same order"):
        classifier.predict(rows.select(reversed(rows.columns)))
    with pytest.raises(DataError, match="'age'.*text"):
        classifier.predict(rows.with_columns(age=pl.lit("forty")))
    with pytest.raises(ValueError, match="0 sample"):
        classifier.predict(rows.head(0))
    with pytest.raises(DataError, match="not-a-table"):
        classifier.predict(rows.to_pandas()["age"])


def test_an_unfitted_one_has_nothing_to_deploy(tmp_path):
    with pytest.raises(NotFittedError):
        leanrisk.LeanRiskClassifier().to_bundle(tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_never_takes_the_place_of_something_else(classifier, tmp_path):
    (tmp_path / "notes.txt").write_text("years of work")
    with pytest.raises(OutputError, match="holds something else"):
        classifier.to_bundle(tmp_path)
    with pytest.raises(OutputError, match="holds something else"):
        classifier.to_bundle(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "years of work"


def test_no_warning_reaches_a_notebook(table, fresh):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        leanrisk.LeanRiskRegressor(epochs=1).fit(table.drop("risk"), table["risk"]).predict(fresh.drop("risk"))
