"""The reference of C4 drops one column a round by SHAP, and takes the best round or the smallest one near it."""

from itertools import pairwise

import numpy as np
import pytest

from benchmarks.selected.half import rulings
from benchmarks.selected.rfecv import Eliminated, best, parsimonious, shap_rfecv
from leanrisk.core.progress import Silent
from leanrisk.evaluate.gates import GateConfig
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


def told(features, ks, auc=(0.0, 0.0), *, valid=True, steady=True, dropped=""):
    differences = {name: {"value": value, "lo": lo} for name, (value, lo) in (("auc", auc), ("ks", ks))}
    empty: dict[str, dict[str, float]] = {}
    return {
        "features": features,
        "dropped": dropped,
        "steady": steady,
        "differences": differences,
        "valid_differences": differences if valid else empty,
    }


def test_the_gate_says_of_each_small_set_whether_it_may_stay_and_by_which_interval():
    curve = [
        told(10, (0.0, 0.0)),
        told(5, (-0.010, -0.05)),
        told(4, (-0.020, -0.05)),
        told(3, (-0.040, -0.06), valid=False),
        told(2, (0.010, -0.05), valid=False, steady=False),
        told(1, (0.010, -0.05), valid=False),
        told(4, (0.0, 0.0), dropped="bureau"),
    ]
    found = rulings(curve, most=5, config=GateConfig())
    assert [(each.features, each.by, each.kept) for each in found] == [
        (5, "gate", True),
        (4, "gate", False),
        (3, "folds", False),
        (2, "newest rows", False),
    ], "a set that nobody was asked about, and one that gave up a look-up, are not among them"
    assert "KS -0.0200 [-0.0500, +0.0100], margin -0.0150: not proven" in str(found[1])
    assert "the estimate is beyond the margin" in str(found[1])
