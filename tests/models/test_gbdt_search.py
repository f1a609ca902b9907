"""The full routine of the LightGBM incumbent: search, folds, out-of-fold scores."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.inputs import CategoryField, Fields, Inputs, NumericField
from leanrisk.core.metrics import log_losses
from leanrisk.evaluate.delong import auc_difference, auc_interval
from leanrisk.models.folds import make_folds
from leanrisk.models.gbdt_fit import refit_gbdt
from leanrisk.models.gbdt_search import GbdtConfig, GbdtFit, train_gbdt_full
from tests.models.loans import READING, small_book, small_fields

QUICK = GbdtConfig(trials=6, folds=3, max_rounds=150, patience=15, threads=1)


def tuned(book, *, seed=1, config=QUICK, **options) -> GbdtFit:
    labels = book["bad"].to_numpy().astype(np.float32)
    return train_gbdt_full(READING.frame(book), labels, small_fields(), READING, config=config, seed=seed, **options)


@pytest.fixture(scope="module")
def book():
    return small_book(2000, seed=11)


@pytest.fixture(scope="module")
def fit(book) -> GbdtFit:
    return tuned(book)


def test_tuned_model_is_no_worse_than_the_defaults(book, fit):
    labels = book["bad"].to_numpy().astype(np.float32)
    default = refit_gbdt(READING.frame(book), labels, small_fields(), READING, params={}, rounds=100, seed=1, threads=1)
    fresh = small_book(6000, seed=12)
    flags, before, after = fresh["bad"].to_numpy(), default.predict(fresh), fit.model.predict(fresh)
    assert auc_difference(flags, before, after).lo > -0.005
    gain = log_losses(flags == 1, before) - log_losses(flags == 1, after)
    assert gain.mean() - 1.96 * gain.std(ddof=1) / np.sqrt(gain.size) > 0


def test_search_reports_what_it_did(fit):
    facts = fit.search
    assert facts.trials == QUICK.trials
    assert 0 <= facts.pruned < facts.trials
    assert facts.loss <= facts.default_loss
    assert facts.trees >= 3 * fit.rounds
    assert fit.rounds == fit.model.rounds
    assert 0.04 <= fit.params["learning_rate"] <= 0.15


def test_equal_seeds_give_equal_fits(book, fit):
    again, other = tuned(book), tuned(book, seed=2)
    assert again.model.text == fit.model.text
    assert again.params == fit.params
    assert np.array_equal(again.oof.margin, fit.oof.margin)
    assert not np.array_equal(other.oof.margin, fit.oof.margin)


def test_number_of_threads_changes_nothing(book, fit):
    together = tuned(book, config=replace(QUICK, threads=2))
    assert trees_of(together.model.text) == trees_of(fit.model.text)
    assert np.array_equal(together.oof.margin, fit.oof.margin)


def trees_of(text: str) -> str:
    return text.partition("end of trees")[0]


def test_refit_with_the_found_parameters_gives_the_same_model(book, fit):
    labels = book["bad"].to_numpy().astype(np.float32)
    again = refit_gbdt(
        READING.frame(book), labels, small_fields(), READING, params=fit.params, rounds=fit.rounds, seed=1, threads=1
    )
    assert again.text == fit.model.text


def test_out_of_fold_scores_agree_with_their_margins_and_rank_rows(book, fit):
    labels = book["bad"].to_numpy()
    assert fit.oof.margin.dtype == fit.oof.score.dtype == np.float32
    assert fit.oof.score.shape == (book.height,)
    assert np.allclose(fit.oof.score, 1 / (1 + np.exp(-fit.oof.margin)), atol=1e-6)
    assert auc_interval(labels, fit.oof.score).lo > 0.65
    assert not np.allclose(fit.oof.score, fit.model.predict(book), atol=1e-3)


def test_out_of_fold_scores_know_nothing_of_their_own_labels():
    """On labels that are pure noise a model can only remember; scores of rows it saw would give that away."""
    book = small_book(1500, seed=21, noise=True)
    labels = book["bad"].to_numpy()
    config = GbdtConfig(trials=1, folds=3, max_rounds=80, patience=80, threads=1)
    found = tuned(book, config=config)
    limits = auc_interval(labels, found.oof.score)
    assert limits.lo <= 0.5 <= limits.hi
    remembered = refit_gbdt(
        READING.frame(book), labels, small_fields(), READING, params=found.params, rounds=80, seed=1, threads=1
    )
    assert auc_interval(labels, remembered.predict(book)).lo > 0.7


@pytest.mark.parametrize("rows", [20, 60])
def test_small_tables_with_few_bads_are_tuned(rows):
    rng = np.random.default_rng(rows)
    inputs = Inputs(rng.normal(size=(rows, 1)).astype(np.float32), np.empty((rows, 0), np.int64))
    labels = np.zeros(rows, dtype=np.float32)
    labels[[0, rows // 2]] = 1
    fields = Fields((NumericField("a", (0.0, 1.0)),), ())
    fit = train_gbdt_full(inputs, labels, fields, READING, config=QUICK, seed=0)
    assert np.isfinite(fit.oof.margin).all()
    assert fit.rounds >= 1


def test_columns_that_say_nothing_are_no_obstacle():
    inputs = Inputs(np.full((60, 2), np.nan, np.float32), np.zeros((60, 1), np.int64))
    fields = Fields(tuple(NumericField(name, (0.0, 1.0)) for name in "ab"), (CategoryField("c", ("x",)),))
    labels = (np.arange(60) % 3 == 0).astype(np.float32)
    fit = train_gbdt_full(inputs, labels, fields, READING, config=QUICK, seed=0)
    assert fit.model.score(inputs) == pytest.approx(1 / 3, abs=1e-6)


def test_single_bad_row_is_refused():
    inputs = Inputs(np.zeros((9, 1), np.float32), np.empty((9, 0), np.int64))
    fields = Fields((NumericField("a", (0.0, 1.0)),), ())
    with pytest.raises(ModelError, match="at least 2 rows"):
        train_gbdt_full(inputs, np.eye(9)[0], fields, READING, config=QUICK, seed=0)


def test_regression_is_tuned_too():
    book = small_book(600, seed=31)
    inputs = READING.frame(book)
    truth = (np.nan_to_num(inputs.numeric[:, 1]) * 2).astype(np.float32)
    fit = train_gbdt_full(inputs, truth, small_fields(), READING, config=QUICK, seed=1, objective="regression")
    assert np.array_equal(fit.oof.margin, fit.oof.score)
    errors = (fit.oof.score - truth) ** 2
    gain = (truth - truth.mean()) ** 2 - errors
    assert gain.mean() - 1.96 * gain.std(ddof=1) / np.sqrt(gain.size) > 0
    assert np.corrcoef(fit.model.predict(small_book(50, seed=1)), small_book(50, seed=1)["debt"])[0, 1] > 0.9


def test_optuna_stays_quiet_and_its_level_is_put_back(book, caplog):
    level = optuna.logging.get_verbosity()
    with caplog.at_level(logging.INFO, logger="optuna"):
        tuned(book.head(200), config=GbdtConfig(trials=2, max_rounds=5, threads=1))
    assert [record for record in caplog.records if record.name.startswith("optuna")] == []
    assert optuna.logging.get_verbosity() == level


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"folds": 1}, {"patience": 0}, {"max_rounds": 0}, {"threads": 0}])
def test_senseless_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        GbdtConfig(**wrong)


@settings(max_examples=50, deadline=None)
@given(bads=st.integers(2, 40), goods=st.integers(2, 200), count=st.integers(2, 8), seed=st.integers(0, 9))
def test_folds_hold_every_row_out_once_and_share_bads_out_evenly(bads, goods, count, seed):
    labels = np.repeat([1.0, 0.0], [bads, goods]).astype(np.float32)
    folds = make_folds(labels, count, seed=seed, stratified=True)
    held = np.concatenate([fold.held for fold in folds])
    assert np.array_equal(np.sort(held), np.arange(labels.size))
    for fold in folds:
        assert not set(fold.held) & set(fold.rest)
        assert fold.held.size + fold.rest.size == labels.size
    shares = [int(labels[fold.held].sum()) for fold in folds]
    assert max(shares) - min(shares) <= 1
    assert min(shares) >= 1
