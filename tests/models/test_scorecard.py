"""The WOE scorecard: equal to optbinning, plain on disk, explainable by points."""

from __future__ import annotations

import json

import numpy as np
import pytest

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.inputs import CategoryField, Fields, Inputs, NumericField
from leanrisk.core.metrics import auc
from leanrisk.evaluate.delong import auc_interval
from leanrisk.models.scorecard import PointScale, Scorecard, load_scorecard
from leanrisk.models.scorecard_fit import (
    Logistic,
    ScorecardConfig,
    category_text,
    fit_logistic,
    frozen,
    train_scorecard,
)
from tests.models.loans import READING, records_of, small_book, small_fields

CONFIG = ScorecardConfig(min_iv=0.0)


@pytest.fixture(scope="module")
def book():
    return small_book(2500, seed=41)


@pytest.fixture(scope="module")
def fitted(book) -> Logistic:
    labels = book["bad"].to_numpy().astype(np.float32)
    return fit_logistic(READING.frame(book), labels, small_fields(), CONFIG)


@pytest.fixture(scope="module")
def card(fitted) -> Scorecard:
    return frozen(fitted, PointScale(), small_fields(), READING)


def optbinning_scores(fitted: Logistic, inputs: Inputs) -> np.ndarray:
    """Score with optbinning's own transforms and scikit-learn's own `predict_proba`."""
    first, columns = inputs.numeric.shape[1], []
    for entry in fitted.columns:
        values = (
            inputs.numeric[:, entry.column].astype(np.float64)
            if entry.column < first
            else category_text(inputs.category[:, entry.column - first].astype(np.float64))
        )
        how = {"metric": "woe", "metric_special": "empirical", "metric_missing": "empirical"}
        columns.append(entry.binning.transform(values, **how))
    return np.asarray(fitted.model.predict_proba(np.stack(columns, axis=1))[:, 1])


def test_frozen_card_equals_optbinning(fitted, card):
    for fresh in (small_book(2000, seed=42), small_book(2000, seed=43, odd=True)):
        inputs = READING.frame(fresh)
        assert np.abs(card.score(inputs) - optbinning_scores(fitted, inputs)).max() <= 1e-9


def test_special_code_and_missing_have_bins_of_their_own(card):
    age = next(entry for entry in card.characteristics if entry.name == "age")
    assert age.codes == (-9.0,)
    labels = [attribute.label for attribute in age.attributes]
    assert labels[-2:] == ["code -9", "missing"]
    assert age.attributes[-2].rows > 100
    assert age.places(np.array([-9.0, np.nan])).tolist() == [len(labels) - 2, len(labels) - 1]


def test_card_learns_what_matters(card):
    fresh = small_book(4000, seed=44)
    assert auc_interval(fresh["bad"].to_numpy(), card.predict(fresh)).lo > 0.7
    assert {"income", "sector"} <= set(card.features)
    assert all(entry.coefficient < 0 for entry in card.characteristics)


def test_points_are_the_log_odds_on_another_scale(card):
    inputs = READING.frame(small_book(300, seed=45))
    totals = card.points(inputs).sum(axis=1)
    scale = card.scale
    assert np.allclose(totals, scale.offset - scale.factor * card.margin(inputs), atol=1e-8)
    assert np.isclose(scale.offset + scale.factor * np.log(scale.base_odds), scale.base_points)
    shortfalls = card.shortfalls(inputs)
    assert shortfalls.min() >= 0
    assert shortfalls.shape == (300, len(card.features))


def test_numeric_bins_are_monotonic(card):
    for entry in card.characteristics:
        if entry.bins is None:
            steps = np.diff(entry.woe[: len(entry.splits) + 1])
            assert (steps >= 0).all() or (steps <= 0).all()


def test_routes_agree_with_predict(card):
    fresh = small_book(200, seed=46, odd=True)
    scores = card.predict(fresh)
    usual, bare = card.usual(), card.bare()
    for record, score in zip(records_of(fresh), scores, strict=True):
        assert usual(record) == pytest.approx(score, abs=1e-12)
        assert bare(card.bare_row(record)) == pytest.approx(score, abs=1e-12)
    assert card.compiled() is None
    assert card.compiled_note


def test_saved_card_scores_the_same_and_is_plain(card, tmp_path):
    card.save(tmp_path)
    again = load_scorecard(tmp_path, READING)
    fresh = small_book(500, seed=47, odd=True)
    assert np.array_equal(again.predict(fresh), card.predict(fresh))
    plain = json.loads((tmp_path / "scorecard.json").read_text())
    assert plain["scale"] == {"pdo": 20.0, "base_points": 600.0, "base_odds": 50.0}
    assert [entry["name"] for entry in plain["characteristics"]] == list(card.features)
    assert card.size_bytes > 500


def test_altered_card_is_refused(card, tmp_path):
    for alter in (
        lambda plain: plain.pop("intercept"),
        lambda plain: plain["characteristics"][0]["attributes"].pop(),
        lambda plain: plain["characteristics"][0].update(name="nobody"),
        lambda plain: plain["characteristics"][0].update(coefficient="x"),
    ):
        plain = card.to_dict()
        plain = json.loads(json.dumps(plain))
        alter(plain)
        (tmp_path / "scorecard.json").write_text(json.dumps(plain))
        with pytest.raises(ModelError, match="Train it anew"):
            load_scorecard(tmp_path, READING)


def test_out_of_fold_scores_of_noise_hold_no_knowledge():
    book = small_book(1200, seed=51, noise=True)
    labels = book["bad"].to_numpy()
    fit = train_scorecard(READING.frame(book), labels, small_fields(), READING, config=CONFIG, seed=1)
    limits = auc_interval(labels, fit.oof.score)
    assert limits.lo <= 0.5 <= limits.hi
    assert auc(labels, fit.model.predict(book)) > 0.5


def test_equal_seeds_give_equal_cards():
    book = small_book(400, seed=52)
    labels = book["bad"].to_numpy()

    def trained() -> tuple[dict, np.ndarray]:
        fit = train_scorecard(READING.frame(book), labels, small_fields(), READING, seed=3)
        return fit.model.to_dict(), fit.oof.margin

    (card, margin), (again, margin_again) = trained(), trained()
    assert card == again
    assert np.array_equal(margin, margin_again)


def test_weak_columns_are_left_out_but_never_all():
    book = small_book(1500, seed=53)
    labels = book["bad"].to_numpy().astype(np.float32)
    strict = fit_logistic(READING.frame(book), labels, small_fields(), ScorecardConfig(min_iv=0.1))
    assert "age" not in {entry.frozen.name for entry in strict.columns}
    none = fit_logistic(READING.frame(book), labels, small_fields(), ScorecardConfig(min_iv=50.0))
    assert len(none.columns) == 1


def test_small_and_odd_tables_get_a_card():
    rng = np.random.default_rng(0)
    numeric = np.stack([rng.normal(size=60), np.full(60, 7.0), np.where(np.arange(60) % 3, -9.0, np.nan)], axis=1)
    inputs = Inputs(numeric.astype(np.float32), np.stack([np.arange(60) % 3, np.zeros(60)], axis=1).astype(np.int64))
    fields = Fields(
        (NumericField("a", (0.0, 1.0)), NumericField("k", (0.0, 1.0)), NumericField("s", (0.0, 1.0), (-9.0,))),
        (CategoryField("c", ("x",)), CategoryField("z", ("x",))),
    )
    labels = (np.arange(60) % 7 == 0).astype(np.float32)
    fit = train_scorecard(inputs, labels, fields, READING, config=CONFIG, seed=0)
    assert np.isfinite(fit.oof.margin).all()
    assert "k" not in fit.model.features
    assert "z" not in fit.model.features


def test_a_table_where_nothing_varies_is_refused():
    inputs = Inputs(np.ones((20, 1), np.float32), np.empty((20, 0), np.int64))
    labels = (np.arange(20) % 2).astype(np.float32)
    with pytest.raises(ModelError, match="two different values"):
        train_scorecard(inputs, labels, Fields((NumericField("k", (0.0, 1.0)),), ()), READING, seed=0)


def test_senseless_settings_are_refused():
    for wrong in ({"min_iv": -1.0}, {"most_bins": 1}, {"folds": 1}, {"ridge": 0.0}):
        with pytest.raises(ConfigError):
            ScorecardConfig(**wrong)
