"""Losses of variance forecasts, by hand and by what is known of them, and whether one forecast beats another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from leanrisk.core.errors import DataError
from leanrisk.evaluate.diebold_mariano import loss_difference
from leanrisk.evaluate.volatility import qlike_losses, volatility_errors

VARIANCES = st.floats(1e-8, 1e-1)


def test_errors_are_in_per_cent_of_price():
    assert volatility_errors([0.0004], [0.0001]) == pytest.approx([1.0])


def test_qlike_by_hand():
    # p / h = 2: 2 - log 2 - 1; p / h = 1 / 2: 1 / 2 + log 2 - 1. Too low a forecast costs more.
    assert qlike_losses([2.0, 1.0], [1.0, 2.0]) == pytest.approx([0.3068528194, 0.1931471806])


@given(arrays(np.float64, 5, elements=VARIANCES), arrays(np.float64, 5, elements=VARIANCES))
def test_qlike_is_never_negative_and_does_not_depend_on_the_unit(proxy, forecast):
    losses = qlike_losses(proxy, forecast)
    assert (losses >= -1e-12).all()
    assert qlike_losses(1e4 * proxy, 1e4 * forecast) == pytest.approx(losses, rel=1e-6, abs=1e-9)
    assert qlike_losses(proxy, proxy) == pytest.approx(0.0, abs=1e-12)


def test_qlike_is_least_at_the_mean_of_a_noisy_proxy():
    """The property that makes it fit for proxies: noise of mean one does not move the best forecast."""
    proxy = 2e-4 * np.random.default_rng(0).chisquare(1, 200_000)
    means = [qlike_losses(np.maximum(proxy, 1e-12), np.full(proxy.size, h)).mean() for h in (1.6e-4, 2e-4, 2.5e-4)]
    assert means[1] == min(means)


@pytest.mark.parametrize(
    ("proxy", "forecast"),
    [([1.0], [0.0]), ([1.0], [-1.0]), ([1.0], [np.nan]), ([np.inf], [1.0]), ([1.0, 2.0], [1.0]), ([], [])],
)
def test_what_is_no_variance_is_refused(proxy, forecast):
    for losses in (volatility_errors, qlike_losses):
        with pytest.raises(DataError):
            losses(proxy, forecast)


def test_a_day_without_a_move_has_an_error_but_no_qlike():
    assert volatility_errors([0.0], [1e-4]) == pytest.approx([1.0])
    with pytest.raises(DataError, match="zero-variance"):
        qlike_losses([0.0], [1e-4])


def test_the_interval_of_independent_days_is_the_usual_one():
    rng = np.random.default_rng(1)
    before, after = rng.normal(1.0, 0.1, 4000), rng.normal(0.9, 0.1, 4000)
    found = loss_difference(before, after)
    assert found.value == pytest.approx((after - before).mean())
    assert found.hi - found.value == pytest.approx(1.96 * (after - before).std() / np.sqrt(4000), rel=0.15)
    share = loss_difference(before, after, relative=True)
    assert share.value == pytest.approx(after.mean() / before.mean() - 1)
    assert share.hi < 0


def test_days_that_depend_on_each_other_widen_the_interval_and_keep_its_coverage():
    rng = np.random.default_rng(2)
    covered = naive = 0
    for _ in range(400):
        shocks = rng.normal(size=600)
        moves = shocks.copy()
        moves[1:] += 0.6 * shocks[:-1]
        moves[2:] += 0.3 * shocks[:-2]
        found = loss_difference(np.zeros(600), moves)
        covered += found.lo <= 0 <= found.hi
        naive += abs(moves.mean()) <= 1.96 * moves.std() / np.sqrt(600)
    assert 0.90 <= covered / 400 <= 0.98
    assert naive / 400 < 0.80


def test_equal_losses_differ_by_nothing_and_short_ones_are_refused():
    losses = np.linspace(0.1, 1.0, 50)
    found = loss_difference(losses, losses)
    assert (found.value, found.lo, found.hi) == (0.0, 0.0, 0.0)
    with pytest.raises(DataError, match="20 days"):
        loss_difference(losses[:5], losses[:5])
    with pytest.raises(DataError, match="it is 0"):
        loss_difference(np.zeros(50), losses, relative=True)
