"""The technique `select`: a small set, an honest funnel, prices and budgets, and the bad input it refuses."""

from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import numpy as np
import polars as pl
import pytest

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, LeanRiskError
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.evaluate.gates import GateConfig, judge
from leanrisk.features.encoder import Encoder
from leanrisk.models.gbdt_fit import slim_gbdt
from leanrisk.models.incumbent import Reading
from leanrisk.techniques.base import Bench, Candidate, Teacher, unmeasured
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.select.funnel import STAGES
from leanrisk.techniques.select.prices import Prices

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


def refit(rows: Dataset):
    encoder = Encoder.fit(rows)
    reading = Reading(encoder.inputs, encoder.record)
    return slim_gbdt(encoder.inputs(rows.frame), rows.labels, encoder.fields, reading, seed=1)


def bench_of(rows: Dataset) -> Bench:
    older = np.arange(rows.rows) < rows.rows * 3 // 4
    compare = partial(judge, config=GateConfig(auc_margin=-0.02, ks_margin=-0.05, resamples=100), seed=1)
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


def test_one_bad_is_too_few(rows, start):
    labels = rows.labels
    first = np.flatnonzero(labels == 1)[:1]
    few = rows.take(np.sort(np.concatenate([first, np.flatnonzero(labels == 0)[:800]])))
    with pytest.raises(LeanRiskError):
        technique("select", QUICK).apply(start, replace(bench_of(rows), train=few))
