"""Calibration: a rising map to probabilities that mean what they say."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import ModelError
from leanrisk.models.calibration import Calibration, fit_calibration, standardising

STEPS = Calibration("isotonic", 0.5, 0.1, x=(-2.0, -1.0, 0.5, 1.5), y=(-3.0, -2.5, 0.0, 0.25))


def sigmoid(values):
    return 1 / (1 + np.exp(-np.asarray(values, dtype=np.float64)))


def drawn(rows: int, truth, *, seed: int = 0):
    """Labels whose log-odds are `truth(logit)`, and the raw logits."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1.0, 1.5, rows)
    return (rng.random(rows) < sigmoid(truth(logits))).astype(np.float32), logits.astype(np.float32)


def staircase(logits):
    return np.select([logits < -2.0, logits < -0.8, logits < 0.5], [-4.0, -2.2, 0.0], 2.5)


@pytest.mark.parametrize(("slope", "intercept"), [(0.4, -1.0), (1.0, 0.0), (2.5, 1.2)])
def test_platt_finds_a_known_distortion_within_its_standard_error(slope, intercept):
    rows, found = 3000, []
    for seed in range(30):
        labels, logits = drawn(rows, lambda z: slope * z + intercept, seed=seed)
        fitted = fit_calibration(labels, logits, seed=0)
        if fitted.kind == "platt":
            found.append((fitted.slope, fitted.intercept))
    # The line is the truth here: steps win by chance alone, and then rarely.
    assert len(found) >= 20
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(mean - [slope, intercept]) < 3.5 * error + 0.01).all()


def test_steps_are_chosen_for_a_staircase_and_follow_it():
    labels, logits = drawn(20_000, staircase)
    fitted = fit_calibration(labels, logits, seed=1)
    assert fitted.kind == "isotonic"
    probability = fitted.apply(logits)
    for low, high in ((-2.8, -2.2), (-1.8, -1.0), (-0.6, 0.3), (0.7, 2.0)):
        inside = (logits > low) & (logits < high)
        error = labels[inside].std() / np.sqrt(inside.sum())
        assert abs(probability[inside].mean() - labels[inside].mean()) < 4 * error + 0.01


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(2, 300),
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([1e-3, 1.0, 50.0]),
    ties=st.booleans(),
    rate=st.floats(-3, 3),
)
def test_any_fit_rises_and_stays_a_probability(rows, seed, scale, ties, rate):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=rows) * scale
    logits = (np.round(logits / scale) * scale if ties else logits).astype(np.float32)
    labels = (rng.random(rows) < sigmoid(logits / scale + rate)).astype(np.float32)
    labels[:2] = (0, 1)
    fitted = fit_calibration(labels, logits, seed=seed)
    grid = np.unique(np.concatenate([np.linspace(-9, 9, 200) * scale, logits, np.array(fitted.x)]))
    mapped = Calibration.from_dict({**fitted.to_dict(), "link": "identity"}).apply(grid)
    assert np.isfinite(mapped).all()
    assert (np.diff(mapped) > 0).all()
    # Beyond 36 a float64 cannot tell the probability from one.
    probability = fitted.apply(grid[np.abs(mapped) < 36])
    assert ((probability > 0) & (probability < 1)).all()


def test_equal_logits_for_all_rows_give_the_rate():
    labels = np.repeat(np.array([0, 1], dtype=np.float32), [70, 30])
    fitted = fit_calibration(labels, np.full(100, 2.0, dtype=np.float32), seed=0)
    assert fitted.apply(np.array([2.0]))[0] == pytest.approx(0.3, abs=0.02)


def test_a_score_that_ranks_the_wrong_way_keeps_its_order():
    labels, logits = drawn(500, lambda z: -z)
    fitted = fit_calibration(labels, logits, seed=0)
    assert fitted.slope > 0
    assert fitted.apply(logits).mean() == pytest.approx(labels.mean(), abs=0.05)


def test_perfectly_parted_outcomes_do_not_run_away():
    logits = np.linspace(-3, 3, 40).astype(np.float32)
    fitted = fit_calibration((logits > 0).astype(np.float32), logits, seed=0)
    assert np.isfinite([fitted.slope, fitted.intercept]).all()
    assert 0 < fitted.apply(logits).min() < fitted.apply(logits).max() < 1


@pytest.mark.parametrize("labels", [[], [0.0] * 9, [1.0] * 9])
def test_one_outcome_alone_is_refused(labels):
    outcomes = np.array(labels, dtype=np.float32)
    with pytest.raises(ModelError, match="both outcomes"):
        fit_calibration(outcomes, np.zeros(outcomes.size, dtype=np.float32), seed=0)


def test_outcomes_that_are_unknown_are_refused():
    with pytest.raises(ModelError, match="known outcomes"):
        fit_calibration(np.array([0.0, 1.0, np.nan]), np.zeros(3), seed=0)
    with pytest.raises(ModelError, match="finite"):
        fit_calibration(np.array([0.0, 1.0, 1.0]), np.array([0.0, np.inf, 1.0]), seed=0)


@pytest.mark.parametrize("fitted", [Calibration(), Calibration("platt", 0.7, -0.2), STEPS, standardising(5.0, 2.0)])
def test_ramps_are_the_map(fitted):
    logits = np.linspace(-6, 6, 400)
    ramps = fitted.ramps()
    run = np.clip(logits[:, None] - ramps.places, ramps.lows, ramps.highs)
    mapped = ramps.base + (ramps.slopes * run).sum(axis=1)
    assert (ramps.slopes > 0).all()
    expected = mapped if fitted.link == "identity" else sigmoid(mapped)
    np.testing.assert_allclose(fitted.apply(logits), expected, rtol=1e-12)


def test_steps_pass_through_their_points_and_go_on_with_the_lines_slope():
    mapped = Calibration(**{**STEPS.__dict__, "link": "identity"})
    np.testing.assert_allclose(mapped.apply(np.array(STEPS.x)), STEPS.y, atol=1e-6)
    np.testing.assert_allclose(np.diff(mapped.apply(np.array([-5.0, -4.0]))), 0.5, atol=1e-6)
    np.testing.assert_allclose(np.diff(mapped.apply(np.array([4.0, 5.0]))), 0.5, atol=1e-6)


def test_a_standardised_value_comes_back_in_its_own_unit():
    assert standardising(100.0, 15.0).apply(np.array([-1.0, 0.0, 2.0])).tolist() == [85.0, 100.0, 130.0]


def test_it_survives_json_exactly():
    labels, logits = drawn(4000, staircase)
    for fitted in (fit_calibration(labels, logits, seed=0), STEPS, standardising(1 / 3, 2.0)):
        assert Calibration.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


def test_a_seed_fixes_the_choice():
    labels, logits = drawn(800, staircase)
    assert fit_calibration(labels, logits, seed=3) == fit_calibration(labels, logits, seed=3)
