from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from leanrisk.core import metrics
from leanrisk.core.errors import ConfigError, DataError, ModelError

Sample = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


@st.composite
def samples(draw: st.DrawFn, *, probabilities: bool = False) -> Sample:
    """Outcomes with both classes and scores with many ties."""
    rows = draw(st.integers(2, 40))
    labels = draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows).filter(lambda y: 0 < sum(y) < rows))
    score = st.integers(0, 8).map(lambda k: k / 8) if probabilities else st.integers(-5, 5).map(float)
    scores = draw(st.lists(score, min_size=rows, max_size=rows))
    return np.array(labels, dtype=float), np.array(scores)


def brute_auc(labels: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> float:
    bads, goods = scores[labels == 1][:, None], scores[labels == 0][None, :]
    return float(np.mean((bads > goods) + 0.5 * (bads == goods)))


@given(samples())
@settings(max_examples=50, deadline=None)
def test_auc_is_the_pairwise_win_rate(sample: Sample) -> None:
    assert metrics.auc(*sample) == pytest.approx(brute_auc(*sample), abs=1e-14)
    assert metrics.auc(*sample) == pytest.approx(reference.roc_auc_score(*sample), abs=1e-12)
    assert metrics.gini(*sample) == pytest.approx(2 * brute_auc(*sample) - 1, abs=1e-14)


@given(samples())
@settings(deadline=None)
def test_auc_mirrors_when_scores_or_classes_are_flipped(sample: Sample) -> None:
    labels, scores = sample
    assert metrics.auc(labels, -scores) == pytest.approx(1 - metrics.auc(labels, scores), abs=1e-14)
    assert metrics.auc(1 - labels, scores) == pytest.approx(1 - metrics.auc(labels, scores), abs=1e-14)


@given(samples())
@settings(deadline=None)
def test_ks_is_the_one_sided_two_sample_distance(sample: Sample) -> None:
    labels, scores = sample
    # Bads score higher when their distribution function lies below that of the goods: scipy's "less".
    expected = stats.ks_2samp(scores[labels == 1], scores[labels == 0], alternative="less", method="asymp").statistic
    assert metrics.ks(labels, scores) == pytest.approx(expected, abs=1e-12)
    assert metrics.ks(1 - labels, -scores) == pytest.approx(metrics.ks(labels, scores), abs=1e-12)


@given(samples())
@settings(deadline=None)
def test_ks_point_says_where_the_distance_stands(sample: Sample) -> None:
    labels, scores = sample
    point = metrics.ks_point(labels, scores)
    alerted = scores >= point.cutoff
    assert alerted.mean() == pytest.approx(point.share)
    assert alerted[labels == 1].mean() - alerted[labels == 0].mean() == pytest.approx(point.value, abs=1e-12)


@given(samples(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_rank_metrics_ignore_row_order_and_rising_transforms(sample: Sample, random: object) -> None:
    labels, scores = sample
    order = np.array(random.sample(range(labels.size), labels.size))  # type: ignore[attr-defined]
    for metric in (metrics.auc, metrics.ks, metrics.recall_at_budget, metrics.precision_at_budget):
        value = metric(labels, scores)
        assert 0.0 <= value <= 1.0
        assert metric(labels[order], scores[order]) == value
        assert metric(labels, np.exp(scores) * 3 + 1) == value


@given(samples(), st.floats(0.01, 1.0))
@settings(max_examples=50, deadline=None)
def test_recall_at_budget_is_the_mean_over_orders_of_tied_rows(sample: Sample, budget: float) -> None:
    labels, scores = sample
    alerts = metrics.alerts_within(labels.size, budget)
    cut = np.sort(scores)[::-1][alerts - 1]
    above, tied = scores > cut, scores == cut
    expected = labels[above].sum() + labels[tied].sum() * (alerts - above.sum()) / tied.sum()
    assert metrics.recall_at_budget(labels, scores, budget) == pytest.approx(expected / labels.sum(), abs=1e-12)
    assert metrics.precision_at_budget(labels, scores, budget) == pytest.approx(expected / alerts, abs=1e-12)


def test_recall_at_budget_without_ties_counts_the_top_rows() -> None:
    labels = np.array([1, 0, 1, 0, 0, 1, 0, 0, 0, 0])
    scores = np.arange(10)[::-1]
    assert metrics.recall_at_budget(labels, scores, 0.3) == pytest.approx(2 / 3)
    assert metrics.precision_at_budget(labels, scores, 0.3) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("rows", "budget", "alerts"), [(100, 0.29, 29), (100, 0.07, 7), (10, 0.05, 1), (99, 0.05, 4)])
def test_a_budget_is_rounded_down_to_whole_rows(rows: int, budget: float, alerts: int) -> None:
    assert metrics.alerts_within(rows, budget) == alerts


@pytest.mark.parametrize("budget", [0.0, -0.1, 1.01, float("nan")])
def test_a_budget_outside_its_range_is_refused(budget: float) -> None:
    with pytest.raises(ConfigError, match="share of rows"):
        metrics.recall_at_budget([0, 1], [0.0, 1.0], budget)


@given(samples(probabilities=True))
@settings(max_examples=50, deadline=None)
def test_probability_metrics_agree_with_scikit_learn(sample: Sample) -> None:
    assert metrics.brier(*sample) == pytest.approx(reference.brier_score_loss(*sample), abs=1e-12)
    assert metrics.log_loss(*sample) == pytest.approx(reference.log_loss(*sample), rel=1e-9)
    assert 0.0 <= metrics.ece(*sample) <= 1.0


@given(samples(probabilities=True))
@settings(deadline=None)
def test_ece_with_one_bin_is_the_bias_of_the_mean(sample: Sample) -> None:
    labels, scores = sample
    assert metrics.ece(labels, scores, bins=1) == pytest.approx(abs(labels.mean() - scores.mean()), abs=1e-12)


def test_ece_of_hand_made_bins() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 0, 1])
    scores = np.array([0.1, 0.1, 0.1, 0.1, 0.6, 0.6, 0.8, 0.8])
    assert metrics.ece(labels, scores, bins=2) == pytest.approx((4 * 0.15 + 4 * 0.05) / 8)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=50))
@settings(deadline=None)
def test_midranks_match_scipy(values: list[int]) -> None:
    np.testing.assert_array_equal(metrics.midranks(values), stats.rankdata(values))


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=50), st.integers(1, 12))
@settings(deadline=None)
def test_bins_keep_equal_values_together_and_in_order(values: list[int], bins: int) -> None:
    codes = metrics.equal_mass_bins(values, bins)
    assert codes.min() >= 0
    assert codes.max() < bins
    order = np.argsort(values, kind="stable")
    assert (np.diff(codes[order]) >= 0).all()
    for value in set(values):
        assert len(set(codes[np.array(values) == value])) == 1


def test_bins_without_ties_have_equal_sizes() -> None:
    assert np.bincount(metrics.equal_mass_bins(np.random.default_rng(1).permutation(1000), 8)).tolist() == [125] * 8


@given(st.lists(st.integers(1, 50), min_size=2, max_size=8), st.data())
@settings(deadline=None)
def test_psi_of_shares_is_symmetric_and_zero_only_for_the_same(counts: list[int], data: st.DataObject) -> None:
    other = data.draw(st.lists(st.integers(1, 50), min_size=len(counts), max_size=len(counts)))
    before, after = np.array(counts) / sum(counts), np.array(other) / sum(other)
    value = metrics.psi_of_shares(before, after)
    assert value == pytest.approx(metrics.psi_of_shares(after, before), abs=1e-12)
    assert value >= 0.0
    assert metrics.psi_of_shares(before, before) == 0.0


def test_psi_of_a_hand_made_shift() -> None:
    expected = 0.2 * np.log(0.7 / 0.5) - 0.2 * np.log(0.3 / 0.5)
    assert metrics.psi_of_shares([0.5, 0.5], [0.7, 0.3]) == pytest.approx(expected)
    assert metrics.psi(np.repeat([0, 1], 50), np.repeat([0, 1], [70, 30])) == pytest.approx(expected)


def test_psi_of_a_sample_with_itself_is_zero_and_grows_with_a_shift() -> None:
    sample = np.random.default_rng(0).normal(size=4000)
    assert metrics.psi(sample, sample) == 0.0
    small, large = metrics.psi(sample, sample + 0.1), metrics.psi(sample, sample + 1.0)
    assert 0.0 < small < 0.1
    assert large > 0.25


@pytest.mark.parametrize("shift", [5.0, -5.0, float("nan"), float("inf")])
def test_psi_sees_a_constant_feature_move(shift: float) -> None:
    assert metrics.psi(np.zeros(100), np.full(100, shift)) > 5.0


def test_psi_counts_missing_as_a_bin() -> None:
    full, holed = np.arange(100.0), np.where(np.arange(100) % 2 == 0, np.nan, np.arange(100.0))
    assert metrics.psi(full, holed) > 1.0
    assert metrics.psi(holed, holed) == 0.0
    assert metrics.psi(np.full(10, np.nan), np.full(5, np.nan)) == 0.0


def test_psi_by_chance_is_as_large_as_its_docstring_says() -> None:
    rng = np.random.default_rng(3)
    values = [metrics.psi(rng.normal(size=1000), rng.normal(size=500)) for _ in range(200)]
    # Sum of 9 squared normals with variance 1/1000 + 1/500; the mean of 200 has a standard error of 3.3 %.
    assert np.mean(values) == pytest.approx(9 * (1 / 1000 + 1 / 500), rel=0.15)


def test_regression_metrics_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(size=200)
    guess = truth + rng.normal(size=200)
    assert metrics.mae(truth, guess) == pytest.approx(reference.mean_absolute_error(truth, guess))
    assert metrics.rmse(truth, guess) == pytest.approx(reference.root_mean_squared_error(truth, guess))
    assert metrics.r2(truth, guess) == pytest.approx(reference.r2_score(truth, guess))


@pytest.mark.parametrize("labels", [[0, 0], [1, 1], []])
def test_one_class_is_a_data_error_that_names_the_counts(labels: list[int]) -> None:
    with pytest.raises(DataError, match=rf"these {len(labels)} rows hold {sum(labels)} bads") as caught:
        metrics.auc(labels, np.zeros(len(labels)))
    assert caught.value.faults[0].code == "one-class"


def test_unlabelled_rows_are_refused_not_dropped() -> None:
    with pytest.raises(DataError, match=r"1 of 3 have another value.*labelled"):
        metrics.ks([0, 1, np.nan], [0.1, 0.2, 0.3])


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_refused_with_its_row(score: float) -> None:
    with pytest.raises(ModelError, match=r"1 of 2 are not.*row 1"):
        metrics.auc([0, 1], [0.5, score])


def test_scores_for_other_rows_are_refused() -> None:
    with pytest.raises(ModelError, match="Score the same rows"):
        metrics.auc([0, 1], [0.5])


def test_points_on_a_scale_have_no_probability_metrics() -> None:
    with pytest.raises(ModelError, match="from 300 to 850"):
        metrics.brier([0, 1], [300.0, 850.0])
    assert metrics.auc([0, 1], [300.0, 850.0]) == 1.0


def test_regression_targets_must_be_finite_and_vary() -> None:
    with pytest.raises(DataError, match="1 of 2 have none"):
        metrics.mae([1.0, np.nan], [1.0, 1.0])
    with pytest.raises(DataError, match="varies"):
        metrics.r2([1.0, 1.0], [1.0, 2.0])
    with pytest.raises(DataError, match="no-rows"):
        metrics.psi([], [1.0])
