"""Prices from every form of file, and the faults that are refused by name."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from leanrisk.core.errors import DataError
from leanrisk.data.market_prices import prices_of, read_prices
from leanrisk.data.simulate.market import MarketSize, simulate_market

DAYS = [dt.date(2024, 1, day) for day in (2, 3, 4, 5)]


def wide(**columns):
    return pl.DataFrame({"Date": DAYS, **columns})


def test_bars_of_any_order_become_arrays_of_days_and_assets():
    bars = simulate_market(MarketSize(3, 60, seed=2))
    prices = prices_of(bars.sample(fraction=1.0, shuffle=True, seed=1).rename({"asset": "Name", "date": "DATE"}))
    assert prices.assets == ("S1", "S2", "S3")
    assert prices.days == 60
    assert np.array_equal(prices.close, bars["close"].to_numpy().reshape(60, 3))
    assert prices.high is not None
    assert (prices.high >= prices.close).all()
    assert prices.true_vol is not None
    assert prices.returns[0].tolist() == [0.0] * 3
    assert prices.returns[5, 1] == pytest.approx(np.log(prices.close[5, 1] / prices.close[4, 1]))


def test_columns_of_closes_and_dates_as_text():
    prices = prices_of(
        wide(A=[1.0, 2.0, 3.0, 4.0], B=[5.0, 5.0, 5.0, 6.0]).with_columns(pl.col("Date").cast(pl.String))
    )
    assert prices.assets == ("A", "B")
    assert prices.high is None
    assert prices.dates[0] == np.datetime64("2024-01-02")


def test_a_series_of_returns_with_its_realised_variance():
    frame = pl.DataFrame(
        {"date": DAYS, "return": [9.0, 1.0, -2.0, 0.5], "rv": [None, 1.5, 2.0, 0.5], "vix": [20.0, 21.0, None, 22.0]}
    )
    prices = prices_of(frame)
    assert prices.days == 3
    assert prices.realised is not None
    assert prices.realised[:, 0] == pytest.approx([1.5e-4, 2e-4, 0.5e-4])
    assert prices.returns[1:, 0] == pytest.approx([-0.02, 0.005])
    assert prices.fear is not None
    assert prices.fear.tolist() == [21.0, 21.0, 22.0]


def test_the_index_of_a_day_is_the_last_one_known_and_never_a_later_one(tmp_path):
    (tmp_path / "fear").mkdir()
    pl.DataFrame({"DATE": [DAYS[0], DAYS[2]], "CLOSE": [15.0, 30.0]}).write_parquet(tmp_path / "fear" / "vix.parquet")
    wide(A=[1.0, 2.0, 3.0, 4.0]).write_csv(tmp_path / "prices.csv")
    prices = read_prices(tmp_path / "prices.csv", fear=tmp_path / "fear")
    assert prices.fear is not None
    assert prices.fear.tolist() == [15.0, 15.0, 30.0, 30.0]


def test_gaps_are_days_without_a_trade_and_short_lived_assets_are_left_out():
    frame = simulate_market(MarketSize(3, 200, seed=2)).with_columns(
        close=pl.when((pl.col("asset") == "S1") & (pl.col("date") == dt.date(2012, 3, 1)))
        .then(None)
        .otherwise("close"),
        open=pl.when((pl.col("asset") == "S2") & (pl.col("date") == dt.date(2012, 3, 1))).then(None).otherwise("open"),
    )
    frame = frame.filter((pl.col("asset") != "S3") | (pl.col("date") > dt.date(2012, 6, 1)))
    prices = prices_of(frame)
    day = int(np.searchsorted(prices.dates, np.datetime64("2012-03-01")))
    assert prices.assets == ("S1", "S2")
    assert prices.returns[day, 0] == 0.0
    assert prices.open is not None
    assert prices.open[day, 1] == prices.close[day - 1, 1]
    assert len(prices.notes) == 3


def test_fewer_assets_are_spread_over_the_list_and_days_are_the_last():
    prices = prices_of(simulate_market(MarketSize(9, 60, seed=2)))
    cut = prices.of(3, 20)
    assert cut.assets == ("S1", "S5", "S9")
    assert np.array_equal(cut.close, prices.close[-20:, [0, 4, 8]])
    assert prices.of(0).assets == prices.assets


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (pl.DataFrame({"A": [1.0]}), "no-date"),
        (wide(A=["x"] * 4), "no-prices"),
        (wide(A=[1.0, 0.0, 1.0, 1.0]), "not-a-price"),
        (wide(A=[1.0, -2.0, 1.0, 1.0]), "not-a-price"),
        (wide(A=[None, None, None, 1.0]), "no-whole-asset"),
        (pl.concat([wide(A=[1.0] * 4)] * 2), "duplicate-day"),
        (wide(Name=["a"] * 4, close=[1.0] * 4).with_columns(Date=pl.lit(DAYS[0])), "duplicate-day"),
        (pl.DataFrame({"date": ["one", "two"], "A": [1.0, 2.0]}), "not-a-day"),
    ],
)
def test_faults_are_refused_by_name(frame, code):
    with pytest.raises(DataError, match=code):
        prices_of(frame)


def test_a_folder_holds_one_table(tmp_path):
    with pytest.raises(DataError, match="none"):
        read_prices(tmp_path)
    for name in ("a.csv", "b.csv"):
        wide(A=[1.0, 2.0, 3.0, 4.0]).write_csv(tmp_path / name)
    with pytest.raises(DataError, match=r"a\.csv, b\.csv"):
        read_prices(tmp_path)


def test_an_index_that_begins_too_late_is_refused(tmp_path):
    wide(A=[1.0, 2.0, 3.0, 4.0]).write_csv(tmp_path / "prices.csv")
    pl.DataFrame({"DATE": DAYS[2:], "CLOSE": [15.0, 16.0]}).write_csv(tmp_path / "vix.csv")
    with pytest.raises(DataError, match="index-too-short"):
        read_prices(tmp_path / "prices.csv", fear=tmp_path / "vix.csv")


@pytest.mark.parametrize(
    ("name", "assets"),
    [
        ("market_sp500_5yr_panel", 474),
        ("market_long_prices/ftse100_64_stocks_2000_2023.parquet", 64),
        ("market_sp500_realized_vol", 1),
    ],
)
def test_the_public_panels_read(public_data, name, assets):
    prices = read_prices(public_data / name, fear=public_data / "market_vix")
    assert len(prices.assets) == assets
    assert prices.fear is not None
    assert np.isfinite(prices.returns).all()
