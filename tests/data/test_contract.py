from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from leanrisk.core.errors import DataError
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data.contract import MIN_ROWS, check
from leanrisk.data.load import load
from leanrisk.data.read import to_frame

SCHEMA = Schema(
    (
        Column("loan", Kind.NUMERIC, Role.ID),
        Column("day", Kind.DATE, Role.TIME),
        Column("amount", Kind.NUMERIC),
        Column("state", Kind.CATEGORY),
        Column("opened", Kind.DATE),
        Column("bad", Kind.NUMERIC, Role.TARGET),
    )
)
ROWS = 8


def table(**columns: Any) -> pl.DataFrame:
    whole = {
        "loan": list(range(ROWS)),
        "day": [dt.date(2020, 1, 1 + place) for place in range(ROWS)],
        "amount": [float(place) for place in range(ROWS)],
        "state": ["CA", "NY"] * (ROWS // 2),
        "opened": [dt.date(2010, 1, 1 + place) for place in range(ROWS)],
        "bad": [0, 1] * (ROWS // 2),
    }
    return pl.DataFrame({**whole, **columns}, strict=False)


def faults(frame: pl.DataFrame, schema: Schema = SCHEMA, *, labelled: bool = True) -> set[tuple[str, str | None]]:
    found = check(frame, schema, labelled=labelled)
    assert all(fault.message and fault.way_out for fault in found)
    return {(fault.code, fault.column) for fault in found}


def test_a_sound_table_has_no_fault() -> None:
    assert faults(table()) == set()
    assert load(table(), SCHEMA).rows == ROWS


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"bad": [None] * ROWS}, ("target-all-null", "bad")),
        ({"bad": [0, 1, None, 0, 1, 0, 1, 0]}, ("target-null", "bad")),
        ({"bad": [0] * ROWS}, ("target-one-class", "bad")),
        ({"bad": [1] * ROWS}, ("target-one-class", "bad")),
        ({"bad": ["yes", "no"] * (ROWS // 2)}, ("target-one-class", "bad")),
        ({"amount": [None] * ROWS}, ("column-all-null", "amount")),
        ({"amount": [np.inf] + [1.0] * (ROWS - 1)}, ("infinite", "amount")),
        ({"amount": [-1e300] + [1.0] * (ROWS - 1)}, ("infinite", "amount")),
        ({"amount": ["1", "2", "three", "4", "5", "6", "7", "8"]}, ("column-retyped", "amount")),
        ({"amount": [dt.date(2020, 1, 1)] * ROWS}, ("column-retyped", "amount")),
        ({"state": [["CA"]] * ROWS}, ("column-retyped", "state")),
        ({"opened": [7] * ROWS}, ("column-retyped", "opened")),
        ({"opened": ["2010-01-01", "soon"] * (ROWS // 2)}, ("date-unparsed", "opened")),
        ({"opened": ["2010-01-01", "31.12.2010"] * (ROWS // 2)}, ("date-unparsed", "opened")),
        ({"opened": ["03/04/2010"] * ROWS}, ("date-ambiguous", "opened")),
        ({"day": ["2010-01-01", "soon"] * (ROWS // 2)}, ("date-unparsed", "day")),
        ({"day": [dt.date(2020, 1, 1)] * ROWS}, ("time-one-value", "day")),
        ({"day": [None, dt.date(2020, 1, 1)] + [dt.date(2020, 1, 2)] * (ROWS - 2)}, ("time-null", "day")),
        ({"day": [None] * ROWS}, ("column-all-null", "day")),
        ({"loan": [1] * ROWS}, ("id-duplicate", "loan")),
    ],
)
def test_each_fault_has_its_code_and_names_its_column(columns: dict[str, Any], fault: tuple[str, str]) -> None:
    assert faults(table(**columns)) == {fault}


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([np.inf, -np.inf], True),
        ([np.inf, np.nan], True),
        ([np.nan, None], False),
        # Their sum is beyond 32 bits; they are not.
        ([3e38, 3e38], False),
    ],
)
def test_infinite_values_are_found_whatever_they_add_up_to(values: list[float | None], found: bool) -> None:
    frame = to_frame(pl.DataFrame({"amount": pl.Series([*values, *[1.0] * (ROWS - 2)], dtype=pl.Float32)}))
    assert frame["amount"].null_count() == sum(value is None or bool(np.isnan(value)) for value in values)
    asked = table().with_columns(frame["amount"])
    assert faults(asked) == ({("infinite", "amount")} if found else set())


def test_all_faults_come_at_once() -> None:
    broken = table(amount=[np.inf] * ROWS, bad=[0] * ROWS, loan=[1] * ROWS).drop("state")
    wanted = {
        ("infinite", "amount"),
        ("target-one-class", "bad"),
        ("id-duplicate", "loan"),
        ("column-missing", "state"),
    }
    assert faults(broken) == wanted
    with pytest.raises(DataError) as error:
        load(broken, SCHEMA)
    assert {(fault.code, fault.column) for fault in error.value.faults} == wanted


def test_messages_carry_the_offending_value_and_count() -> None:
    (fault,) = check(table(amount=["1", "2", "three", "4", "5", "6", "7", "8"]), SCHEMA)
    assert "'three'" in fault.message
    assert "1 of 8" in fault.message
    (fault,) = check(table(bad=[0, 1, None, 0, 1, 0, 1, 0]), SCHEMA)
    assert "1 of 8" in fault.message
    assert "negative" in fault.way_out


def test_the_target_may_be_absent_only_where_nothing_is_learnt() -> None:
    assert faults(table().drop("bad")) == {("target-missing", "bad")}
    assert faults(table().drop("bad"), labelled=False) == set()
    without = Schema(SCHEMA.columns[:-1])
    assert faults(table(), without) == {("target-undeclared", None)}


@pytest.mark.parametrize("rows", [0, 1, MIN_ROWS - 1])
def test_too_few_rows(rows: int) -> None:
    codes = {code for code, _ in faults(table().head(rows))}
    assert ("zero-rows" if rows == 0 else "too-few-rows") in codes


def test_nulls_in_the_target_are_unlabelled_rows_where_the_good_values_are_listed() -> None:
    listed = Schema(SCHEMA.columns, positive=("CHGOFF",), negative=("PIF",))
    frame = table(bad=["CHGOFF", "PIF", None, "late", "PIF", "CHGOFF", "PIF", "PIF"])
    assert faults(frame, listed) == set()
    labels = load(frame, listed).labels
    np.testing.assert_array_equal(labels, np.array([1, 0, np.nan, np.nan, 0, 1, 0, 0], dtype=np.float32))
    assert faults(table(bad=["late"] * ROWS), listed) == {("target-unknown-values", "bad")}


def test_free_text_is_no_target() -> None:
    frame = pl.concat([table()] * 4).with_columns(loan=pl.int_range(32), bad=pl.format("remark {}", pl.int_range(32)))
    assert faults(frame) == {("target-not-binary", "bad")}


def test_an_amount_needs_finite_numbers_that_differ() -> None:
    amounts = Schema(SCHEMA.columns, positive=())
    assert faults(table(bad=[float(place) for place in range(ROWS)]), amounts) == set()
    assert faults(table(bad=[2.0] * ROWS), amounts) == {("target-constant", "bad")}
    assert faults(table(bad=[np.inf, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), amounts) == {("target-null", "bad")}
    assert faults(table(bad=["a", "b"] * (ROWS // 2)), amounts) == {("target-text", "bad")}
    labels = load(table(bad=[float(place) for place in range(ROWS)]), amounts).labels
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, np.arange(ROWS))


def test_a_mistyped_column_is_named_beside_the_missing_one() -> None:
    (fault,) = check(table().rename({"amount": "amuont"}), SCHEMA, labelled=False)
    assert "The table has 'amuont': rename it." in fault.way_out
    # A like name that the schema knows is another column.
    both = Schema((*SCHEMA.columns, Column("days", Kind.NUMERIC, Role.IGNORED)))
    (fault,) = check(table(days=list(range(ROWS))).drop("day"), both)
    assert fault.column == "day"
    assert "rename" not in fault.way_out


def test_a_file_to_score_needs_its_features_and_nothing_else() -> None:
    assert faults(table().drop("amount"), labelled=False) == {("column-missing", "amount")}
    assert faults(table(amount=["x"] * ROWS), labelled=False) == {("column-retyped", "amount")}
    assert faults(table().drop("loan", "bad"), labelled=False) == set()
    # One row, an all-null column, equal times and equal ids are all fine when nothing is learnt.
    odd = table(amount=[None] * ROWS, loan=[1] * ROWS, day=[dt.date(2020, 1, 1)] * ROWS)
    assert faults(odd, labelled=False) == set()
    assert faults(table().head(1), labelled=False) == set()
    # Dates are read as days before the decision, so they need its time.
    assert faults(table().drop("day"), labelled=False) == {("column-missing", "day")}


def test_extra_and_reordered_columns_change_nothing() -> None:
    shuffled = table().select("bad", "opened", "state", "amount", "day", "loan").with_columns(extra=pl.lit(1))
    plain, odd = load(table(), SCHEMA), load(shuffled, SCHEMA)
    assert odd.frame.equals(plain.frame)
    assert odd.frame.columns == [column.name for column in SCHEMA.columns]
    assert load(shuffled, SCHEMA, labelled=False).frame.equals(plain.frame)


def test_a_misspelt_column_is_pointed_at() -> None:
    (fault,) = check(table().rename({"amount": " Amount"}), SCHEMA)
    assert "' Amount'" in fault.way_out


def test_loading_casts_to_the_kinds_of_the_schema(tmp_path: Path) -> None:
    frame = table(
        amount=["1", " 2.5 ", None, "4", "5", "6", "7", "8"],
        state=[1.0, 2.0, None, 1.0, 2.0, 1.0, 2.0, 1.5],
        opened=[f"{day}.12.2010" for day in range(13, 13 + ROWS)],
    )
    loaded = load(frame, SCHEMA)
    assert loaded.frame["amount"].dtype == pl.Float32
    assert loaded.frame["amount"].to_list()[:3] == [1.0, 2.5, None]
    # A level reads the same from a file of whole numbers and from one that had to store them as floats.
    assert loaded.frame["state"].to_list()[:3] == ["1", "2", None]
    assert loaded.frame["opened"].to_list()[0] == dt.date(2010, 12, 13)
    frame.write_csv(tmp_path / "loans.csv")
    assert load(tmp_path / "loans.csv", SCHEMA).frame.equals(loaded.frame)


def test_what_only_training_needs_comes_as_null_in_scoring() -> None:
    loaded = load(table().drop("bad", "loan"), SCHEMA, labelled=False)
    assert loaded.frame["bad"].null_count() == ROWS
    assert loaded.rows == ROWS
