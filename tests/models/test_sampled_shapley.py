"""Sampled Shapley values: they are the exact ones within their error, add up, and a field that does nothing has 0."""

import itertools
import math

import numpy as np
import pytest

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Inputs
from leanrisk.models.sampled_shapley import sampled_shapley


def rows_of(count: int, seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(count, 3)).astype(np.float32)
    return Inputs(numeric, rng.integers(3, size=(count, 1)))


def score(rows: Inputs) -> np.ndarray:
    """Return a score with an interaction; the third number plays no part."""
    first, second = rows.numeric[:, 0].astype(np.float64), rows.numeric[:, 1].astype(np.float64)
    return np.asarray(first + 2 * first * second + 1.5 * (rows.category[:, 0] == 2))


def exact(row: Inputs, background: Inputs) -> np.ndarray:
    """Return the Shapley values of one row by all coalitions."""

    def worth(held: frozenset[int]) -> float:
        numeric, category = background.numeric.copy(), background.category.copy()
        for field in held:
            (numeric if field < 3 else category)[:, field % 3] = (row.numeric if field < 3 else row.category)[
                0, field % 3
            ]
        return float(score(Inputs(numeric, category)).mean())

    values = np.zeros(4)
    for field in range(4):
        others = [other for other in range(4) if other != field]
        for size in range(4):
            weight = math.factorial(size) * math.factorial(3 - size) / math.factorial(4)
            for held in itertools.combinations(others, size):
                values[field] += weight * (worth(frozenset(held) | {field}) - worth(frozenset(held)))
    return values


def test_the_sampled_values_are_the_exact_ones_within_their_error():
    explained, background = rows_of(12, 1), rows_of(30, 2)
    found = sampled_shapley(score, explained, background, orders=400, seed=5)
    expected = np.array([exact(explained.take(slice(row, row + 1)), background) for row in range(12)])
    assert np.abs(found.values - expected).max() < 0.35
    assert found.importance == pytest.approx(np.abs(expected).mean(axis=0), abs=0.12)
    assert found.gap < 0.2 * found.span


def test_a_field_that_does_nothing_has_no_importance_and_others_have_an_interval():
    found = sampled_shapley(score, rows_of(600, 3), rows_of(50, 4), seed=5)
    assert found.importance[2] == 0.0
    assert found.error[2] == 0.0
    assert (found.importance[[0, 1, 3]] > 3 * found.error[[0, 1, 3]]).all()


def test_pure_noise_is_told_from_an_effect():
    """A noisy score gives every field values of some size; their signs do not agree between the halves."""
    rng = np.random.default_rng(9)
    found = sampled_shapley(lambda rows: rng.normal(size=rows.rows), rows_of(200, 3), rows_of(50, 4), seed=5)
    assert (np.abs(found.values).mean(axis=0) > 0.2).all()
    assert (np.abs(found.importance) < 4 * found.error).all()


def test_the_values_add_up_to_the_score_less_that_of_the_background():
    explained, background = rows_of(20, 1), rows_of(1, 2)
    found = sampled_shapley(score, explained, background, orders=4, seed=5)
    whole = score(explained) - score(background)
    assert found.values.sum(axis=1) == pytest.approx(whole)
    assert found.gap == pytest.approx(0.0, abs=1e-9)


def test_equal_seeds_give_equal_values():
    first, again, other = (
        sampled_shapley(score, rows_of(9, 1), rows_of(9, 2), orders=4, seed=seed).values for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("rows", "background", "orders"), [(1, 5, 8), (5, 0, 8), (5, 5, 2), (5, 5, 6)])
def test_too_little_to_sample_from_is_refused(rows, background, orders):
    with pytest.raises(ModelError, match="multiple of 4"):
        sampled_shapley(score, rows_of(rows, 1), rows_of(background, 2), orders=orders, seed=1)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ModelError, match="finite scores"):
        sampled_shapley(lambda rows: np.full(rows.rows, np.nan), rows_of(3, 1), rows_of(3, 2), seed=1)
