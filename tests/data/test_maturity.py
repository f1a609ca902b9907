"""Maturity: nothing is learned from rows too young for their outcome, whatever clock they are on."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import SplitError
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data.maturity import matured, outcome_wait

DAY = 86_400_000_000
_DAYS = st.integers(0, 4000)
_LOANS = st.lists(st.tuples(_DAYS, st.none() | st.integers(0, 900), st.booleans()), min_size=1, max_size=60)


def schema_of(kind: Kind, *, outcome: bool = True) -> Schema:
    columns = [Column("amount", Kind.NUMERIC), Column("bad", Kind.NUMERIC, Role.TARGET)]
    columns.append(Column("decided", kind, Role.TIME))
    columns += [Column("settled", kind, Role.OUTCOME_TIME)] if outcome else []
    return Schema(tuple(columns))


def book(loans: list[tuple[int, int | None, bool]], *, dates: bool) -> Dataset:
    """Return loans of (day decided, days until the outcome was known, whether bad), on dates or on counted days."""
    frame = pl.DataFrame(
        {
            "amount": pl.Series([1.0] * len(loans), dtype=pl.Float32),
            "bad": [int(bad) for _, _, bad in loans],
            "decided": pl.Series([day for day, _, _ in loans], dtype=pl.Int32),
            "settled": pl.Series([None if wait is None else day + wait for day, wait, _ in loans], dtype=pl.Int32),
        }
    )
    if dates:
        frame = frame.with_columns(pl.col("decided", "settled").cast(pl.Date))
    return Dataset(frame, schema_of(Kind.DATE if dates else Kind.NUMERIC))


@given(loans=_LOANS, wait=st.integers(-50, 1200), dates=st.booleans())
def test_nothing_decided_later_than_the_wait_before_the_latest_outcome_passes(loans, wait, dates):
    unit = DAY if dates else 1
    mask = matured(book(loans, dates=dates), wait * unit)
    known = [day + gap for day, gap, _ in loans if gap is not None]
    if known:
        assert mask.tolist() == [day <= max(known) - wait for day, _, _ in loans]
    else:
        assert mask.all()


@given(loans=_LOANS, dates=st.booleans())
def test_the_wait_covers_nearly_all_goods_and_nearly_all_bads(loans, dates):
    wait = outcome_wait(book(loans, dates=dates))
    assert wait is not None
    waits = {bad: [gap for _, gap, is_bad in loans if gap is not None and is_bad == bad] for bad in (True, False)}
    for gaps in waits.values():
        if gaps:
            assert wait >= int(np.quantile(gaps, 0.99)) * (DAY if dates else 1)
    assert wait <= max([*waits[True], *waits[False]], default=0) * (DAY if dates else 1)


@given(loans=_LOANS, dates=st.booleans())
def test_what_one_table_waits_for_leaves_only_rows_that_had_the_time(loans, dates):
    rows = book(loans, dates=dates)
    mask = matured(rows, outcome_wait(rows))
    days = np.array([day for day, _, _ in loans])
    # Whoever is older than a matured row has matured, too.
    if mask.any():
        assert mask[days <= days[mask].max()].all()


def test_moments_and_days_are_on_one_clock():
    rows = book([(0, 10, True), (5, 20, False)], dates=True)
    moments = Dataset(rows.frame.with_columns(pl.col("settled").cast(pl.Datetime("ms"))), rows.schema)
    assert outcome_wait(moments) == outcome_wait(rows)
    assert matured(moments, 21 * DAY).tolist() == [True, False] == matured(rows, 21 * DAY).tolist()
    assert matured(rows, 26 * DAY).tolist() == [False, False]


def test_without_a_wait_or_a_known_outcome_every_row_has_matured():
    rows = book([(0, 10, True), (5, 20, False)], dates=True)
    assert matured(rows, None).all()
    assert matured(book([(0, None, True), (5, None, False)], dates=True), DAY).all()
    assert outcome_wait(book([(0, None, True)], dates=True)) == 0
    untold = Dataset(rows.frame, schema_of(Kind.DATE, outcome=False))
    assert outcome_wait(untold) is None
    assert matured(untold, 400 * DAY).all()
    nothing = rows.where(np.zeros(2, dtype=np.bool_))
    assert outcome_wait(nothing) is None
    assert matured(nothing, DAY).shape == (0,)


def test_two_clocks_are_refused():
    rows = book([(0, 10, True), (5, 20, False)], dates=True)
    counted = Dataset(rows.frame.with_columns(pl.col("settled").cast(pl.Int32)), rows.schema)
    for asked in (outcome_wait, lambda table: matured(table, DAY)):
        with pytest.raises(SplitError, match=r"the same clock: 'decided' is Date and 'settled' is Int32"):
            asked(counted)


def test_a_row_without_a_decision_time_is_refused():
    rows = book([(0, 10, True), (5, 20, False)], dates=True)
    gap = Dataset(rows.frame.with_columns(decided=pl.Series([None, dt.date(2020, 1, 1)])), rows.schema)
    with pytest.raises(SplitError, match="'decided' is null in 1 rows"):
        matured(gap, DAY)
