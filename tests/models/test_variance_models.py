"""Models of variance find what made the series, forecast without looking ahead, and say no to what they cannot fit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import ConfigError, DataError, ModelError
from leanrisk.data.market_features import market_panel
from leanrisk.data.market_prices import prices_of
from leanrisk.data.simulate.market import MarketSize, simulate_market
from leanrisk.evaluate.volatility import qlike_losses
from leanrisk.features.encoder import Encoder
from leanrisk.models.market.garch import Garch
from leanrisk.models.market.har import Har
from leanrisk.models.market.historical_simulation import asset_tail, empirical_tail, portfolio_tail, student_tail
from leanrisk.models.market.variance_line import VarianceLine
from leanrisk.models.market.variance_trees import VarianceTrees


def garch_path(days, *, omega, alpha, gamma, beta, seed):
    rng = np.random.default_rng(seed)
    shocks = rng.standard_t(8, days) * np.sqrt(6 / 8)
    returns, variances = np.empty(days), np.empty(days)
    variance = omega / (1 - alpha - gamma / 2 - beta)
    for day in range(days):
        variances[day] = variance
        returns[day] = np.sqrt(variance) * shocks[day]
        variance = omega + (alpha + gamma * (returns[day] < 0)) * returns[day] ** 2 + beta * variance
    return returns / 100, variances / 1e4


def test_garch_finds_the_parameters_of_its_own_series():
    returns, variances = garch_path(6000, omega=0.05, alpha=0.06, gamma=0.0, beta=0.90, seed=1)
    found = Garch.fit(returns)
    assert found.converged
    assert found.alpha == pytest.approx(0.06, abs=0.02)
    assert found.persistence == pytest.approx(0.96, abs=0.02)
    assert found.freedom == pytest.approx(8, abs=2.5)
    told = found.forecast(returns)
    assert np.corrcoef(told[500:-1], variances[501:])[0, 1] > 0.99
    assert np.mean(told[500:-1] / variances[501:]) == pytest.approx(1.0, abs=0.05)


def test_gjr_sees_that_falls_bring_unrest_and_garch_cannot():
    returns, variances = garch_path(6000, omega=0.05, alpha=0.01, gamma=0.12, beta=0.90, seed=2)
    plain, gjr = (Garch.fit(returns, kind=kind) for kind in ("garch", "gjr"))
    assert plain.gamma == 0.0
    assert gjr.gamma == pytest.approx(0.12, abs=0.04)
    losses = [qlike_losses(variances[501:], model.forecast(returns)[500:-1]).mean() for model in (plain, gjr)]
    assert losses[1] < 0.5 * losses[0]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 298), st.floats(-0.2, 0.2))
def test_a_later_return_moves_no_earlier_forecast(day, move):
    model = Garch(0.02, 0.05, 0.05, 0.1, 0.85, 6.0, 1.2)
    returns = 0.01 * np.random.default_rng(3).normal(size=300)
    other = returns.copy()
    other[day + 1 :] += move
    assert np.array_equal(model.forecast(returns)[: day + 1], model.forecast(other)[: day + 1])


def test_garch_refuses_what_it_cannot_fit():
    for returns in (np.zeros(300), np.full(300, np.nan), np.ones(20)):
        with pytest.raises(ModelError, match="250 days"):
            Garch.fit(returns)
    with pytest.raises(ConfigError, match="egarch"):
        Garch.fit(np.zeros(300), kind="egarch")


def test_har_finds_its_own_weights_and_is_unbiased():
    rng = np.random.default_rng(4)
    past = np.exp(rng.normal(-9, 0.5, (4000, 3)))
    logs = -0.9 + np.log(past) @ [0.4, 0.3, 0.2] + rng.normal(0, 0.5, 4000)
    model = Har.fit(past, np.exp(logs))
    assert model.weights[1:] == pytest.approx([0.4, 0.3, 0.2], abs=0.05)
    assert np.mean(np.exp(logs) / model.forecast(past)) == pytest.approx(1.0, abs=0.03)
    levels = Har.fit(past, past @ [0.4, 0.3, 0.2], logs=False)
    assert levels.weights == pytest.approx([0.0, 0.4, 0.3, 0.2], abs=1e-6)


def test_har_in_levels_stays_within_what_it_has_seen():
    past = np.linspace(1e-4, 2e-4, 60).reshape(-1, 1)
    model = Har.fit(past, 3e-4 - past[:, 0], logs=False)
    told = model.forecast([[1.0], [0.0]])
    assert told == pytest.approx([1e-4, 2e-4])


def test_har_refuses_short_or_impossible_series():
    with pytest.raises(ModelError, match="20 days"):
        Har.fit(np.ones((10, 3)), np.ones(10))
    with pytest.raises(ModelError, match="above zero"):
        Har.fit(np.ones((40, 1)), np.zeros(40))


@pytest.fixture(scope="module")
def panel():
    return market_panel(prices_of(simulate_market(MarketSize(8, 500, seed=7))))


def test_trees_beat_a_constant_on_days_to_come_and_repeat_themselves(panel):
    rows, later = panel.rows(0, 300), panel.rows(301, 430)
    encoder = Encoder.fit(rows)
    trees, again = (
        VarianceTrees.fit(encoder.inputs(rows.frame), rows.labels, encoder.fields, seed=1, rounds=60) for _ in range(2)
    )
    told = np.exp(trees.log_variance(encoder.inputs(later.frame)))
    assert np.array_equal(told, np.exp(again.log_variance(encoder.inputs(later.frame))))
    truth = np.exp(later.labels.astype(np.float64))
    constant = np.full(truth.size, np.exp(rows.labels.astype(np.float64)).mean())
    assert qlike_losses(truth, told).mean() < 0.9 * qlike_losses(truth, constant).mean()
    # The gamma likelihood makes the forecast a mean, not a median.
    fitted = np.exp(trees.log_variance(encoder.inputs(rows.frame)))
    assert np.mean(np.exp(rows.labels.astype(np.float64)) / fitted) == pytest.approx(1.0, abs=0.05)


def test_trees_refuse_unknown_outcomes_and_answer_no_rows(panel):
    rows = panel.rows(0, 100)
    encoder = Encoder.fit(rows)
    inputs = encoder.inputs(rows.frame)
    with pytest.raises(ModelError, match="finite"):
        VarianceTrees.fit(inputs, np.full(rows.rows, np.nan), encoder.fields, seed=1)
    trees = VarianceTrees.fit(inputs, rows.labels, encoder.fields, seed=1, rounds=3)
    assert trees.log_variance(inputs.take(slice(0, 0))).shape == (0,)
    assert trees.size_bytes > 0


def test_a_line_finds_its_weights_fills_gaps_and_is_a_mean():
    rng = np.random.default_rng(8)
    features = rng.normal(size=(5000, 3))
    logs = -9 + features @ [0.5, -0.2, 0.0] + rng.normal(0, 0.6, 5000)
    line = VarianceLine.fit(features, logs)
    assert line.weights / line.spreads == pytest.approx([0.5, -0.2, 0.0], abs=0.03)
    assert np.mean(np.exp(logs - line.log_variance(features))) == pytest.approx(1.0, abs=0.04)
    gap = line.log_variance([[np.nan, np.nan, np.nan]])
    assert gap == pytest.approx(line.log_variance([line.middles]))
    empty = VarianceLine.fit(np.column_stack([features, np.full(5000, np.nan)]), logs)
    assert np.isfinite(empty.log_variance(np.full((1, 4), np.nan))).all()
    with pytest.raises(ModelError, match="finite"):
        VarianceLine.fit(features, np.full(5000, np.nan))


def test_a_tail_by_hand():
    found = empirical_tail(np.arange(101.0) - 100.0, tail=0.05)
    assert found.quantile == pytest.approx(-95.0)
    assert found.shortfall == pytest.approx(-97.5)


def test_a_portfolio_falls_as_its_assets_fell_together():
    together = np.repeat(np.linspace(-3, 3, 400)[:, None], 4, axis=1)
    apart = np.column_stack([np.roll(together[:, 0], 100 * place) for place in range(4)])
    volatility, weights = np.full(4, 0.02), np.full(4, 0.25)
    assert portfolio_tail(together, volatility, weights, tail=0.01).quantile == pytest.approx(
        np.expm1(0.02 * asset_tail(together, tail=0.01).quantile), rel=0.01
    )
    assert portfolio_tail(apart, volatility, weights, tail=0.01).quantile > 0.5 * 0.02 * -3


def test_the_fitted_law_finds_the_tail_of_its_own_draws():
    draws = np.random.default_rng(9).standard_t(5, 60_000) * np.sqrt(3 / 5) * 1.3
    fitted, seen = student_tail(draws, tail=0.01), asset_tail(draws, tail=0.01)
    assert fitted.quantile == pytest.approx(seen.quantile, rel=0.04)
    assert fitted.shortfall == pytest.approx(seen.shortfall, rel=0.06)


def test_a_tail_of_less_than_one_value_is_refused():
    with pytest.raises(DataError, match="tail-too-thin"):
        empirical_tail(np.zeros(50), tail=0.01)
    with pytest.raises(ConfigError, match="below one half"):
        empirical_tail(np.zeros(50), tail=0.99)
