from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest

from leanrisk.core.config import configured
from leanrisk.core.errors import ConfigError, DataError
from leanrisk.evaluate.gates import GateConfig, GateResult, Verdict, accepted, judge
from leanrisk.evaluate.quality import Task, quality

Floats = npt.NDArray[np.float64]
QUICK = GateConfig(resamples=200)


def scores_of(rows: int, noise: float, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Outcomes, a score, and the same score with noise: the more noise, the worse."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.25).astype(float)
    before = rng.normal(size=rows) + labels
    return labels, before, before + noise * rng.normal(size=rows)


def result(verdict: Verdict, value: float, margin: float = -0.005, *, better: bool = True) -> GateResult:
    return GateResult("auc", verdict, value, value - 0.003, value + 0.003, margin, better)


def test_a_faithful_score_passes_with_enough_rows() -> None:
    auc, ks = judge(*scores_of(6000, 0.02), config=QUICK, seed=1)
    assert (auc.name, ks.name) == ("auc", "ks")
    assert auc.verdict is ks.verdict is Verdict.PASSED
    assert auc.lo > auc.margin == -0.005
    assert ks.lo > ks.margin == -0.015
    assert accepted([auc, ks], QUICK)[0]


def test_a_ruined_score_fails() -> None:
    found = judge(*scores_of(3000, 2.0), config=QUICK, seed=1)
    assert {gate.verdict for gate in found} == {Verdict.FAILED}
    assert all(gate.hi < gate.margin for gate in found)
    kept, reason = accepted(found, QUICK)
    assert not kept
    assert "failed" in reason


def test_few_rows_prove_nothing() -> None:
    found = judge(*scores_of(120, 0.2, seed=4), config=QUICK, seed=1)
    assert {gate.verdict for gate in found} == {Verdict.NOT_PROVEN}
    assert all(gate.lo <= gate.margin <= gate.hi for gate in found)


def test_the_same_score_passes_any_loss_margin_and_proves_no_gain() -> None:
    labels, before, _ = scores_of(50, 0.0)
    assert {gate.verdict for gate in judge(labels, before, before, config=QUICK, seed=1)} == {Verdict.PASSED}
    strict = GateConfig(auc_margin=0.0, ks_margin=0.0, resamples=200)
    found = judge(labels, before, before, config=strict, seed=1)
    assert {gate.verdict for gate in found} == {Verdict.NOT_PROVEN}
    assert accepted(found, strict)[0]


def test_judging_repeats_by_seed() -> None:
    rows = scores_of(300, 0.3)
    assert judge(*rows, config=QUICK, seed=1) == judge(*rows, config=QUICK, seed=1)


def test_regression_gates_watch_the_relative_rise() -> None:
    rng = np.random.default_rng(3)
    truth, error = rng.normal(size=(2, 2000))
    good, bad = truth + 1.001 * error, truth + 1.3 * error
    passed = judge(truth, truth + error, good, config=QUICK, seed=1, task=Task.REGRESSION)
    failed = judge(truth, truth + error, bad, config=QUICK, seed=1, task=Task.REGRESSION)
    assert [(gate.name, gate.verdict) for gate in passed] == [("mae", "passed"), ("rmse", "passed")]
    assert {gate.verdict for gate in failed} == {Verdict.FAILED}
    assert failed[0].value == pytest.approx(0.3)
    better = judge(truth, truth + error, truth + 0.9 * error, config=QUICK, seed=1, task=Task.REGRESSION)
    assert {gate.verdict for gate in better} == {Verdict.PASSED}


@pytest.mark.parametrize(
    ("gate", "allowed", "kept", "words"),
    [
        (result(Verdict.PASSED, 0.001), True, True, "+0.0010 [-0.0020, +0.0040], margin -0.0050: passed"),
        (result(Verdict.FAILED, -0.02), True, False, "margin -0.0050: failed"),
        (
            result(Verdict.NOT_PROVEN, -0.003),
            True,
            True,
            "not proven (too few rows to tell; the estimate is within the margin)",
        ),
        (result(Verdict.NOT_PROVEN, -0.003), False, False, "the recipe asks for proof"),
        (result(Verdict.NOT_PROVEN, -0.007), True, False, "the estimate is beyond the margin"),
        (result(Verdict.NOT_PROVEN, 0.008, 0.01, better=False), True, True, "+0.80% [+0.50%, +1.10%], margin +1.00%"),
        (result(Verdict.NOT_PROVEN, 0.012, 0.01, better=False), True, False, "beyond the margin"),
    ],
)
def test_acceptance_gives_its_reason_with_numbers(gate: GateResult, allowed: bool, kept: bool, words: str) -> None:
    found, reason = accepted([gate], GateConfig(allow_not_proven=allowed))
    assert found is kept
    assert words in reason


def test_one_failed_gate_drops_the_step_and_every_gate_is_named() -> None:
    kept, reason = accepted([result(Verdict.PASSED, 0.0), result(Verdict.FAILED, -0.1)], QUICK)
    assert not kept
    assert reason.count("AUC") == 2
    with pytest.raises(ConfigError, match="at least one gate"):
        accepted([], QUICK)


def test_results_are_plain_json_with_the_fixed_keys() -> None:
    plain = json.loads(json.dumps(result(Verdict.NOT_PROVEN, -0.001).to_dict(), allow_nan=False))
    assert list(plain) == ["name", "verdict", "value", "lo", "hi", "margin"]
    assert plain["verdict"] == "not_proven"


@pytest.mark.parametrize(
    "values",
    [{"auc_margin": 0.005}, {"ks_margin": float("nan")}, {"rmse_margin_rel": -0.01}, {"resamples": 5}, {"auc": -0.1}],
)
def test_settings_that_make_no_gate_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        configured(GateConfig, values, where="recipe.gates")


def test_gates_need_both_outcomes() -> None:
    with pytest.raises(DataError, match="one-class"):
        judge([0, 0], [0.1, 0.2], [0.1, 0.3], config=QUICK, seed=1)


def test_quality_has_the_keys_of_the_result_file() -> None:
    labels, scores, _ = scores_of(400, 0.0)
    probabilities = 1 / (1 + np.exp(-scores))
    found = quality(labels, probabilities, seed=1, resamples=100)
    assert set(found) == {"auc", "gini", "ks", "brier", "log_loss", "ece", "recall_at_budget"}
    assert found["gini"].lo == pytest.approx(2 * found["auc"].lo - 1)
    assert found == quality(labels, probabilities, seed=1, resamples=100)


def test_quality_of_points_is_rank_only_and_of_numbers_is_error() -> None:
    labels, scores, guess = scores_of(400, 0.1)
    assert set(quality(labels, 600 - 40 * scores, seed=1, resamples=100)) == {"auc", "gini", "ks", "recall_at_budget"}
    assert set(quality(scores, guess, seed=1, resamples=100, task=Task.REGRESSION)) == {"mae", "rmse", "r2"}
