"""Made rows against real ones: copies are detected as such, rows of the same law as no others, and nonsense at once."""

import json

import numpy as np
import polars as pl
import pytest

from leanrisk.core.errors import DataError
from leanrisk.evaluate.synthetic import membership, synthetic_quality


def book(rows: int, seed: int, *, shift: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(rows, 6)) + shift
    base[:, 1] += base[:, 0]
    frame = {f"x{place}": base[:, place] for place in range(6)}
    bad = rng.random(rows) < 1 / (1 + np.exp(1.5 - base[:, 0] - base[:, 2]))
    debt = np.where(rng.random(rows) < 0.1, np.nan, base[:, 3])
    return pl.DataFrame({**frame, "x3": debt, "region": rng.choice(["n", "s"], rows), "bad": bad.astype(int)}).fill_nan(
        None
    )


def test_rows_of_the_same_law_are_useful_alike_and_private():
    found = synthetic_quality(book(900, 1), book(900, 2), book(900, 3), target="bad", seed=1)
    assert found.made_on_real is not None
    assert found.real_on_real is not None
    assert found.real_on_made is not None
    assert found.made_on_real.value > found.real_on_real.value - 0.05
    assert found.real_on_made.value > 0.65
    assert max(found.marginal.values()) < 0.1
    assert found.pairwise < 0.05
    assert found.detected.lo < 0.5 < found.detected.hi
    assert found.membership.lo < 0.5 < found.membership.hi
    json.dumps(found.to_dict(), allow_nan=False)


def test_copies_betray_who_was_learned():
    learned = book(900, 1)
    rng = np.random.default_rng(0)
    nudged = learned.with_columns(pl.col(f"x{place}") + rng.normal(0, 0.02, 900) for place in range(6))
    found = synthetic_quality(learned, book(900, 2), nudged, target="bad", seed=1)
    assert found.membership.lo > 0.8


def test_other_rows_are_detected():
    made = book(600, 3, shift=1.0)
    broken = made.with_columns(x1=pl.col("x1").shuffle(seed=1), region=pl.lit("s"))
    found = synthetic_quality(book(600, 1), book(600, 2), broken, target="bad", seed=1)
    assert found.detected.lo > 0.8
    assert found.marginal["x0"] > 0.3
    assert found.marginal["region"] == pytest.approx(0.5, abs=0.08)
    assert found.pairwise > 0.02


def test_the_attack_is_at_chance_on_average():
    values = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        learned, held_out, made = (rng.normal(size=(300, 4)) for _ in range(3))
        values.append(membership(learned, held_out, made, seed=seed).value)
    half = 3 * np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values) - 0.5) < half


def test_a_table_of_one_outcome_or_no_target_has_no_utility():
    one = book(200, 3).with_columns(bad=pl.lit(1))
    assert synthetic_quality(book(200, 1), book(200, 2), one, target="bad").made_on_real is None
    assert synthetic_quality(book(200, 1), book(200, 2), book(200, 3)).real_on_real is None


def test_tables_that_cannot_be_compared_are_refused():
    with pytest.raises(DataError, match="'made' has 10"):
        synthetic_quality(book(200, 1), book(200, 2), book(10, 3))
    with pytest.raises(DataError, match="column-missing.*'x1'"):
        synthetic_quality(book(200, 1).drop("x1"), book(200, 2), book(200, 3))
