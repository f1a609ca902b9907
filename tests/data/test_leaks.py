from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from leanrisk.core.metrics import auc
from leanrisk.data.leaks import filled_only_when_bad, lone_auc, sample_rows, share_after

ROWS = 4000


@pytest.fixture(scope="module")
def random() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="module")
def labels(random: np.random.Generator) -> np.ndarray:
    return (random.random(ROWS) < 0.2).astype(np.float32)


def test_a_column_that_leaks_by_exact_values_is_caught_where_its_rank_order_is_not(random, labels) -> None:
    # As SBA's Term: paid loans run a round number of years, the others stop in any month.
    rounds = random.integers(1, 20, ROWS) * 12
    term = np.where(labels == 1.0, rounds - random.integers(1, 12, ROWS), rounds)
    assert abs(auc(labels, term.astype(float)) - 0.5) < 0.1
    value = lone_auc(pl.Series("Term", term), labels)
    assert value is not None
    assert value > 0.95


def test_identifiers_and_noise_learn_nothing(random, labels) -> None:
    # The spread of an AUC around 1/2 with 800 bads and 3,200 goods is 0.012; four of them are allowed for.
    names = pl.Series("name", [f"firm {place}" for place in range(ROWS)])
    assert lone_auc(names, labels) == pytest.approx(0.5)
    pairs = pl.Series("pair", [f"firm {place}" for place in random.integers(0, ROWS // 2, ROWS)])
    assert lone_auc(pairs, labels) == pytest.approx(0.5, abs=0.05)
    assert lone_auc(pl.Series("noise", random.normal(size=ROWS)), labels) == pytest.approx(0.5, abs=0.05)


def test_a_smooth_relation_keeps_its_rank_auc(random, labels) -> None:
    score = labels + random.normal(size=ROWS)
    value = lone_auc(pl.Series("score", score), labels)
    assert value == pytest.approx(auc(labels, score), abs=0.02)


def test_a_relation_that_turns_is_seen_too(random, labels) -> None:
    bent = np.where(labels == 1.0, random.choice([-3.0, 3.0], ROWS), 0.0) + random.normal(size=ROWS) * 0.5
    value = lone_auc(pl.Series("bent", bent), labels)
    assert value is not None
    assert value > 0.97


def test_null_is_a_value_of_its_own(labels) -> None:
    column = pl.Series("x", np.where(labels == 1.0, np.nan, 1.0)).fill_nan(None)
    assert lone_auc(column, labels) == pytest.approx(1.0)


def test_too_few_rows_of_a_class_give_no_value() -> None:
    labels = np.zeros(500, dtype=np.float32)
    labels[:29] = 1.0
    assert lone_auc(pl.Series("x", labels), labels) is None


def test_the_result_is_the_same_every_time(random, labels) -> None:
    column = pl.Series("x", random.integers(0, 50, ROWS))
    assert lone_auc(column, labels) == lone_auc(column, labels)


@pytest.mark.parametrize("usual", [None, 0.0, "N"])
def test_a_column_filled_only_when_the_outcome_is_bad(usual, labels) -> None:
    values = ["Y" if bad and place % 2 else usual for place, bad in enumerate(labels)]
    if usual == 0.0:
        values = [1.0 if value == "Y" else 0.0 for value in values]
    told = filled_only_when_bad(pl.Series("flag", values, strict=False), labels)
    assert told is not None
    assert "100.0%" in told


def test_a_column_filled_for_good_and_bad_alike_is_honest(random, labels) -> None:
    column = pl.Series("x", np.where(random.random(ROWS) < 0.1, 1.0, np.nan)).fill_nan(None)
    assert filled_only_when_bad(column, labels) is None
    assert filled_only_when_bad(pl.Series("x", random.normal(size=ROWS)), labels) is None
    # Nine rows prove nothing.
    few = np.full(ROWS, np.nan)
    few[np.flatnonzero(labels == 1.0)[:9]] = 1.0
    assert filled_only_when_bad(pl.Series("x", few).fill_nan(None), labels) is None


def test_dates_after_the_decision_are_counted() -> None:
    decision = pl.Series("d", [dt.date(2020, 1, 1)] * 4)
    later = pl.Series("x", [dt.date(2020, 6, 1), dt.date(2019, 1, 1), None, dt.datetime(2020, 1, 2)], strict=False)
    assert share_after(later.cast(pl.Date, strict=False), decision) == pytest.approx(2 / 3)


def test_a_large_table_is_sampled_with_its_bads_first() -> None:
    labels = np.zeros(300_000, dtype=np.float32)
    labels[::100] = 1.0
    labels[1::1000] = np.nan
    rows = sample_rows(labels)
    assert rows.size == 100_000
    assert (labels[rows] == 1.0).sum() == 3_000
    assert not np.isnan(labels[rows]).any()
    assert (np.diff(rows) > 0).all()
