"""Attributions over folds: how many trees answer, and what their error says."""

from dataclasses import replace

import numpy as np
import pytest

from leanrisk.models.folds import make_folds
from leanrisk.models.gbdt_attribution import Forest, attribution

ROWS = 900


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(ROWS, 4)).astype(np.float32)
    labels = (rng.random(ROWS) < 1 / (1 + np.exp(1.0 - 1.5 * matrix[:, 2]))).astype(np.float32)
    return matrix, labels


def asked(table, forest, count=3):
    matrix, labels = table
    folds = make_folds(labels, count, seed=1, stratified=True)
    return attribution(matrix, labels, folds, category=(), seed=1, forest=forest)


def test_a_number_of_trees_found_once_needs_no_held_out_rows_to_be_kept_to(table):
    agreed = asked(table, replace(Forest.restrained(), agreed=True))
    settled = asked(table, replace(Forest.restrained(), rounds=round(agreed.trees), patience=0))
    assert agreed.trees == settled.trees < Forest.restrained().rounds
    np.testing.assert_array_equal(agreed.margins, settled.margins)
    np.testing.assert_array_equal(agreed.importance, settled.importance)


def test_what_ranks_moves_the_score_most_and_no_row_is_left_out(table):
    found = asked(table, Forest.restrained())
    assert int(found.importance.argmax()) == 2
    assert np.isfinite(found.margins).all()
    assert (found.error >= 0).all()


def test_the_error_of_a_single_fold_is_that_over_its_rows(table):
    matrix, labels = table
    fold = make_folds(labels, 3, seed=1, stratified=True)[0]
    few, many = (
        attribution(
            matrix, labels, [fold], category=(), seed=1, forest=replace(Forest.restrained(), explained=explained)
        )
        for explained in (25, 250)
    )
    assert many.error[2] < few.error[2] < few.importance[2]
    assert np.isnan(many.margins).sum() == ROWS - fold.held.size
