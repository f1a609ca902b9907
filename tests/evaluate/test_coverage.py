"""Coverage tests against worked values, against their own likelihoods, and their size by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from leanrisk.core.errors import ConfigError, DataError
from leanrisk.evaluate.coverage import christoffersen_coverage, christoffersen_independence, kupiec


def series(count, days=255):
    """`count` exceedances spread over `days` days."""
    hits = np.zeros(days, dtype=bool)
    hits[np.linspace(0, days - 1, count).astype(int)] = True
    return hits


def test_kupiec_accepts_just_what_his_table_accepts():
    """Kupiec (1995), table of non-rejection regions at 95 %: at 1 %, N < 7 of 255 days; at 5 %, 6 < N < 21."""
    assert [count for count in range(12) if kupiec(series(count), tail=0.01).p_value > 0.05][-1] == 6
    accepted = [count for count in range(2, 40) if kupiec(series(count), tail=0.05).p_value > 0.05]
    assert (accepted[0], accepted[-1]) == (7, 20)
    long = [count for count in range(40) if kupiec(series(count, 1000), tail=0.01).p_value > 0.05]
    assert (long[0], long[-1]) == (5, 16)


def test_kupiec_by_hand():
    # 3 of 250 at 1 %: 2 [3 log(0.012 / 0.01) + 247 log(0.988 / 0.99)].
    expected = 2 * (3 * math.log(1.2) + 247 * math.log(0.988 / 0.99))
    found = kupiec(series(3, 250), tail=0.01)
    assert found.statistic == pytest.approx(expected)
    assert found.p_value == pytest.approx(stats.chi2.sf(expected, 1))
    # None of 250: 2 * 250 log(1 / 0.99).
    assert kupiec(np.zeros(250, dtype=bool), tail=0.01).statistic == pytest.approx(5.0252, abs=1e-3)


def test_independence_by_hand():
    # 0 1 1 0 0 0 1 1 0 0: pairs 00 three, 01 two, 10 two, 11 two.
    hits = np.array([0, 1, 1, 0, 0, 0, 1, 1, 0, 0], dtype=bool)
    chain = 3 * math.log(3 / 5) + 2 * math.log(2 / 5) + 2 * math.log(1 / 2) + 2 * math.log(1 / 2)
    flat = 5 * math.log(5 / 9) + 4 * math.log(4 / 9)
    assert christoffersen_independence(hits).statistic == pytest.approx(2 * (chain - flat))
    both = christoffersen_coverage(hits, tail=0.1)
    assert both.statistic == pytest.approx(2 * (chain - flat) + kupiec(hits, tail=0.1).statistic)
    assert both.p_value == pytest.approx(stats.chi2.sf(both.statistic, 2))


def test_exceedances_that_come_together_are_seen():
    hits = np.zeros(1000, dtype=bool)
    hits[100:106] = hits[500:504] = True
    assert kupiec(hits, tail=0.01).p_value > 0.9
    assert christoffersen_independence(hits).p_value < 1e-6
    assert christoffersen_coverage(hits, tail=0.01).p_value < 1e-6


def test_the_tests_reject_a_right_model_about_as_often_as_they_should():
    """5 % of 2,000 days: enough neighbouring exceedances for the chi-squared law to hold."""
    draws = np.random.default_rng(6).random((2000, 2000)) < 0.05
    found = [
        (kupiec(hits, tail=0.05), christoffersen_independence(hits), christoffersen_coverage(hits, tail=0.05))
        for hits in draws
    ]
    sizes = np.mean([[test.p_value < 0.05 for test in tests] for tests in found], axis=0)
    # Three standard errors of 2,000 draws are 1.5 points; counts are whole, which moves the size by as much again.
    assert ((sizes > 0.02) & (sizes < 0.08)).all()


def test_with_few_exceedances_independence_is_hardly_ever_rejected():
    """At 1 % of 250 days two in a row are expected 0.02 times: the test has no power there, and says nothing."""
    draws = np.random.default_rng(8).random((2000, 250)) < 0.01
    assert np.mean([christoffersen_independence(hits).p_value < 0.05 for hits in draws]) < 0.05


@given(st.lists(st.booleans(), min_size=2, max_size=60))
def test_ratios_are_never_negative_and_p_values_are_shares(hits):
    told = np.array(hits)
    for found in (kupiec(told, tail=0.01), christoffersen_independence(told), christoffersen_coverage(told, tail=0.01)):
        assert found.statistic >= 0
        assert 0 <= found.p_value <= 1


def test_what_is_no_series_is_refused():
    with pytest.raises(DataError, match="booleans"):
        kupiec([0, 1, 0], tail=0.01)
    with pytest.raises(DataError, match="one series"):
        christoffersen_independence(np.zeros((3, 3), dtype=bool))
    with pytest.raises(ConfigError, match="0.01 for 99 %"):
        kupiec(np.zeros(9, dtype=bool), tail=1.0)
