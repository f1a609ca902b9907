"""Simulated cash flows: equal for a seed, books that balance, and a truth that the labels follow."""

import numpy as np
import pytest

from leanrisk.core.errors import ConfigError
from leanrisk.core.metrics import auc
from leanrisk.data.simulate.cash_flows import simulate_cash_flows

FLOWS = simulate_cash_flows(rows=6000, seed=3)


def test_equal_seeds_give_equal_firms():
    again, other = simulate_cash_flows(rows=50, seed=3), simulate_cash_flows(rows=50, seed=4)
    same = simulate_cash_flows(rows=50, seed=3)
    for name in ("inflow", "outflow", "balance", "bad", "chance"):
        assert np.array_equal(getattr(same, name), getattr(again, name))
        assert not np.array_equal(getattr(same, name), getattr(other, name))


def test_the_balance_is_what_came_in_less_what_went_out():
    moved = np.diff(FLOWS.balance.astype(np.float64), axis=1)
    net = (FLOWS.inflow - FLOWS.outflow).astype(np.float64)[:, 1:]
    scale = np.abs(FLOWS.balance).max(axis=1, keepdims=True)
    assert np.abs((moved - net) / scale).max() < 1e-4
    assert FLOWS.inflow.min() >= 0
    assert FLOWS.outflow.min() >= 0
    assert all(np.isfinite(part).all() for part in (FLOWS.inflow, FLOWS.outflow, FLOWS.balance))


def test_shapes_and_types():
    assert FLOWS.balance.shape == FLOWS.inflow.shape == (6000, 64)
    assert FLOWS.balance.dtype == FLOWS.chance.dtype == np.float32
    assert set(np.unique(FLOWS.bad)) == {0, 1}
    assert simulate_cash_flows(rows=2, weeks=100, seed=0).balance.shape == (2, 100)
    few = FLOWS.take(slice(0, 5))
    assert few.balance.shape == (5, 64)
    assert np.array_equal(few.chance, FLOWS.chance[:5])


def test_the_labels_follow_the_true_chance_and_half_are_bad():
    rows = FLOWS.bad.size
    assert abs(FLOWS.bad.mean() - 0.5) < 4 * 0.5 / np.sqrt(rows)
    # In each tenth by chance the bad share is the mean chance, within four standard errors.
    for part in np.array_split(np.argsort(FLOWS.chance), 10):
        expected = FLOWS.chance[part].astype(np.float64)
        error = np.sqrt((expected * (1 - expected)).sum()) / part.size
        assert abs(FLOWS.bad[part].mean() - expected.mean()) < 4 * error
    right = ((FLOWS.chance > 0.5) == FLOWS.bad).mean()
    assert abs(right - FLOWS.bayes_accuracy) < 4 * 0.5 / np.sqrt(rows)


def test_nobody_is_always_right_and_no_single_figure_tells_all():
    assert 0.78 < FLOWS.bayes_accuracy < 0.9
    best = auc(FLOWS.bad, FLOWS.chance)
    scale = FLOWS.outflow.mean(axis=1)
    half = FLOWS.inflow.shape[1] // 2
    figures = {
        "last balance": -FLOWS.balance[:, -1] / scale,
        "growth": -FLOWS.inflow[:, half:].mean(axis=1) / FLOWS.inflow[:, :half].mean(axis=1),
        "size": -scale,
        "volatility": FLOWS.inflow.std(axis=1) / FLOWS.inflow.mean(axis=1),
    }
    scores = {name: auc(FLOWS.bad, values) for name, values in figures.items()}
    assert max(scores.values()) < best - 0.05
    assert scores["growth"] > 0.6
    assert abs(scores["size"] - 0.5) < 0.04


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"weeks": 3}, {"weeks": 1000}, {"seed": -1}, {"rows": 10**9}], ids=str)
def test_sizes_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="Cash flows have"):
        simulate_cash_flows(**{"rows": 10, "weeks": 64, "seed": 0, **wrong})
