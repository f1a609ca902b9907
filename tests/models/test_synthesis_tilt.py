"""What a tilt is made of: a regression that few bads are enough for, and rows near those that there are."""

import numpy as np
import polars as pl
import pytest

from leanrisk.core.metrics import auc
from leanrisk.models.synthesis.crossing import Crossing
from leanrisk.models.synthesis.guide import Guide
from tests.models.synthetic_books import RULES, book

RNG_ROWS = 4000


def rows(count: int, bads: int, seed: int) -> tuple[pl.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    bad = (rng.permutation(count) < bads).astype(np.float32)
    money = np.exp(rng.normal(size=count) + 0.8 * bad)
    gap = rng.random(count) < np.where(bad == 1, 0.5, 0.1)
    frame = pl.DataFrame(
        {
            "money": np.where(gap, np.nan, money),
            "region": np.where(rng.random(count) < 0.2 + 0.4 * bad, "south", "north"),
            "noise": rng.normal(size=count),
            "constant": np.ones(count),
            "empty": [None] * count,
        },
        schema_overrides={"empty": pl.Float64},
    )
    return frame.with_columns(pl.col("money").fill_nan(None)), bad


def test_twenty_bads_are_enough_to_rank_by():
    guide = Guide.fit(*rows(RNG_ROWS, 20, seed=1))
    fresh, labels = rows(4000, 1000, seed=2)
    chances = guide.chances(fresh)
    assert ((chances > 0) & (chances < 1)).all()
    assert auc(labels, chances) > 0.7
    noise = fresh.with_columns(noise=pl.lit(100.0))
    assert np.abs(guide.chances(noise) - chances).mean() < 0.2, "beyond all rows a number counts as the last of them"


def test_levels_and_gaps_that_no_row_had_are_read():
    guide = Guide.fit(*rows(500, 20, seed=1))
    odd = pl.DataFrame({"money": [None, np.inf], "region": ["west", None], "noise": [0.0, 1.0], "constant": [1.0, 9.0]})
    odd = odd.with_columns(empty=pl.lit(3.0))
    assert np.isfinite(guide.chances(odd)).all()


def test_strength_lets_terms_weigh_more():
    frame, labels = rows(1000, 50, seed=3)
    shy, bold = (Guide.fit(frame, labels, strength=strength) for strength in (0.01, 10.0))
    assert np.abs(shy.weights).sum() < 0.5 * np.abs(bold.weights).sum()


def test_crossed_rows_keep_types_and_rules_and_are_no_copies():
    crossing = Crossing.of(book(), rules=RULES)
    made = crossing.drawn(500, seed=1)
    assert made.schema == book().schema
    assert made.height == 500
    assert np.abs((made["total"] - made["principal"] - made["interest"]).to_numpy()).max() < 1e-6
    assert (made["decided"] >= made["opened"]).all()
    assert made.join(book(), on=book().columns, how="inner").height == 0
    assert made.equals(crossing.drawn(500, seed=1))
    assert not made.equals(crossing.drawn(500, seed=2))
    assert made["age"].mean() == pytest.approx(book()["age"].mean(), abs=3)
