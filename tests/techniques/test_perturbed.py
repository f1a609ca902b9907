"""Perturbed rows: every value stood in its column, about the right share is swapped, the rest stays."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.dataset import Dataset
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.techniques.perturbed import perturbed_rows
from tests.techniques.lean_books import FEATURES, book

OTHERS = ("loan", "decided", "sex", "recovered", "bad", "loss")


def numbered(rows: int) -> Dataset:
    """A table in which every value tells its row, so that a swapped value is known by sight."""
    names = ("a", "b", "self")
    columns = tuple(Column(name, Kind.NUMERIC) for name in names)
    frame = pl.DataFrame({name: np.arange(rows, dtype=np.float32) for name in (*names, "kept")})
    return Dataset(frame, Schema((*columns, Column("kept", Kind.NUMERIC, Role.IGNORED))))


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 40),
    copies=st.integers(1, 4),
    share=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**31),
)
def test_values_come_from_their_column_and_other_columns_stay(rows, copies, share, seed):
    dataset = book(rows, seed=3)
    made = perturbed_rows(dataset, copies=copies, share=share, seed=seed)
    assert made.height == copies * rows
    assert made.schema == dataset.frame.schema
    for place in range(copies):
        copy = made[place * rows : (place + 1) * rows]
        assert copy.select(OTHERS).equals(dataset.frame.select(OTHERS))
        for name in FEATURES:
            assert set(copy[name].to_list()) <= set(dataset.frame[name].to_list())


@settings(max_examples=15, deadline=None)
@given(share=st.floats(0.02, 1.0), seed=st.integers(0, 2**31))
def test_about_the_share_of_values_is_swapped(share, seed):
    rows, copies = 1500, 2
    made = perturbed_rows(numbered(rows), copies=copies, share=share, seed=seed)
    own = np.tile(np.arange(rows), copies)
    for name in ("a", "b", "self"):
        swapped = float((made[name].to_numpy() != own).mean())
        spread = math.sqrt(share * (1 - share) / (rows * copies))
        # A row can be its own donor: one of 1,500 swaps that cannot be seen.
        assert abs(swapped - share) < 6 * spread + 5 / rows


def test_a_copy_of_a_row_has_one_donor_and_copies_have_different_ones():
    rows = 300
    made = perturbed_rows(numbered(rows), copies=2, share=0.5, seed=4)
    donors = []
    for place in range(2):
        copy = made[place * rows : (place + 1) * rows].select("a", "b", "self").to_numpy()
        own = np.arange(rows)[:, None]
        foreign = [set(row[row != mine]) for row, mine in zip(copy, own, strict=True)]
        assert all(len(others) <= 1 for others in foreign)
        donors.append(foreign)
    assert donors[0] != donors[1]


def test_columns_are_swapped_independently_of_each_other():
    made = perturbed_rows(numbered(3000), copies=1, share=0.4, seed=9)
    own = np.arange(3000)
    a, b = (made[name].to_numpy() != own for name in ("a", "b"))
    assert abs(float(np.corrcoef(a, b)[0, 1])) < 6 / math.sqrt(3000)


def test_a_seed_fixes_the_rows():
    dataset = book(50, seed=1)
    first = perturbed_rows(dataset, copies=2, share=0.3, seed=7)
    assert first.equals(perturbed_rows(dataset, copies=2, share=0.3, seed=7))
    assert not first.equals(perturbed_rows(dataset, copies=2, share=0.3, seed=8))


def test_only_features_are_swapped_and_the_table_itself_stays():
    dataset = book(200, seed=1).keeping(["income"])
    before = dataset.frame.clone()
    made = perturbed_rows(dataset, copies=1, share=1.0, seed=0)
    changed = [name for name in before.columns if not made[name].equals(before[name])]
    assert changed == ["income"]
    assert dataset.frame.equals(before)
