"""The simulated market: equal by seed, bars that are bars, and the facts of markets that it is made to show."""

import json

import numpy as np
import polars as pl
import pytest

from leanrisk.cli.main import main
from leanrisk.core.errors import ConfigError
from leanrisk.core.schema import Role, Schema
from leanrisk.data.contract import check
from leanrisk.data.simulate.market import MARKET_JUMPS, MarketSize, market_schema, simulate_market

SIZE = MarketSize(12, 1500, seed=3)


@pytest.fixture(scope="module")
def bars():
    return simulate_market(SIZE)


@pytest.fixture(scope="module")
def by_day(bars):
    """Each column as (days, stocks)."""
    return {name: bars[name].to_numpy().reshape(SIZE.days, SIZE.assets) for name in bars.columns}


def test_the_schema_fits_the_frame_and_shows_no_model_the_truth(bars):
    schema = market_schema()
    assert [column.name for column in schema.columns] == bars.columns
    assert Schema.from_dict(schema.to_dict()) == schema
    # The bars are raw material: the only thing that the contract misses is a column for a model to read.
    assert [fault.code for fault in check(bars, schema, labelled=False)] == ["no-features"]
    assert all(schema[name].role is Role.EXPOST for name in bars.columns if name.startswith("_"))


def test_equal_seeds_give_equal_markets(bars):
    assert simulate_market(SIZE).equals(bars)
    assert not simulate_market(MarketSize(12, 1500, seed=4)).equals(bars)


def test_bars_are_bars_on_weekdays(bars):
    assert bars.select((pl.col("high") >= pl.max_horizontal("open", "close")).all()).item()
    assert bars.select((pl.col("low") <= pl.min_horizontal("open", "close")).all()).item()
    assert (bars["low"] > 0).all()
    assert bars.group_by("date").len()["len"].unique().to_list() == [SIZE.assets]
    assert (bars["date"].dt.weekday() <= 5).all()


def test_the_true_volatility_is_that_of_the_return(by_day):
    """Returns over it have a spread of one, in quiet days and in wild ones."""
    z = np.diff(np.log(by_day["close"]), axis=0) / by_day["_true_vol"][1:]
    wild = by_day["_true_vol"][1:] > np.median(by_day["_true_vol"])
    for part in (z[wild], z[~wild]):
        # Stocks of a day move together: the number of independent values is nearer that of days.
        assert part.std() == pytest.approx(1.0, abs=0.08)
        assert abs(part.mean()) < 0.08


def test_returns_have_fat_tails_a_common_factor_and_volatility_that_lasts(by_day):
    returns = np.diff(np.log(by_day["close"]), axis=0)
    scaled = (returns - returns.mean(axis=0)) / returns.std(axis=0)
    assert (scaled**4).mean() > 4.0
    links = np.corrcoef(returns.T)[np.triu_indices(SIZE.assets, 1)]
    assert 0.2 < links.mean() < 0.8
    levels = np.log(by_day["_true_vol"])
    levels = levels - levels.mean(axis=0)
    assert (levels[20:] * levels[:-20]).mean() / (levels**2).mean() > 0.3


def test_falls_bring_more_unrest_than_rises(by_day):
    market = np.diff(np.log(by_day["close"]), axis=0).mean(axis=1)
    after = np.diff(np.log(by_day["_true_vol"]), axis=0)[1:].mean(axis=1)
    assert np.corrcoef(market[:-1], after)[0, 1] < -0.2


def test_jumps_and_stress_come_about_as_often_as_they_are_told():
    long = simulate_market(MarketSize(1, 12_000, seed=1))
    assert 0.06 < long["_stressed"].to_numpy().mean() < 0.28
    assert long["_jump"].to_numpy().mean() == pytest.approx(0.02, abs=0.005)
    assert MARKET_JUMPS.variance == pytest.approx(0.008 * 4.5e-4, rel=0.01)


@pytest.mark.parametrize("size", [(0, 100, 1), (3, 10, 1), (3, 100, -1), (6000, 100, 1)])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(ConfigError):
        MarketSize(*size)


def test_the_command_writes_bars_and_schema_in_every_format(tmp_path, capsys):
    for ending, read in ((".parquet", pl.read_parquet), (".arrow", pl.read_ipc), (".csv", pl.read_csv)):
        file = tmp_path / f"market{ending}"
        assert main(["simulate", "market", "--assets", "3", "--days", "60", "-o", str(file), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["rows"], told["bytes"]) == (180, file.stat().st_size)
        assert Schema.read(told["schema"]) == market_schema()
        assert read(file)["close"].to_list() == simulate_market(MarketSize(3, 60))["close"].to_list()
    assert main(["simulate", "market", "--days", "3", "-o", str(tmp_path / "short.parquet")]) == 2
    assert "3 were asked for" in capsys.readouterr().err
