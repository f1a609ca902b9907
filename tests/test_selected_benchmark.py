"""The reference of C4 drops one column a round by SHAP, and takes the best round or the smallest one near it."""

from itertools import pairwise

import numpy as np
import pytest

from benchmarks.selected.rfecv import Eliminated, best, parsimonious, shap_rfecv
from leanrisk.core.progress import Silent
from leanrisk.models.folds import make_folds
from leanrisk.models.gbdt_attribution import Forest


def test_one_column_goes_a_round_and_what_ranks_goes_last():
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(900, 4)).astype(np.float32)
    labels = (rng.random(900) < 1 / (1 + np.exp(1.0 - 2.0 * matrix[:, 2]))).astype(np.float32)
    rounds = shap_rfecv(
        matrix,
        labels,
        make_folds(labels, 2, seed=1, stratified=True),
        category=frozenset(),
        forest=Forest.restrained(),
        seed=1,
        progress=Silent(),
    )
    assert [each.columns.size for each in rounds] == [4, 3, 2, 1]
    assert rounds[-1].columns.tolist() == [2]
    assert all(set(after.columns) < set(before.columns) for before, after in pairwise(rounds))
    assert parsimonious(rounds).columns.size <= best(rounds).columns.size


def test_the_smallest_set_within_a_deviation_of_the_best_is_parsimonious():
    sizes = {3: (0.80, 0.84), 2: (0.79, 0.83), 1: (0.70, 0.72)}
    rounds = [Eliminated(np.arange(size), aucs) for size, aucs in sizes.items()]
    assert best(rounds).mean == pytest.approx(0.82)
    assert parsimonious(rounds).columns.size == 2
