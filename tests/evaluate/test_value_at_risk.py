"""Losses of quantile and shortfall forecasts: by hand, at their least for the truth, and the size of Z2."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.core.errors import ConfigError, DataError
from leanrisk.evaluate.value_at_risk import exceedances, fz0_losses, pinball_losses, shortfall_statistic

QUANTILE = NormalDist().inv_cdf(0.025)
SHORTFALL = -NormalDist().pdf(QUANTILE) / 0.025


def test_pinball_by_hand():
    # Above the quantile: 0.01 * 0.03; below it: -0.99 * -0.01.
    assert pinball_losses([0.01, -0.03], [-0.02, -0.02], tail=0.01) == pytest.approx([0.0003, 0.0099])
    assert exceedances([0.01, -0.03, -0.02], [-0.02] * 3).tolist() == [False, True, False]


def test_fz0_by_hand():
    # No exceedance: q / e + log(-e) - 1 with q = -2, e = -2.5; with r = -3: + 1 / (0.025 * 2.5).
    calm = 0.8 + np.log(2.5) - 1.0
    assert fz0_losses([1.0, -3.0], [-2.0] * 2, [-2.5] * 2, tail=0.025) == pytest.approx([calm, calm + 16.0])


def test_the_truth_has_the_least_loss():
    returns = np.random.default_rng(3).normal(size=400_000)

    def pinball(scale):
        return pinball_losses(returns, np.full(returns.size, scale * QUANTILE), tail=0.025).mean()

    def fz0(scale):
        told = (np.full(returns.size, scale * value) for value in (QUANTILE, SHORTFALL))
        return fz0_losses(returns, *told, tail=0.025).mean()

    for loss in (pinball, fz0):
        assert loss(1.0) < min(loss(0.9), loss(1.12))


@given(st.floats(0.001, 1000.0))
def test_differences_of_fz0_do_not_depend_on_the_unit(unit):
    returns = np.array([0.3, -2.6, -1.1, 0.8])

    def difference(scale):
        one, other = (
            fz0_losses(scale * returns, scale * np.full(4, q), scale * np.full(4, e), tail=0.025)
            for q, e in ((-2.0, -2.4), (-1.0, -1.5))
        )
        return one - other

    assert difference(unit) == pytest.approx(difference(1.0), rel=1e-6, abs=1e-9)


def test_z2_is_zero_for_the_truth_and_rejects_at_its_size():
    rng = np.random.default_rng(4)
    found = []
    for _ in range(2000):
        returns = rng.normal(size=250)
        found.append(shortfall_statistic(returns, np.full(250, QUANTILE), np.full(250, SHORTFALL), tail=0.025))
    assert abs(np.mean(found)) < 0.03
    # The published critical value at 5 % is -0.70; the binomial error of 2,000 draws is half a point.
    assert 0.03 < np.mean(np.array(found) < -0.70) < 0.07


def test_z2_falls_where_losses_are_larger_than_told():
    returns = 1.5 * np.random.default_rng(5).normal(size=5000)
    assert shortfall_statistic(returns, np.full(5000, QUANTILE), np.full(5000, SHORTFALL), tail=0.025) < -0.7


def test_what_is_no_forecast_is_refused():
    with pytest.raises(DataError, match="not above its quantile"):
        fz0_losses([0.1], [-2.0], [-1.0], tail=0.025)
    with pytest.raises(DataError, match="below zero"):
        fz0_losses([0.1], [0.5], [0.2], tail=0.025)
    with pytest.raises(DataError, match="not-aligned"):
        pinball_losses([0.1], [0.1, 0.2], tail=0.01)
    with pytest.raises(ConfigError, match="below one half"):
        pinball_losses([0.1], [0.1], tail=0.99)
