"""The market-risk job on a small market: nothing looks ahead, all is written, and figures are what they say."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import leanrisk
from leanrisk.cli.main import main
from leanrisk.core.errors import ConfigError, DataError
from leanrisk.cost.ledger import Ledger
from leanrisk.data.market_features import HISTORY, market_panel
from leanrisk.data.market_prices import prices_of
from leanrisk.data.simulate.market import MarketSize, simulate_market
from leanrisk.evaluate.volatility import qlike_losses
from leanrisk.pipelines.market_lean import LeanVariance, measured_variance, variance_of
from leanrisk.pipelines.market_models import variance_model
from leanrisk.pipelines.market_recipe import LEAN, MarketRecipe
from leanrisk.pipelines.market_tails import TAILS, portfolio_returns, risk_of
from leanrisk.pipelines.market_walk import Period, walked
from leanrisk.registry.bundle import Bundle
from leanrisk.scenarios.market import market_recipe

DAYS = 800
PRICES = prices_of(simulate_market(MarketSize(4, DAYS, seed=11)))
PANEL = market_panel(PRICES)
CHANGES = (
    "data.assets=4",
    f"data.days={DAYS}",
    "walk.first=300",
    "walk.burn_in=120",
    "walk.residuals=200",
    "walk.refit_every=200",
)
RECIPE = market_recipe("market-risk", preset="smoke", changes=CHANGES)
RECIPE = replace(RECIPE, models=("har", "garch", "lightgbm"))
PERIOD = Period.of(PANEL, RECIPE.walk)


def changed_after(day):
    """The panel of prices that are other ones after day `day` of the panel."""
    later = HISTORY + day + 1
    moves = np.random.default_rng(1).uniform(0.8, 1.25, (DAYS - later, 4))
    parts = {}
    for name in ("close", "open", "high", "low"):
        values = getattr(PRICES, name).copy()
        values[later:] *= moves
        parts[name] = values
    return market_panel(replace(PRICES, **parts))


@pytest.mark.parametrize("name", ["har", "har-levels", "har-panel", "garch", "gjr", "lightgbm", LEAN])
def test_no_model_looks_ahead(name):
    """What comes after a day moves no forecast of that day or an earlier one, refits included."""
    day = 600
    one, two = (
        walked(name, variance_model(name, RECIPE, seed=1), panel, RECIPE.walk, Ledger())
        for panel in (PANEL, changed_after(day))
    )
    assert np.isnan(one.variance[:300]).all()
    assert np.array_equal(one.variance[300 : day + 1], two.variance[300 : day + 1])
    assert not np.array_equal(one.variance[day + 1 :], two.variance[day + 1 :])
    assert (one.variance[300:] > 0).all()
    assert len(one.fits) == 3


def test_no_tail_looks_ahead():
    variance = np.full_like(PANEL.proxy, 2e-4)
    day = 600
    one, two = (risk_of(variance, panel, PERIOD, RECIPE.walk) for panel in (PANEL, changed_after(day)))
    known = day - PERIOD.test + 1
    for name in TAILS:
        for part in ("quantile", "shortfall", "portfolio_quantile", "portfolio_shortfall"):
            first, second = (getattr(risk, part)[name] for risk in (one, two))
            assert first[:known] == pytest.approx(second[:known], rel=1e-12)
            assert not np.array_equal(first[known:], second[known:])
            assert (first < 0).all()
        assert (one.shortfall[name] <= one.quantile[name]).all()
    # The last bit of a mean depends on where its numbers lie in memory.
    assert one.variance[:known] == pytest.approx(two.variance[:known], rel=1e-12)
    assert not np.array_equal(one.variance[known:], two.variance[known:])


def test_levels_make_forecasts_of_another_scale_alike():
    """A model that aims at squared returns and one that aims at a range are judged on the same scale."""
    rng = np.random.default_rng(2)
    shape = np.exp(0.3 * rng.normal(size=PANEL.proxy.shape)) * 2e-4
    one, three = (risk_of(scale * shape, PANEL, PERIOD, RECIPE.walk) for scale in (1.0, 3.0))
    assert three.variance == pytest.approx(one.variance)
    assert three.quantile["99"] == pytest.approx(one.quantile["99"])
    assert three.portfolio_quantile["99"] == pytest.approx(one.portfolio_quantile["99"])


def test_the_truth_makes_a_value_at_risk_that_holds():
    prices = prices_of(simulate_market(MarketSize(6, 2500, seed=3)))
    panel = market_panel(prices)
    assert panel.true_vol_next is not None
    recipe = MarketRecipe("truth")
    period = Period.of(panel, recipe.walk)
    risk = risk_of(np.nan_to_num(panel.true_vol_next, nan=0.01) ** 2, panel, period, recipe.walk)
    hits = portfolio_returns(panel, period) < risk.portfolio_quantile["97.5"]
    assert 0.010 < hits.mean() < 0.042


def test_a_lean_model_repeats_itself_and_its_one_graph_answers_alike_alone_and_in_company():
    lean = LeanVariance(RECIPE.lean, seed=4)
    again = LeanVariance(RECIPE.lean, seed=4)
    for model in (lean, again):
        model.fit(PANEL, 0, 300)
        model.fit(PANEL, 0, 420)
    told = lean.forecast(PANEL, 420, 500)
    assert np.array_equal(told, again.forecast(PANEL, 420, 500))
    assert lean.served is not None
    assert lean.served.lineage == ("distill", "reteach", "quantize")
    assert lean.served.precision == "int8"
    assert lean.taught is not None
    assert lean.size_bytes < 0.5 * lean.taught.size_bytes
    record = PANEL.rows(450, 451).frame.row(2, named=True)
    route = lean.served.route()
    assert route is not None
    assert np.exp(route(record)) == pytest.approx(told[30, 2], rel=1e-6)
    assert np.array_equal(variance_of(lean.served, PANEL, 420, 500), told)
    constant = np.full_like(told, PANEL.proxy[:420].mean())
    ahead = PANEL.variance_next[420:500]
    assert qlike_losses(ahead, told).mean() < qlike_losses(ahead, constant).mean()
    found = measured_variance(lean.served, PANEL.rows(420, 480), calls=50)
    assert set(found.quality) == {"mae", "volatility_mae", "qlike"}
    assert found.latency_ms is not None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("market") / "run"
    changes = (*CHANGES, 'models=["har", "garch", "lightgbm"]')
    result = leanrisk.run("market-risk", out=folder, seed=11, preset="smoke", changes=changes)
    return folder, result


def test_a_run_writes_all_that_it_promises(run):
    folder, result = run
    assert json.loads((folder / "result.json").read_text(encoding="utf-8")) == json.loads(json.dumps(result))
    assert {"result.json", "evidence.json", "forecasts.parquet", "report.html", "report.zh.html"} <= {
        file.name for file in folder.iterdir()
    }
    assert set(result["market"]["models"]) == {"har", "garch", "lightgbm", LEAN}
    assert set(result["market"]["against"]) == {"har", "garch", "lightgbm"}
    for row in result["market"]["models"].values():
        assert row["mae"]["lo"] <= row["mae"]["value"] <= row["mae"]["hi"]
        assert 0 <= row["portfolio"]["99"]["kupiec_p"] <= 1
        assert sum(row["assets"]["zones_last"].values()) == 4
        assert row["train"]["fits"] == 3
        assert row["true_mae"]["value"] > 0


def test_the_forecasts_in_the_file_are_those_of_the_figures(run):
    folder, result = run
    frame = pl.read_parquet(folder / "forecasts.parquet")
    assert frame.height == 4 * result["data"]["split"]["test_days"]
    told = frame.select(
        mae=100 * (pl.col("lean_volatility") - pl.col("variance").sqrt()).abs().mean(),
        share=(pl.col("return") < pl.col("lean_var_99")).mean(),
    ).row(0, named=True)
    lean = result["market"]["models"][LEAN]
    assert told["mae"] == pytest.approx(lean["mae"]["value"])
    assert told["share"] == pytest.approx(lean["assets"]["99"]["share"])
    assert [str(frame["date"].min()), str(frame["date"].max())] == result["data"]["split"]["test"]


def test_a_kept_model_is_in_a_bundle_that_answers_and_a_refused_one_is_in_none(run, tmp_path):
    folder, result = run
    assert (folder / "bundle").is_dir() == result["kept"]
    changes = (*CHANGES, 'models=["har"]', "qlike_margin=0.99")
    kept = leanrisk.run("market-risk", out=tmp_path / "run", seed=11, preset="smoke", changes=changes)
    assert kept["kept"]
    bundle = Bundle.load(tmp_path / "run" / "bundle")
    told = bundle.score(PANEL.rows(400, 402).frame)
    assert np.isfinite(told).all()
    tails = json.loads((tmp_path / "run" / "bundle" / "card.json").read_text(encoding="utf-8"))["tails"]
    assert tails["99"]["shortfall"] <= tails["99"]["quantile"] < 0
    assert tails["as_of"] == str(PANEL.days[-1])


def test_the_command_prints_every_model_and_reads_a_folder(tmp_path, capsys):
    place = tmp_path / "prices"
    place.mkdir()
    simulate_market(MarketSize(3, DAYS, seed=2)).write_parquet(place / "bars.parquet")
    words = ["--data", str(place), "--preset", "smoke", "--out", str(tmp_path / "out")]
    for change in (*CHANGES[1:], 'models=["har"]'):
        words += ["--set", change]
    assert main(["run", "market-risk", *words]) == 0
    shown = capsys.readouterr().out
    assert "lean against har" in shown
    assert "zone" in shown


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ("walk.first=100", "at least 250"),
        ("walk.burn_in=50", "100..residuals"),
        ('models=["har", "har"]', "each once"),
        ('models=["egarch"]', "egarch"),
        ("qlike_margin=2.0", "qlike_margin"),
        ("data.assets=-1", "not be negative"),
        ("walk.pace=1", "pace"),
    ],
)
def test_a_recipe_refuses_what_it_cannot_do(change, wanted):
    with pytest.raises(ConfigError, match=wanted):
        market_recipe("market-risk", changes=[change])


def test_a_run_refuses_too_short_a_history_a_schema_and_a_resumption(tmp_path):
    with pytest.raises(DataError, match="too-few-days"):
        Period.of(market_panel(PRICES.of(0, 600)), RECIPE.walk)
    with pytest.raises(ConfigError, match="takes no schema"):
        leanrisk.run("market-risk", schema="any.toml", out=tmp_path)
    with pytest.raises(ConfigError, match="cannot be resumed"):
        leanrisk.run("market-risk", resume=True, out=tmp_path)
