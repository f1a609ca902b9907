"""Features of a day rest on that day and earlier ones alone, and say what they claim to say."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import DataError
from leanrisk.data.market_features import HISTORY, TARGET, daily_variance, market_panel, parkinson
from leanrisk.data.market_prices import Prices, prices_of
from leanrisk.data.simulate.market import MarketSize, simulate_market

DAYS = 130
BARS = prices_of(simulate_market(MarketSize(3, DAYS, seed=5)))
BARS = replace(BARS, fear=np.asarray(15.0 + np.arange(DAYS) % 7, dtype=np.float64))
FORMS = {
    "bars": BARS,
    "closes": replace(BARS, open=None, high=None, low=None),
    "realised": replace(BARS, realised=np.full((DAYS, 3), 1e-4) * (1 + np.arange(DAYS) % 5)[:, None]),
}


def changed_after(prices: Prices, day: int, seed: int) -> Prices:
    """The same prices up to the close of `day`, and other ones from then on."""
    rng = np.random.default_rng(seed)

    def other(values):
        if values is None:
            return None
        moved = values.copy()
        moved[day + 1 :] *= rng.uniform(0.2, 5.0, moved[day + 1 :].shape)
        return moved

    parts = {name: other(getattr(prices, name)) for name in ("close", "realised", "fear", "true_vol")}
    if prices.open is not None:
        parts["open"] = other(prices.open)
        ends = np.stack([parts["open"], parts["close"]])
        parts["high"] = np.where(np.arange(DAYS)[:, None] > day, 1.1 * ends.max(axis=0), prices.high)
        parts["low"] = np.where(np.arange(DAYS)[:, None] > day, 0.9 * ends.min(axis=0), prices.low)
    return replace(prices, **parts)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.integers(HISTORY, DAYS - 2), st.integers(0, 99))
def test_what_comes_later_changes_no_feature(form, day, seed):
    panel, other = market_panel(FORMS[form]), market_panel(changed_after(FORMS[form], day, seed))
    known = day - HISTORY + 1
    names = panel.dataset.features
    assert panel.rows(0, known).frame.select(names).equals(other.rows(0, known).frame.select(names))
    # The outcome of the last known day is what has changed, or the test would prove nothing.
    assert panel.rows(known - 1, known).frame[TARGET].to_list() != other.rows(known - 1, known).frame[
        TARGET
    ].to_list() or (form == "realised")


def test_a_planted_look_ahead_is_caught():
    """The property would fail for a feature that reads a day too far."""
    panel, other = market_panel(BARS), market_panel(changed_after(BARS, 100, 1))
    known = 100 - HISTORY + 1
    one, two = (part.feature("variance_day")[1 : known + 1] for part in (panel, other))
    assert not np.array_equal(one, two)


def test_the_target_is_the_next_days_variance_and_the_last_day_has_none():
    panel = market_panel(BARS)
    target = panel.dataset.frame[TARGET].to_numpy().reshape(-1, 3)
    variance, name = daily_variance(BARS)
    assert name == panel.proxy_name == "garman-klass"
    assert np.exp(target[:-1]) == pytest.approx(variance[HISTORY + 1 :])
    assert np.isnan(target[-1]).all()
    assert np.isnan(panel.dataset.labels[-3:]).all()
    assert panel.returns_next[4, 1] == pytest.approx(BARS.returns[HISTORY + 5, 1])
    assert panel.true_vol_next is not None
    assert BARS.true_vol is not None
    assert np.array_equal(panel.true_vol_next[:-1], BARS.true_vol[HISTORY + 1 :])


def test_means_by_hand():
    panel = market_panel(BARS)
    variance, _ = daily_variance(BARS)
    day = 30
    assert panel.feature("variance_week")[day, 0] == pytest.approx(
        np.log(variance[HISTORY + day - 4 : HISTORY + day + 1, 0].mean()), rel=1e-6
    )
    assert panel.feature("variance_month")[day, 2] == pytest.approx(
        np.log(variance[HISTORY + day - 21 : HISTORY + day + 1, 2].mean()), rel=1e-6
    )
    assert BARS.fear is not None
    assert panel.feature("fear")[day, 0] == pytest.approx(np.log(BARS.fear[HISTORY + day]), rel=1e-6)
    rows = panel.rows(day, day + 1).frame
    assert rows["asset"].to_list() == ["S1", "S2", "S3"]
    assert rows["date"].unique().to_list() == [BARS.dates[HISTORY + day].item()]


def test_estimators_agree_with_a_day_of_known_variance():
    """Over many simulated days the bar's estimates and the squared return have the same mean, within discreteness."""
    prices = prices_of(simulate_market(MarketSize(20, 1200, seed=6)))
    calm = np.abs(prices.returns[1:]) < 0.05
    squares = (prices.returns[1:] ** 2)[calm].mean()
    variance, _ = daily_variance(prices)
    assert variance[1:][calm].mean() / squares == pytest.approx(0.85, abs=0.15)
    assert prices.open is not None
    session = np.log(prices.close / prices.open)[1:] ** 2
    spread = parkinson(prices)
    assert spread is not None
    assert spread[1:][calm].mean() / session[calm].mean() == pytest.approx(0.9, abs=0.15)


def test_one_asset_has_no_market_to_compare_with():
    panel = market_panel(FORMS["closes"].of(1))
    assert not [name for name in panel.dataset.features if name.startswith("market_")]
    assert np.isfinite(panel.dataset.frame.select(panel.dataset.features).to_numpy()).all()


def test_a_flat_price_gives_finite_features():
    flat = Prices(np.arange("2024-01-01", "2024-06-01", dtype="datetime64[D]"), ("A",), np.full((152, 1), 10.0))
    panel = market_panel(flat)
    assert np.isfinite(panel.dataset.frame.select(panel.dataset.features).to_numpy()).all()


def test_too_short_a_history_is_refused():
    with pytest.raises(DataError, match="too-few-days"):
        market_panel(BARS.of(0, HISTORY + 1))
