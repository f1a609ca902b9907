"""The technique `select`: a small set, an honest funnel, prices and budgets, and the bad input it refuses."""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, LeanRiskError
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data.thinning import thinned
from leanrisk.evaluate.gates import GateConfig, judge
from leanrisk.features.encoder import Encoder
from leanrisk.models.calibration import Calibration
from leanrisk.models.gbdt_fit import slim_gbdt
from leanrisk.models.incumbent import Reading
from leanrisk.techniques.base import Bench, Candidate, Teacher, unmeasured
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.graph_model import GraphModel
from leanrisk.techniques.select.criteria import Budget
from leanrisk.techniques.select.funnel import STAGES
from leanrisk.techniques.select.prices import Prices
from leanrisk.techniques.select.sampling import row_weights

ROWS = 3000
NOISE = tuple(f"noise_{place}" for place in range(12))
QUICK = {"folds": 2, "repeats": 3, "share": 0.4, "least": 2}


def schema() -> Schema:
    numbers = [Column("income", Kind.NUMERIC), Column("income_copy", Kind.NUMERIC), Column("debt", Kind.NUMERIC)]
    bought = [Column(f"bureau_{place}", Kind.NUMERIC, price=2.0, latency_ms=80, lookup="bureau") for place in range(3)]
    odd = [Column("same", Kind.NUMERIC), Column("empty", Kind.NUMERIC), Column("told", Kind.NUMERIC)]
    return Schema(
        (
            *numbers,
            *bought,
            *odd,
            Column("moving", Kind.NUMERIC),
            Column("region", Kind.CATEGORY),
            *(Column(name, Kind.NUMERIC) for name in NOISE),
            Column("day", Kind.DATE, Role.TIME),
            Column("bad", Kind.NUMERIC, Role.TARGET),
        )
    )


@pytest.fixture(scope="module")
def rows() -> Dataset:
    rng = np.random.default_rng(3)
    income, debt, region = rng.normal(size=ROWS), rng.normal(size=ROWS), rng.integers(3, size=ROWS)
    risk = -1.5 - 1.2 * income + 1.0 * debt + 1.4 * (region == 2)
    bad = rng.random(ROWS) < 1 / (1 + np.exp(-risk))
    step = np.arange(ROWS) * 360 // ROWS
    frame = pl.DataFrame(
        {
            "income": income,
            "income_copy": 3 * income + 1e-3 * rng.normal(size=ROWS),
            "debt": debt,
            **{f"bureau_{place}": rng.normal(size=ROWS) for place in range(3)},
            "same": np.ones(ROWS),
            "empty": [None] * ROWS,
            "told": bad + 0.01 * rng.normal(size=ROWS),
            "moving": rng.normal(size=ROWS) + step / 60,
            "region": np.array(["north", "east", "south"])[region],
            **{name: rng.normal(size=ROWS) for name in NOISE},
            "day": [date(2024, 1, 1) + timedelta(days=int(day)) for day in step],
            "bad": bad.astype(np.float64),
        },
        schema_overrides={"empty": pl.Float32},
    )
    return Dataset(frame.with_columns(pl.col(pl.Float64).cast(pl.Float32)), schema())


def refit(rows: Dataset, *, draw: int = 0):
    encoder = Encoder.fit(rows)
    reading = Reading(encoder.inputs, encoder.record)
    return slim_gbdt(encoder.inputs(rows.frame), rows.labels, encoder.fields, reading, seed=1 + draw)


def bench_of(rows: Dataset) -> Bench:
    older = np.arange(rows.rows) < rows.rows * 3 // 4
    compare = partial(judge, config=GateConfig(auc_margin=-0.03, ks_margin=-0.1, resamples=100), seed=1)
    return Bench(rows.where(older), rows.where(~older), Teacher(None), unmeasured, 1, refit=refit, compare=compare)


@pytest.fixture(scope="module")
def start(rows) -> Candidate:
    return Candidate(rows.features, refit(rows.where(np.arange(rows.rows) < 500)))


@pytest.fixture(scope="module")
def after(rows, start) -> Candidate:
    return technique("select", QUICK).apply(start, bench_of(rows))


def fates(after: Candidate) -> dict[str, dict]:
    return {fate["name"]: fate for fate in after.details["select"]["funnel"]}


def test_what_ranks_stays_and_noise_goes(after, start):
    assert {"debt", "region"} <= set(after.features)
    assert len({"income", "income_copy"} & set(after.features)) == 1
    assert len(after.features) < len(start.features) / 2
    assert set(after.model.features) == set(after.features)
    assert (start.lineage, after.lineage) == ((), ("select",))


def test_every_feature_is_in_the_funnel_with_its_reason(after, start):
    found = fates(after)
    assert sorted(found) == sorted(start.features)
    assert all(fate["stage"] in STAGES and fate["reason"] for fate in found.values())
    assert {name: found[name]["stage"] for name in ("same", "empty", "told", "moving")} == {
        "same": "constant",
        "empty": "missing",
        "told": "leak_suspect",
        "moving": "unstable",
    }
    pair = [found["income"], found["income_copy"]]
    assert sorted(fate["stage"] for fate in pair) == ["kept", "redundant"]
    assert {name for name, fate in found.items() if fate["stage"] in ("kept", "fixed")} == set(after.features)
    assert found["debt"]["kept_share"] == 1.0


def test_the_curve_holds_each_set_with_its_price_and_one_is_chosen(after):
    curve = after.details["select"]["curve"]
    assert sum(point["chosen"] for point in curve) == 1
    chosen = next(point for point in curve if point["chosen"])
    assert chosen["features"] == len(after.features)
    assert chosen["proven"]
    assert chosen["money"] == 0.0
    assert max(point["money"] for point in curve) == 2.0


def test_equal_arguments_choose_equal_sets(rows, start, after):
    again = technique("select", QUICK).apply(start, bench_of(rows))
    assert again.features == after.features
    assert again.details == after.details


def test_what_the_recipe_keeps_stays_whatever_it_is_worth(rows, start):
    kept = technique("select", {**QUICK, "keep": ("noise_3", "moving"), "repeats": 0}).apply(start, bench_of(rows))
    assert {"noise_3", "moving"} <= set(kept.features)
    assert fates(kept)["moving"]["stage"] == "fixed"


def test_a_look_up_is_paid_once_and_the_dearest_comes_first():
    prices = Prices.of(schema())
    assert prices.basket(["bureau_0", "bureau_1", "debt"]).order == (2.0, 80.0, 3)
    assert prices.basket([]).order == (0.0, 0.0, 0)
    assert list(prices.calls(rows_features())) == ["bureau"]


def rows_features():
    return schema().features


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"keep": ("nothing",)}, "must name features: nothing"),
        ({"keep": schema().features}, "all 23 features are fixed"),
        ({"keep": ("bureau_0",), "budget": {"money": 1.0}}, "must fit the budget"),
        ({"keep": ("bureau_0",), "whole_calls": True, "budget": {"features": 2}}, "bureau_0 cost 3 features"),
        ({"leak_auc": 0.01, "missing": 1e-9}, "must leave a feature"),
    ],
)
def test_what_cannot_be_selected_is_refused_by_name(rows, start, settings, says):
    with pytest.raises(ConfigError, match=says):
        technique("select", {**QUICK, **settings}).apply(start, bench_of(rows))


@pytest.mark.parametrize(
    "settings",
    [
        {"share": 0.0},
        {"share": 1},
        {"folds": 1},
        {"least": 0},
        {"rows": 10},
        {"newest": 0.9},
        {"budget": {"money": -1}},
    ],
)
def test_settings_check_themselves(settings):
    with pytest.raises(ConfigError):
        technique("select", settings)


def test_a_budget_that_no_set_meets_is_refused_with_the_cheapest_set(rows, start):
    with pytest.raises(ConfigError, match="cheapest that is not inferior"):
        technique("select", {**QUICK, "budget": {"features": 1}}).apply(start, bench_of(rows))


def test_a_round_without_an_incumbent_to_refit_is_refused(rows, start):
    with pytest.raises(ConfigError, match="selected in a run"):
        technique("select", QUICK).apply(start, replace(bench_of(rows), refit=None))


def test_a_feature_that_moves_stays_where_the_ranking_needs_it(rows, start):
    """Over years nearly every honest column moves: that alone sends none away."""
    moved = rows.frame.with_columns(income=pl.col("income") + pl.col("moving") * 0.8, income_copy=pl.lit(1.0))
    drifting = replace(rows, frame=moved.with_columns(pl.col(pl.Float64).cast(pl.Float32)))
    found = fates(technique("select", {**QUICK, "repeats": 0}).apply(start, bench_of(drifting)))
    assert found["income"]["psi"] > 0.25
    assert found["income"]["stage"] == "kept"
    assert "PSI reaches" in found["income"]["reason"]


def test_a_look_up_that_alone_exceeds_the_budget_goes_as_a_whole(rows, start):
    found = fates(technique("select", {**QUICK, "repeats": 0, "budget": {"money": 1.5}}).apply(start, bench_of(rows)))
    assert {found[f"bureau_{place}"]["stage"] for place in range(3)} == {"over_budget"}
    assert "'bureau' costs 2.00 and 80 ms" in found["bureau_1"]["reason"]


def test_a_group_with_more_features_than_the_budget_goes_as_a_whole(rows, start):
    settings = {**QUICK, "repeats": 0, "whole_calls": True, "budget": {"features": 2}, "keep": ("debt",)}
    with pytest.raises(ConfigError, match="cheapest that is not inferior"):
        technique("select", settings).apply(start, bench_of(rows))
    prices = Prices.of(schema())
    over = prices.over(schema().features, Budget(features=2).holds, whole=True)
    assert sorted(over) == ["bureau_0", "bureau_1", "bureau_2"]
    assert "2.00 and 80 ms for 3 features" in over["bureau_0"]
    assert prices.over(schema().features, Budget(features=2).holds) == {}


def test_each_feature_bears_its_share_of_a_look_up_and_the_last_one_all_of_it():
    prices = Prices.of(schema())
    assert prices.shared(["bureau_0", "debt", "bureau_2"]).tolist() == [[1.0, 40.0], [0.0, 0.0], [1.0, 40.0]]
    assert prices.shared(["bureau_1"]).tolist() == [[2.0, 80.0]]


def test_whole_calls_stay_or_go_as_one(rows, start):
    frame = rows.frame.with_columns(bureau_1=pl.col("debt"), debt=pl.lit(None, dtype=pl.Float32))
    bought = replace(rows, frame=frame)
    found = technique("select", {**QUICK, "whole_calls": True}).apply(start, bench_of(bought))
    assert {f"bureau_{place}" for place in range(3)} <= set(found.features)


def test_weights_count_in_fitting_and_may_be_stated(rows, start):
    frame = rows.frame.with_columns(weight=1 + pl.col("debt").abs())
    columns = (*rows.schema.columns, Column("weight", Kind.NUMERIC, Role.IGNORED))
    weighed = Dataset(frame, replace(rows.schema, columns=columns))
    settings = {**QUICK, "repeats": 0}
    plain, heavy, both = (
        technique("select", {**settings, **more}).apply(start, bench_of(weighed)).details["select"]["curve"][0]["ks"]
        for more in ({}, {"weights": "weight"}, {"weights": "weight", "balance": True})
    )
    assert len({plain, heavy, both}) == 3


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("debt", None, "'debt' is a feature"),
        ("nothing", None, "'nothing' is none of its columns"),
        ("weight", -1.0, "3000 of 3000"),
        ("weight", None, "3000 of 3000"),
        ("weight", 0.0, "their sum is 0"),
    ],
)
def test_weights_that_are_none_are_refused(rows, name, values, says):
    frame = rows.frame.with_columns(weight=pl.lit(values, dtype=pl.Float64))
    with pytest.raises(ConfigError, match=says):
        row_weights(replace(rows, frame=frame), name, balance=False)


@pytest.mark.parametrize("bads", [0, 1])
def test_no_bads_or_one_are_too_few_for_weights_and_folds(rows, start, bads):
    labels = rows.labels
    chosen = np.concatenate([np.flatnonzero(labels == 1)[:bads], np.flatnonzero(labels == 0)[:800]])
    few = rows.take(np.sort(chosen))
    with pytest.raises(LeanRiskError):
        technique("select", {**QUICK, "balance": True}).apply(start, replace(bench_of(rows), train=few))


def test_a_hundred_thousand_levels_one_value_and_nothing_at_all_work_side_by_side():
    """The bad columns of a large table go by name, and what ranks stays."""
    rng = np.random.default_rng(5)
    count = 100_000
    income, bad = rng.normal(size=count), np.zeros(count)
    bad[rng.random(count) < 1 / (1 + np.exp(3.0 + 1.5 * income))] = 1.0
    frame = pl.DataFrame(
        {
            "income": income.astype(np.float32),
            "noise_0": rng.normal(size=count).astype(np.float32),
            "region": pl.int_range(count, eager=True).cast(pl.String) + "-only",
            "same": np.ones(count, dtype=np.float32),
            "empty": pl.Series([None] * count, dtype=pl.Float32),
            "bad": bad.astype(np.float32),
        }
    )
    whole = Dataset(frame, replace(schema(), columns=tuple(schema()[name] for name in frame.columns)))
    bench = replace(bench_of(whole), refit=lambda rows, *, draw=0: refit(thinned(rows, 3000, purpose="test", seed=1)))
    start = Candidate(whole.features, refit(thinned(whole, 3000, purpose="test", seed=1)))
    after = technique("select", {**QUICK, "repeats": 0, "rows": 3000, "least": 1}).apply(start, bench)
    found = fates(after)
    assert (found["same"]["stage"], found["empty"]["stage"]) == ("constant", "missing")
    assert found["region"]["distinct"] > 2000
    assert found["region"]["shap"] == 0.0
    assert "income" in after.features
    assert "region" not in after.features


@dataclass(frozen=True, kw_only=True)
class Network(GraphModel):
    """A network whose score is the debt, so that what it is worth to it is known."""

    kind: ClassVar[str] = "risk-transformer"
    parameters: ClassVar[int] = 0

    def score(self, inputs):
        return (1 / (1 + np.exp(-inputs.numeric[:, self.features.index("debt")]))).astype(np.float32)

    def write_parts(self, folder):
        raise AssertionError("a test writes nothing")

    @classmethod
    def read_parts(cls, folder, encoder, calibration, facts):
        raise AssertionError("a test reads nothing")


def test_a_network_is_read_by_sampled_shapley_values_with_their_error(rows, start):
    network = Network(encoder=Encoder.fit(rows), calibration=Calibration("isotonic", 1.0, 0.0), graph=b"")
    after = technique("select", QUICK).apply(replace(start, model=network), bench_of(rows))
    found, told = fates(after), after.details["select"]["attribution"]
    assert told["method"] == "sampled Shapley"
    assert 0 < told["completeness_gap"] < 0.5 * told["mean_score_difference"]
    assert found["debt"]["shap"] > 5 * found["debt"]["shap_error"] > 0
    assert found["debt"]["kept_share"] == 1.0
    assert {found[name]["shap"] for name in NOISE} == {0.0}
    assert start.model.kind == after.model.kind == "lightgbm"


def test_trees_are_explained_exactly(after):
    assert after.details["select"]["attribution"] == {"method": "TreeSHAP"}
    chosen = next(point for point in after.details["select"]["curve"] if point["chosen"])
    assert chosen["valid_ks"] is not None
