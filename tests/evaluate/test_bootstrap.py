from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from leanrisk.core import metrics
from leanrisk.core.errors import ConfigError, DataError
from leanrisk.core.measurement import Interval
from leanrisk.evaluate.bootstrap import metric_difference, metric_interval, metric_intervals
from leanrisk.evaluate.delong import auc_difference
from leanrisk.evaluate.intervals import ONE_SIDED_95, least_width
from leanrisk.evaluate.weighted import (
    PROBABILITY_METRICS,
    RANK_METRICS,
    REGRESSION_METRICS,
    Metric,
    metric_named,
    statistic_of,
)

Floats = npt.NDArray[np.float64]
NORMAL = NormalDist()
POINT = {
    Metric.AUC: metrics.auc,
    Metric.GINI: metrics.gini,
    Metric.KS: metrics.ks,
    Metric.RECALL_AT_BUDGET: lambda y, s: metrics.recall_at_budget(y, s, 0.1),
    Metric.PRECISION_AT_BUDGET: lambda y, s: metrics.precision_at_budget(y, s, 0.1),
    Metric.BRIER: metrics.brier,
    Metric.LOG_LOSS: metrics.log_loss,
    Metric.ECE: metrics.ece,
}
JUDGED = (*RANK_METRICS, *PROBABILITY_METRICS)


def book(seed: int, bads: int = 60, goods: int = 240, shift: float = 1.0) -> tuple[Floats, Floats]:
    """Outcomes and probabilities of a binormal score."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([1.0, 0.0], [bads, goods]))
    return labels, 1.0 / (1.0 + np.exp(1.5 - rng.normal(size=labels.size) - shift * labels))


@given(st.integers(0, 10_000), st.sampled_from([3, 40, 1000]))
@settings(max_examples=60, deadline=None)
def test_weights_act_as_repeated_rows(seed: int, levels: int) -> None:
    """Each metric under weights is the point metric of the rows written out that many times, ties or none."""
    rng = np.random.default_rng(seed)
    labels, scores = book(seed, 8, 22)
    scores = np.round(scores * levels) / levels
    weights = np.zeros(30)
    for stratum in (labels == 1, labels == 0):
        weights[stratum] = rng.multinomial(stratum.sum(), np.full(stratum.sum(), 1 / stratum.sum()))
    rows = np.repeat(np.arange(30), weights.astype(int))
    found = statistic_of(JUDGED, labels, scores, budget=0.1)(np.stack([weights, np.ones(30)]))
    for name in JUDGED:
        assert found[name].values[1] == pytest.approx(POINT[name](labels, scores), abs=1e-12)
        if name is not Metric.ECE:  # its bins stay those of the sample
            assert found[name].values[0] == pytest.approx(POINT[name](labels[rows], scores[rows]), abs=1e-12)


def test_budget_metrics_read_all_rows_where_the_top_is_not_enough() -> None:
    labels, scores = book(1, 60, 440)
    weights = np.ones((1, 500))
    top = np.argsort(-scores)[:200]
    weights[0, top] = 0.0
    # The lowest scorers stand in for the top rows, class by class, so that the totals stay.
    for outcome in (0.0, 1.0):
        rest = np.setdiff1d(np.flatnonzero(labels == outcome), top)
        weights[0, rest[0]] += (labels[top] == outcome).sum()
    rows = np.repeat(np.arange(500), weights[0].astype(int))
    found = statistic_of([Metric.RECALL_AT_BUDGET], labels, scores, budget=0.1)(weights)
    expected = metrics.recall_at_budget(labels[rows], scores[rows], 0.1)
    assert found[Metric.RECALL_AT_BUDGET].values[0] == pytest.approx(expected, abs=1e-12)


def test_intervals_hold_the_point_metrics_and_repeat_by_seed() -> None:
    labels, scores = book(3)
    found = metric_intervals(labels, scores, JUDGED, seed=5, resamples=200, budget=0.1)
    for name, interval in found.items():
        assert interval.value == pytest.approx(POINT[metric_named(name)](labels, scores), abs=1e-12)
        assert interval.lo <= interval.value <= interval.hi
        assert interval.hi > interval.lo
    assert found == metric_intervals(labels, scores, JUDGED, seed=5, resamples=200, budget=0.1)
    assert found != metric_intervals(labels, scores, JUDGED, seed=6, resamples=200, budget=0.1)


def test_many_blocks_give_the_same_kind_of_spread_as_one() -> None:
    labels, scores = book(4, 4000, 40_000)
    found = metric_interval(labels, scores, "auc", seed=1, resamples=60)
    assert found.hi - found.lo == pytest.approx(4 * auc_spread(labels, scores), rel=0.35)


def auc_spread(labels: Floats, scores: Floats) -> float:
    half_level = auc_difference(labels, np.zeros(labels.size), scores, level=0.6826895)
    return half_level.hi - half_level.value


def test_auc_difference_agrees_with_delong() -> None:
    labels, before = book(7, 150, 600)
    after = before + np.random.default_rng(8).normal(scale=0.05, size=before.size)
    resampled = metric_difference(labels, before, after, "auc", seed=1)
    closed = auc_difference(labels, before, after)
    assert resampled.value == pytest.approx(closed.value, abs=1e-12)
    # The spread of 1,000 draws has an error of 2.2 %; 10 % leaves more than four of them.
    assert resampled.hi - resampled.lo == pytest.approx(closed.hi - closed.lo, rel=0.1)


@pytest.mark.parametrize("auc", [0.55, 0.7])
def test_ks_interval_covers_the_true_ks(auc: float) -> None:
    """Percentile limits cover 53 % and 75 % of the time here (600 trials); these are held to 88 %."""
    shift = NORMAL.inv_cdf(auc) * 2**0.5
    truth = 2 * NORMAL.cdf(shift / 2) - 1
    trials = 200
    found = [metric_interval(*book(seed, 60, 540, shift), "ks", seed=seed, resamples=200) for seed in range(trials)]
    covered = sum(interval.lo <= truth <= interval.hi for interval in found)
    assert covered >= stats.binom.ppf(0.001, trials, 0.92)
    assert covered >= 0.88 * trials


def test_a_ks_loss_of_the_margin_passes_about_one_time_in_twenty() -> None:
    rng = np.random.default_rng(21)
    trials, margin, true_before = 250, -0.03, 0.35
    shifts = [2 * NORMAL.inv_cdf((1 + ks) / 2) for ks in (true_before, true_before + margin)]
    labels = np.repeat([1.0, 0.0], [80, 320])
    passed = 0
    for seed in range(trials):
        common, own = rng.normal(size=(2, 400))
        before, after = labels * shifts[0] + common, labels * shifts[1] + 0.9 * common + 0.19**0.5 * own
        found = metric_difference(labels, before, after, "ks", seed=seed, resamples=200, level=ONE_SIDED_95)
        passed += found.lo > margin
    assert passed <= stats.binom.ppf(0.999, trials, 0.06)
    assert passed >= 1


def test_equal_scores_differ_by_exactly_nothing() -> None:
    labels, scores = book(0)
    assert metric_difference(labels, scores, scores.copy(), "ks", seed=1, resamples=50) == Interval(0.0, 0.0, 0.0)


def test_no_variance_is_not_taken_for_proof() -> None:
    labels = np.repeat([1.0, 0.0], [12, 50])
    width = least_width(12)
    perfect = labels * 0.9
    assert metric_interval(labels, perfect, "ks", seed=1, resamples=50) == Interval(1.0, 1.0 - width, 1.0)
    other = perfect + np.linspace(0.0, 0.05, 62)
    assert metric_difference(labels, perfect, other, "ks", seed=1, resamples=50) == Interval(0.0, -width, width)


def test_regression_metrics_match_their_point_versions() -> None:
    rng = np.random.default_rng(9)
    truth = rng.normal(1000.0, 3.0, size=500)
    guess = truth + rng.normal(size=500)
    found = metric_intervals(truth, guess, REGRESSION_METRICS, seed=2, resamples=300)
    assert found["mae"].value == pytest.approx(metrics.mae(truth, guess))
    assert found["rmse"].value == pytest.approx(metrics.rmse(truth, guess))
    assert found["r2"].value == pytest.approx(metrics.r2(truth, guess))
    # The standard error of a mean absolute normal error is known: sqrt((1 - 2 / pi) / n).
    expected = 2 * 1.96 * ((1 - 2 / np.pi) / 500) ** 0.5
    assert found["mae"].hi - found["mae"].lo == pytest.approx(expected, rel=0.2)


def test_relative_difference_is_a_share_of_before() -> None:
    rng = np.random.default_rng(10)
    truth, error = rng.normal(size=(2, 300))
    found = metric_difference(truth, truth + error, truth + 1.02 * error, "rmse", seed=1, relative=True)
    assert found.value == pytest.approx(0.02)
    # The errors are proportional row by row, so every resample shows the same rise.
    assert (found.lo, found.hi) == pytest.approx((0.02, 0.02), abs=1e-12)
    with pytest.raises(DataError, match="zero-base"):
        metric_difference(truth, truth, truth + error, "rmse", seed=1, relative=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "kolmogorov"}, "one of auc, gini"),
        ({"resamples": 10}, "at least 50"),
        ({"budget": 2.0}, "share of rows"),
        ({"level": 1.0}, "between 0 and 1"),
    ],
)
def test_bad_options_are_refused(change: dict[str, object], message: str) -> None:
    labels, scores = book(0, 5, 10)
    options: dict[str, object] = {"metric": "recall_at_budget", "seed": 1, "resamples": 50, **change}
    with pytest.raises(ConfigError, match=message):
        metric_interval(labels, scores, **options)  # type: ignore[arg-type]


def test_tasks_are_not_mixed() -> None:
    labels, scores = book(0, 5, 10)
    with pytest.raises(ConfigError, match="one task"):
        metric_intervals(labels, scores, ["auc", "mae"], seed=1)
    with pytest.raises(DataError, match="varies"):
        metric_intervals([1.0, 1.0], [1.0, 2.0], ["r2"], seed=1)


def test_tiny_regressions_survive_resamples_without_spread() -> None:
    found = metric_interval([1.0, 2.0], [1.1, 1.8], "r2", seed=1, resamples=100)
    assert np.isfinite([found.lo, found.value, found.hi]).all()
