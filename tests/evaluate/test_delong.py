from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from leanrisk.core.errors import ConfigError, DataError
from leanrisk.core.measurement import Interval
from leanrisk.evaluate.delong import auc_difference, auc_interval
from leanrisk.evaluate.intervals import ONE_SIDED_95, least_width, normal_quantile, wilson

Floats = npt.NDArray[np.float64]
NORMAL = NormalDist()


def two_normals(rng: np.random.Generator, bads: int, goods: int, *shifts: float, shared: float = 0.9) -> list[Floats]:
    """Outcomes, then one score per shift; the scores of a row are correlated."""
    labels = np.repeat([1.0, 0.0], [bads, goods])
    common = rng.normal(size=labels.size)
    own = (1 - shared**2) ** 0.5
    return [labels, *(labels * shift + shared * common + own * rng.normal(size=labels.size) for shift in shifts)]


def shift_of(auc: float) -> float:
    return NORMAL.inv_cdf(auc) * 2**0.5


def brute_variance(labels: Floats, before: Floats, after: Floats) -> float:
    """DeLong's variance of the difference, written from the definition with all pairs."""

    def wins(scores: Floats) -> Floats:
        bads, goods = scores[labels == 1][:, None], scores[labels == 0][None, :]
        return np.asarray((bads > goods) + 0.5 * (bads == goods))

    pairs = wins(after) - wins(before)
    rows, columns = pairs.mean(axis=1), pairs.mean(axis=0)
    return float(rows.var(ddof=1) / rows.size + columns.var(ddof=1) / columns.size)


@given(st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_difference_has_delongs_variance_and_the_auc_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat([1.0, 0.0], [12, 20])
    before, after = rng.integers(0, 9, size=(2, 32)) + labels
    expected = roc_auc_score(labels, after) - roc_auc_score(labels, before)
    variance = brute_variance(labels, before, after)
    found = auc_difference(labels, before, after)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.hi - found.value == pytest.approx(1.959964 * variance**0.5, rel=1e-6)
    assert found.value - found.lo == pytest.approx(1.959964 * variance**0.5, rel=1e-6)


def test_interval_is_delongs_on_the_logit_scale() -> None:
    labels, scores = two_normals(np.random.default_rng(2), 80, 300, 0.8)
    auc = roc_auc_score(labels, scores)
    variance = brute_variance(labels, np.zeros(380), scores)
    half = 1.959964 * variance**0.5 / (auc * (1 - auc))
    centre = np.log(auc / (1 - auc))
    found = auc_interval(labels, scores)
    assert found.value == pytest.approx(auc, abs=1e-12)
    assert (found.lo, found.hi) == pytest.approx((1 / (1 + np.exp(half - centre)), 1 / (1 + np.exp(-half - centre))))


@pytest.mark.parametrize(("auc", "bads", "goods"), [(0.7, 60, 240), (0.9, 60, 300)])
def test_interval_covers_the_true_auc_as_often_as_it_says(auc: float, bads: int, goods: int) -> None:
    rng = np.random.default_rng(11)
    trials = 800
    found = [auc_interval(*two_normals(rng, bads, goods, shift_of(auc))) for _ in range(trials)]
    covered = sum(interval.lo <= auc <= interval.hi for interval in found)
    # 94 % is near enough to 95 % for 60 bads; the limits leave one chance in a thousand on each side.
    low, high = stats.binom.ppf([0.001, 0.999], trials, [0.94, 0.95])
    assert low <= covered <= high


def test_one_sided_bound_errs_five_times_in_a_hundred_at_the_margin() -> None:
    """A step that truly loses exactly the margin must pass the gate about 5 % of the time."""
    rng = np.random.default_rng(12)
    trials, margin = 1000, -0.02
    shifts = shift_of(0.75), shift_of(0.73)
    bounds = [auc_difference(*two_normals(rng, 150, 450, *shifts), level=ONE_SIDED_95).lo for _ in range(trials)]
    passed = sum(bound > margin for bound in bounds)
    low, high = stats.binom.ppf([0.001, 0.999], trials, 0.05)
    assert low <= passed <= high


@given(st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_difference_turns_its_sign_with_its_arguments(seed: int) -> None:
    labels, before, after = two_normals(np.random.default_rng(seed), 10, 30, 0.5, 1.0)
    there, back = auc_difference(labels, before, after), auc_difference(labels, after, before)
    assert (there.value, there.lo, there.hi) == pytest.approx((-back.value, -back.hi, -back.lo), abs=1e-12)


def test_scores_that_order_rows_alike_differ_by_exactly_nothing() -> None:
    labels, scores = two_normals(np.random.default_rng(0), 10, 30, 1.0)
    assert auc_difference(labels, scores, np.exp(scores)) == Interval(0.0, 0.0, 0.0)


def test_two_perfect_scores_prove_no_more_than_their_rows_can() -> None:
    labels = np.repeat([1.0, 0.0], [10, 90])
    before, after = labels + np.arange(100) / 1000, labels - np.arange(100) / 1000
    width = least_width(10, level=ONE_SIDED_95)
    assert auc_difference(labels, before, after, level=ONE_SIDED_95) == Interval(0.0, -width, width)
    assert width == pytest.approx(1.645**2 / (10 + 1.645**2), rel=1e-3)


def test_a_perfect_score_keeps_an_interval() -> None:
    labels = np.repeat([1.0, 0.0], [10, 90])
    found = auc_interval(labels, labels)
    assert (found.value, found.hi) == (1.0, 1.0)
    # Wilson's limit for 10 of 10.
    assert found.lo == pytest.approx(wilson(10, 10).lo)
    assert auc_interval(labels, -labels).lo == 0.0
    assert auc_interval(labels, np.zeros(100)).value == 0.5


def test_a_single_bad_gives_a_wide_interval_not_a_false_one() -> None:
    labels = np.append(1.0, np.zeros(50))
    scores = np.append(30.5, np.arange(50.0))
    found = auc_interval(labels, scores)
    assert found.value == pytest.approx(0.62)
    assert found.hi - found.lo > 0.7


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(DataError, match="bads and goods"):
        auc_interval([1, 1], [0.1, 0.2])
    with pytest.raises(ConfigError, match="confidence level"):
        auc_interval([0, 1], [0.1, 0.2], level=95.0)
    with pytest.raises(ConfigError, match="trial"):
        wilson(0, 0)


def test_normal_quantiles_and_wilson_limits_match_the_textbook() -> None:
    assert normal_quantile(0.95) == pytest.approx(1.959964, abs=1e-6)
    assert normal_quantile(ONE_SIDED_95) == pytest.approx(1.644854, abs=1e-6)
    for successes, trials in [(0, 10), (3, 10), (10, 10), (37, 400)]:
        expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
        found = wilson(successes, trials)
        assert (found.lo, found.hi) == pytest.approx((expected.low, expected.high), abs=1e-12)
