"""What a limited number of alerts catches, against a plain count by hand, and limits that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import DataError
from leanrisk.core.metrics import alerts_within, precision_at_budget, recall_at_budget
from leanrisk.evaluate.alerts import (
    CASES,
    DELAY,
    NO_CASE,
    VALUE,
    Stakes,
    alert_differences,
    alert_quality,
    alerted,
    value_at_budget,
)
from leanrisk.evaluate.quality import quality

PRECISION = "precision_at_budget"


def campaign_book(seed: int, rows: int = 400, campaigns: int = 8):
    """Rows of which a tenth is bad, most of those in campaigns; scores that see some of it."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.1).astype(float)
    labels[:2] = (1.0, 0.0)
    cases = np.where((labels == 1) & (rng.random(rows) < 0.8), rng.integers(0, campaigns, rows), NO_CASE)
    stakes = Stakes(rng.lognormal(size=rows), cases.astype(np.int64), np.sort(rng.uniform(0, 60, rows)))
    return labels, rng.normal(size=rows) + 1.2 * labels, stakes


@given(st.integers(0, 10_000), st.sampled_from([0.01, 0.05, 0.3, 1.0]), st.sampled_from([2, 1000]))
@settings(max_examples=60, deadline=None)
def test_alerts_are_as_many_as_the_budget_and_agree_with_recall(seed, budget, levels):
    labels, scores, _ = campaign_book(seed)
    scores = np.round(scores * levels)
    shares = alerted(scores, budget)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert shares.sum() == pytest.approx(alerts_within(scores.size, budget))
    assert shares @ labels / labels.sum() == pytest.approx(recall_at_budget(labels, scores, budget))
    # Where every bad is worth the same, value is recall.
    value = value_at_budget(labels, scores, np.full(scores.size, 7.0), budget)
    assert value == pytest.approx(recall_at_budget(labels, scores, budget))


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_cases_and_delay_are_what_a_plain_count_finds(seed):
    labels, scores, stakes = campaign_book(seed)
    found = alert_quality(labels, scores, stakes, seed=1, budget=0.1, resamples=50)
    top = set(np.argsort(-scores)[: alerts_within(scores.size, 0.1)].tolist())
    bads = np.flatnonzero(labels == 1)
    waits, cases = [], sorted({int(stakes.cases[row]) for row in bads} - {NO_CASE})
    for case in cases:
        mine = [row for row in bads if stakes.cases[row] == case]
        caught = [row for row in mine if row in top]
        waits += [stakes.times[caught[0]] - stakes.times[mine[0]]] if caught else []
    assert found[CASES].value == pytest.approx(len(waits) / len(cases))
    if waits:
        assert found[DELAY].value == pytest.approx(np.mean(waits))
    caught_amount = sum(stakes.amounts[row] for row in bads if row in top)
    assert found[VALUE].value == pytest.approx(caught_amount / stakes.amounts[bads].sum())
    assert found[PRECISION].value == pytest.approx(precision_at_budget(labels, scores, 0.1))
    for interval in found.values():
        assert 0.0 <= interval.lo <= interval.value <= interval.hi


def test_ties_count_as_the_mean_over_their_orders():
    labels = np.array([1.0, 1.0, 1.0, 0.0])
    stakes = Stakes(np.array([10.0, 2.0, 3.0, 9.0]), np.array([5, 5, NO_CASE, NO_CASE]), np.array([0.0, 4.0, 5.0, 6.0]))
    found = alert_quality(labels, np.zeros(4), stakes, seed=0, budget=0.5, resamples=50)
    assert found[VALUE].value == pytest.approx(0.5)
    assert found[CASES].value == pytest.approx(0.75)
    # At once with probability 1/2, four days later with 1/4.
    assert found[DELAY].value == pytest.approx(1.0 / 0.75)


def test_what_there_is_nothing_to_be_a_share_of_is_left_out():
    labels, scores = np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.0, 3.0, 2.0, 1.0])
    lone = Stakes(np.array([0.0, 1.0, 1.0, 1.0]), np.full(4, NO_CASE), np.arange(4.0))
    assert set(alert_quality(labels, scores, lone, seed=0, budget=0.25)) == {PRECISION}
    missed = Stakes(None, np.array([0, NO_CASE, NO_CASE, NO_CASE]), np.arange(4.0))
    found = alert_quality(labels, scores, missed, seed=0, budget=0.25)
    assert set(found) == {PRECISION, CASES}
    assert found[CASES].value == 0.0
    assert found[CASES].hi > 0.5
    assert set(alert_quality(labels, scores, Stakes(), seed=0, budget=0.25)) == {PRECISION}
    assert VALUE not in alert_differences(labels, scores, -scores, lone, seed=0, budget=0.25)


def test_without_times_no_delay_is_told():
    labels, scores, stakes = campaign_book(3)
    found = alert_quality(labels, scores, Stakes(None, stakes.cases, None), seed=0, budget=0.1)
    assert set(found) == {PRECISION, CASES}


@pytest.mark.parametrize("wrong", [-1.0, np.nan, np.inf])
def test_an_amount_that_is_no_amount_is_refused(wrong):
    with pytest.raises(DataError, match=r"number of 0 or more: 1 rows .*measure\.amount"):
        Stakes(np.array([1.0, wrong]))


def test_a_difference_is_paired_and_nothing_where_the_scores_are_one():
    labels, scores, stakes = campaign_book(5, 2000, 60)
    same = alert_differences(labels, scores, scores, stakes, seed=0, budget=0.1)
    assert set(same) == {PRECISION, VALUE, CASES}
    assert all((found.value, found.lo, found.hi) == (0.0, 0.0, 0.0) for found in same.values())
    blind = np.random.default_rng(0).normal(size=scores.size)
    gained = alert_differences(labels, blind, scores, stakes, seed=0, budget=0.1)
    assert all(found.lo > 0.0 for found in gained.values())
    first, again = (alert_differences(labels, blind, scores, stakes, seed=0, budget=0.1) for _ in range(2))
    assert first == again


def test_limits_hold_the_true_share_in_most_books_although_campaigns_are_caught_together():
    """A bad is caught or missed with its whole campaign: drawing rows one by one would give limits far too narrow."""
    hits, books = 0, 200
    for seed in range(books):
        rng = np.random.default_rng(seed)
        cases = np.repeat(np.arange(30), 10)
        caught = rng.random(30) < 0.5
        labels = np.concatenate([np.ones(300), np.zeros(3000)])
        # Campaigns that are seen stand above every good, the others below; the budget takes all that are seen.
        scores = np.concatenate(
            [np.where(caught[cases], 2.0, -2.0) + rng.normal(0, 0.1, 300), rng.normal(0, 0.1, 3000)]
        )
        stakes = Stakes(np.ones(3300), np.concatenate([cases, np.full(3000, NO_CASE)]))
        found = alert_quality(labels, scores, stakes, seed=seed, budget=max(1, 10 * caught.sum()) / 3300, resamples=100)
        hits += found[VALUE].lo <= 0.5 <= found[VALUE].hi
    assert hits >= 0.9 * books


def test_quality_carries_the_alerts_only_where_they_were_asked_for():
    labels, scores, stakes = campaign_book(2)
    plain = quality(labels, scores, seed=0, resamples=50)
    asked = quality(labels, scores, seed=0, resamples=50, stakes=stakes)
    assert {name: asked[name] for name in plain} == plain
    assert set(asked) - set(plain) == {PRECISION, VALUE, CASES, DELAY}
