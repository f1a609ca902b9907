"""Clusters of columns by rank correlation, and what a column alone says of the outcome."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from leanrisk.features.information_value import binned, information_value, is_monotonic
from leanrisk.features.redundancy import clusters, rank_correlations

TABLES = arrays(
    np.float32,
    st.tuples(st.integers(3, 40), st.integers(1, 6)),
    elements=st.one_of(st.floats(-5, 5, width=32), st.just(float("nan"))),
)


@given(TABLES)
def test_correlations_are_symmetric_bounded_and_one_with_itself(values):
    found = rank_correlations(values)
    assert np.allclose(found, found.T)
    assert (np.abs(found) <= 1).all()
    assert (np.diag(found) == 1).all()


def test_without_missing_values_it_is_spearmans_correlation():
    values = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    values[:, 1] += values[:, 0]
    assert np.allclose(rank_correlations(values), spearmanr(values).statistic, atol=1e-12)


@given(TABLES, st.floats(0.5, 0.999))
def test_columns_share_a_cluster_only_where_every_pair_agrees(values, at_least):
    strength = np.abs(rank_correlations(values))
    found = clusters(strength, at_least=at_least)
    for group in np.unique(found):
        members = np.flatnonzero(found == group)
        assert (strength[np.ix_(members, members)] >= at_least - 1e-9).all()
    assert list(dict.fromkeys(found.tolist())) == list(range(found.max() + 1))


def test_a_copy_and_its_mirror_are_one_cluster_and_noise_is_another():
    base = np.random.default_rng(1).normal(size=(300, 2)).astype(np.float32)
    table = np.column_stack([base[:, 0], np.exp(base[:, 0]), -base[:, 0], base[:, 1]])
    assert clusters(rank_correlations(table), at_least=0.95).tolist() == [0, 0, 0, 1]


def test_information_value_is_that_of_the_book():
    # Siddiqi's sum by hand for two bins of 90/10 and 60/40 goods and bads, with half a row in each cell.
    bins = np.repeat([0, 1], 100)
    labels = np.concatenate([np.repeat([0, 1], [90, 10]), np.repeat([0, 1], [60, 40])]).astype(np.float32)
    goods, bads = np.array([90.5, 60.5]) / 151, np.array([10.5, 40.5]) / 51
    assert information_value(bins, labels) == pytest.approx(float(((goods - bads) * np.log(goods / bads)).sum()))


@given(arrays(np.float32, 60, elements=st.floats(-3, 3, width=32)), st.integers(0, 2**32 - 1))
def test_information_value_never_falls_below_zero_and_a_constant_has_none(values, seed):
    labels = np.random.default_rng(seed).integers(2, size=60).astype(np.float32)
    assert information_value(binned(values, category=False), labels) >= 0
    assert information_value(np.zeros(60, dtype=np.int64), labels) == pytest.approx(0)


def test_a_rising_bad_rate_is_monotonic_and_a_valley_is_not():
    values = np.repeat(np.arange(5, dtype=np.float32), 100)
    rates = np.repeat([0.1, 0.2, 0.3, 0.4, 0.5], 100), np.repeat([0.5, 0.2, 0.1, 0.2, 0.5], 100)
    place = np.tile(np.arange(100) / 100, 5)
    rising, valley = ((place < rate).astype(np.float32) for rate in rates)
    bins = binned(values, category=True)
    assert is_monotonic(bins, rising)
    assert not is_monotonic(bins, valley)
    assert is_monotonic(np.full(3, -1), np.zeros(3, dtype=np.float32))
