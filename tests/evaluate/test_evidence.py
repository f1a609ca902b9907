from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from leanrisk.core import metrics
from leanrisk.core.dataset import Dataset, conform
from leanrisk.core.errors import ConfigError, DataError, ModelError
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.evaluate.calibration import reliability
from leanrisk.evaluate.curves import gains_table, ks_curve, roc_curve
from leanrisk.evaluate.evidence import score_evidence
from leanrisk.evaluate.fairness import banded, fairness, group_table
from leanrisk.evaluate.fidelity import cutoff_at, fidelity, rank_correlation
from leanrisk.evaluate.stability import feature_psi, score_shares

Floats = npt.NDArray[np.float64]


def book(rows: int = 1000, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Outcomes that follow the first probability, and a second one close to it."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1.5, 1.0, size=rows)
    near = logit + rng.normal(scale=0.3, size=rows)
    probability = 1 / (1 + np.exp(-logit))
    return (rng.random(rows) < probability).astype(float), probability, 1 / (1 + np.exp(-near))


@pytest.mark.parametrize("levels", [5, 10_000])
def test_roc_runs_from_corner_to_corner_and_holds_its_area(levels: int) -> None:
    labels, scores, _ = book(3000)
    scores = np.round(scores * levels) / levels
    curve = roc_curve(labels, scores)
    fpr, tpr = np.array(curve["fpr"]), np.array(curve["tpr"])
    assert len(fpr) == len(tpr) <= 200
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(tpr) >= 0).all()
    assert np.trapezoid(tpr, fpr) == pytest.approx(roc_auc_score(labels, scores), abs=0.002)


def test_ks_curve_holds_the_point_where_ks_stands() -> None:
    labels, scores, _ = book(3000)
    curve = ks_curve(labels, scores)
    gaps = np.array(curve["bad"]) - np.array(curve["good"])
    assert len(gaps) <= 200
    assert curve["value"] == metrics.ks(labels, scores)
    assert gaps.max() == pytest.approx(curve["value"], abs=2e-6)
    assert curve["share"][int(gaps.argmax())] == pytest.approx(curve["at"], abs=1e-6)
    assert (curve["share"][0], curve["share"][-1]) == (0.0, 1.0)


def test_gains_add_up() -> None:
    labels, scores, _ = book(1005)
    table = gains_table(labels, scores)
    assert [row["decile"] for row in table] == list(range(1, 11))
    assert sum(row["rows"] for row in table) == 1005
    assert sum(row["bads"] for row in table) == labels.sum()
    assert table[-1]["cum_bad_share"] == 1.0
    assert table[-1]["lift"] == 1.0
    assert table[-1]["ks"] == pytest.approx(0.0)
    top = np.argsort(-scores)[: table[0]["rows"]]
    assert table[0]["bads"] == labels[top].sum()
    assert table[0]["lift"] == pytest.approx(labels[top].sum() / labels.sum() / (top.size / 1005))
    assert max(row["ks"] for row in table) <= metrics.ks(labels, scores)


def test_gains_keep_ties_together_and_leave_empty_deciles_out() -> None:
    table = gains_table([1, 1, 0, 1, 0, 0, 0, 0, 0, 0], [0.9] * 4 + [0.1] * 6)
    assert [(row["decile"], row["rows"], row["bads"]) for row in table] == [(3, 4, 3), (8, 6, 0)]


def test_reliability_covers_the_rate_of_a_calibrated_score() -> None:
    """Each bin's limits must hold its mean probability in about 95 % of bins when outcomes follow the scores."""
    inside = 0
    trials = 100
    for seed in range(trials):
        labels, scores, _ = book(500, seed)
        table = reliability(labels, scores)
        assert sum(row["rows"] for row in table) == 500
        inside += sum(row["lo"] <= row["predicted"] <= row["hi"] for row in table)
    low, high = stats.binom.ppf([0.001, 0.999], 10 * trials, [0.94, 0.97])
    assert low <= inside <= high


def test_reliability_of_equal_scores_is_one_row() -> None:
    (row,) = reliability([0, 0, 0, 1], [0.2] * 4)
    assert (row["predicted"], row["observed"], row["rows"]) == (pytest.approx(0.2), 0.25, 4)
    with pytest.raises(ModelError, match="between 0 and 1"):
        reliability([0, 1], [1.0, 2.0])


SCHEMA = Schema(
    (
        Column("bad", Kind.NUMERIC, Role.TARGET),
        Column("still", Kind.NUMERIC, missing_codes=(-7.0,)),
        Column("moved", Kind.NUMERIC, missing_codes=(-7.0, 0.1)),
        Column("branch", Kind.CATEGORY),
        Column("sex", Kind.CATEGORY, Role.PROTECTED),
        Column("age", Kind.NUMERIC, Role.PROTECTED),
    )
)


def table(rows: int = 2000, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "bad": (rng.random(rows) < 0.3).astype(int),
            "still": np.where(rng.random(rows) < 0.1, -7.0, rng.normal(size=rows)),
            "moved": rng.normal(size=rows),
            "branch": rng.choice(np.array(["north", "south", None]), size=rows),
            "sex": rng.choice(np.array(["f", "m", None]), p=[0.45, 0.5, 0.05], size=rows),
            "age": rng.integers(20, 80, size=rows),
        }
    )
    return Dataset(conform(frame, SCHEMA), SCHEMA)


def with_column(dataset: Dataset, values: pl.Expr) -> Dataset:
    return Dataset(dataset.frame.with_columns(values), dataset.schema)


def test_a_table_is_stable_against_itself() -> None:
    found = feature_psi(table(), table())
    assert found == [{"name": name, "psi": 0.0} for name in ("branch", "moved", "still")]


@pytest.mark.parametrize(
    "change",
    [
        pl.col("moved") + 1.0,
        pl.lit(None, dtype=pl.Float32).alias("moved"),
        pl.lit(-7.0, dtype=pl.Float32).alias("moved"),
        pl.lit(0.1, dtype=pl.Float32).alias("moved"),
        pl.lit(float("nan"), dtype=pl.Float32).alias("moved"),
    ],
)
def test_the_worst_feature_comes_first(change: pl.Expr) -> None:
    found = feature_psi(table(), with_column(table(), change))
    assert found[0]["name"] == "moved"
    assert found[0]["psi"] > 0.5
    assert found[1]["psi"] == found[2]["psi"] == 0.0


def test_missing_codes_are_bins_of_their_own() -> None:
    """0.1 sits inside the bulk: taken for a number it would hardly move a quantile bin."""
    tenth = with_column(table(), pl.when(pl.int_range(pl.len()) % 12 == 0).then(0.1).otherwise("moved").alias("moved"))
    recast = Dataset(conform(tenth.frame, SCHEMA), SCHEMA)
    assert feature_psi(table(), recast)[0]["psi"] > 0.5


@pytest.mark.parametrize("value", ["west", None, "north"])
def test_a_category_shift_is_seen(value: str | None) -> None:
    moved = with_column(table(), pl.lit(value, dtype=pl.String).alias("branch"))
    assert feature_psi(table(), moved)[0]["psi"] > 1.0
    assert feature_psi(table(), moved)[0]["name"] == "branch"


def test_stability_needs_rows() -> None:
    with pytest.raises(DataError, match="current one has no rows"):
        feature_psi(table(), table().where(np.zeros(2000, dtype=bool)))


@pytest.mark.parametrize("scores", [np.linspace(0, 1, 500), np.full(50, 0.2), np.append(np.zeros(999), 5.0)])
def test_score_histograms_hold_all_rows(scores: Floats) -> None:
    found = score_shares(scores, scores[::-1])
    assert len(found["edges"]) == len(found["train"]) + 1 == 31
    assert (np.diff(found["edges"]) > 0).all()
    assert sum(found["train"]) == pytest.approx(1.0, abs=1e-4)
    assert found["train"] == found["test"]


def test_fidelity_of_a_score_to_itself_is_complete() -> None:
    labels, scores, _ = book()
    found = fidelity(labels, scores, np.sqrt(scores))
    assert (found["rank_correlation"], found["agreement"]) == (pytest.approx(1.0), 1.0)
    assert (found["swap_in"], found["swap_out"]) == (0, 0)
    assert found["swap_in_bad_rate"] is found["swap_out_bad_rate"] is None


def test_swap_sets_are_those_who_change_sides() -> None:
    labels = np.array([1, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    before = np.array([9, 8, 7, 6, 5, 4, 3, 2, 1, 0.0])
    after = np.array([9, 7, 8, 6, 5, 4, 3, 2, 1, 0.0])
    found = fidelity(labels, before, after, declined=0.2)
    assert (found["swap_in"], found["swap_in_bad_rate"]) == (1, 0.0)
    assert (found["swap_out"], found["swap_out_bad_rate"]) == (1, 1.0)
    assert (found["agreement"], found["cutoff"]) == (0.8, 8.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=30))
@settings(deadline=None)
def test_rank_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    first, second = map(list, zip(*pairs, strict=True))
    found = rank_correlation(first, second)
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-12)


@given(st.lists(st.integers(0, 5).map(float), min_size=1, max_size=30), st.floats(0.01, 0.99))
@settings(deadline=None)
def test_a_cutoff_declines_at_least_its_share_and_no_untied_row_more(scores: list[float], declined: float) -> None:
    values = np.array(scores)
    cut = cutoff_at(values, declined)
    wanted = metrics.alerts_within(values.size, declined)
    assert (values >= cut).sum() >= wanted
    assert (values > cut).sum() < wanted


def test_a_declined_share_must_leave_someone_on_each_side() -> None:
    with pytest.raises(ConfigError, match="declined share"):
        cutoff_at(np.zeros(5), 1.0)


def test_groups_are_counted_and_compared_with_the_best_treated() -> None:
    labels = np.tile([1, 0, 0, 0], 100)
    groups = pl.Series(["a"] * 200 + ["b"] * 160 + [None] * 40)
    scores = np.concatenate([np.linspace(0, 0.5, 200), np.linspace(0, 1, 160), np.full(40, 0.1)])
    found = group_table(labels, scores, groups, declined=0.1)
    assert [(row["group"], row["rows"], row["bads"]) for row in found] == [
        ("a", 200, 50),
        ("b", 160, 40),
        ("missing", 40, 10),
    ]
    assert found[0]["approval_rate"] == 1.0
    assert found[1]["adverse_impact_ratio"] == pytest.approx(120 / 160)
    assert found[0]["adverse_impact_ratio"] == 1.0
    assert found[2]["adverse_impact_ratio"] is None
    assert found[2]["auc"] is None
    assert found[0]["auc"]["lo"] < found[0]["auc"]["value"] == pytest.approx(metrics.auc(labels[:200], scores[:200]))


def test_every_protected_column_is_judged() -> None:
    dataset = table()
    scores = np.random.default_rng(1).random(dataset.rows)
    found = fairness(dataset, scores)
    assert list(found) == ["sex", "age"]
    assert {row["group"] for row in found["sex"]} == {"f", "m", "missing"}
    assert len(found["age"]) == 4
    assert sum(row["rows"] for row in found["age"]) == dataset.rows
    assert json.dumps(found, allow_nan=False)


def test_bands_hold_equally_many_rows_and_say_their_limits() -> None:
    bands = banded(pl.Series([*range(100), None]))
    assert set(bands.drop_nulls()) == {"up to 25", "above 25 to 50", "above 50 to 74", "above 74"}
    assert bands.null_count() == 1
    assert banded(pl.Series([0, 1, 1])).to_list() == ["0", "1", "1"]
    # Many values, most of them the same: the quarters collapse and the bands stay apart.
    assert set(banded(pl.Series([0] * 90 + list(range(1, 14))))) == {"up to 0", "above 0"}


def test_evidence_is_plain_json_with_the_keys_of_the_report() -> None:
    labels, incumbent, lean = book(2000)
    _, _, train = book(3000, 9)
    found = score_evidence(labels, incumbent, lean, train_scores=train, features=[{"name": "income", "psi": 0.02}])
    plain = json.loads(json.dumps(found, allow_nan=False))
    assert set(plain) == {"roc", "ks", "gains", "calibration", "scores", "psi", "fidelity"}
    for part in ("roc", "ks", "gains"):
        assert set(plain[part]) == {"incumbent", "lean"}
    assert set(plain["calibration"]) == {"incumbent", "lean", "ece"}
    assert set(plain["calibration"]["lean"][0]) == {"predicted", "observed", "lo", "hi", "rows"}
    assert plain["calibration"]["ece"]["lean"] == pytest.approx(metrics.ece(labels, lean))
    assert plain["psi"] == {"score": metrics.psi(train, lean), "features": [{"name": "income", "psi": 0.02}]}
    assert set(plain["fidelity"]) == {
        "rank_correlation",
        "agreement",
        "cutoff",
        "swap_in",
        "swap_out",
        "swap_in_bad_rate",
        "swap_out_bad_rate",
    }


def test_evidence_of_an_incumbent_that_scores_in_points() -> None:
    labels, incumbent, lean = book()
    found = score_evidence(labels, 300 + 500 * incumbent, lean, train_scores=lean)
    assert found["calibration"]["incumbent"] == []
    assert found["calibration"]["ece"]["incumbent"] is None
    assert found["calibration"]["ece"]["lean"] is not None
    assert found["psi"]["score"] == 0.0


def test_evidence_survives_a_handful_of_rows_and_constant_scores() -> None:
    found = score_evidence([0, 1, 0], [0.5] * 3, [0.5] * 3, train_scores=[0.5])
    assert json.dumps(found, allow_nan=False)
    assert found["fidelity"]["rank_correlation"] is None
