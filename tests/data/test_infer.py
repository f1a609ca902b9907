from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from leanrisk.core.errors import ConfigError, DataError
from leanrisk.core.schema import Kind, Role, Schema
from leanrisk.data.contract import check
from leanrisk.data.findings import Severity, severity
from leanrisk.data.infer import Inspection, inspect_table
from leanrisk.data.kinds import kind_of
from leanrisk.data.read import read_table
from leanrisk.scenarios.catalogue import match_schema

ROWS = 2000


@pytest.fixture(scope="module")
def book() -> pl.DataFrame:
    random = np.random.default_rng(3)
    bad = (random.random(ROWS) < 0.2).astype(int)
    day = np.sort(random.integers(0, 1500, ROWS))
    decision = [dt.date(2015, 1, 1) + dt.timedelta(days=int(step)) for step in day]
    amount = random.lognormal(9, 1, ROWS) * (1 + bad)
    return pl.DataFrame(
        {
            "loan_id": np.arange(ROWS) + 10_000,
            "decision_date": decision,
            "firm_id": random.integers(0, 300, ROWS),
            "amount": amount,
            "amount_again": amount,
            "past_due": np.where(random.random(ROWS) < 0.02, 98, random.poisson(0.5, ROWS)),
            "sector_code": random.integers(100, 160, ROWS),
            "gender": random.choice(["f", "m"], ROWS),
            "age": random.integers(18, 80, ROWS),
            "region": random.choice(["north", "south", "NA"], ROWS),
            "currency": ["CNY"] * ROWS,
            "empty": pl.Series([None] * ROWS, dtype=pl.Float64),
            "remark": [f"the firm number {place} asked for money" for place in range(ROWS)],
            "vintage": day // 30,
            "birth_date": [moment - dt.timedelta(days=9000) for moment in decision],
            "default_date": [
                moment + dt.timedelta(days=200) if flag else None for moment, flag in zip(decision, bad, strict=True)
            ],
            "recovery": np.where(bad == 1, random.random(ROWS), 0.0),
            "outcome_date": [moment + dt.timedelta(days=365) for moment in decision],
            "bad": bad,
        }
    )


@pytest.fixture(scope="module")
def inspection(book: pl.DataFrame) -> Inspection:
    return inspect_table(book, name="book")


def codes(inspection: Inspection) -> set[tuple[str, str | None]]:
    return {(fault.code, fault.column) for fault in inspection.findings}


@pytest.mark.parametrize(
    ("column", "kind", "role"),
    [
        ("loan_id", Kind.NUMERIC, Role.ID),
        ("decision_date", Kind.DATE, Role.TIME),
        ("firm_id", Kind.CATEGORY, Role.IGNORED),
        ("amount", Kind.NUMERIC, Role.FEATURE),
        ("amount_again", Kind.NUMERIC, Role.IGNORED),
        ("past_due", Kind.NUMERIC, Role.FEATURE),
        ("sector_code", Kind.CATEGORY, Role.FEATURE),
        ("gender", Kind.CATEGORY, Role.PROTECTED),
        ("age", Kind.NUMERIC, Role.FEATURE),
        ("region", Kind.CATEGORY, Role.FEATURE),
        ("currency", Kind.CATEGORY, Role.IGNORED),
        ("empty", Kind.NUMERIC, Role.IGNORED),
        ("remark", Kind.TEXT, Role.FEATURE),
        ("vintage", Kind.NUMERIC, Role.IGNORED),
        ("birth_date", Kind.DATE, Role.FEATURE),
        ("default_date", Kind.DATE, Role.EXPOST),
        ("recovery", Kind.NUMERIC, Role.EXPOST),
        ("outcome_date", Kind.DATE, Role.OUTCOME_TIME),
        ("bad", Kind.NUMERIC, Role.TARGET),
    ],
)
def test_kinds_and_roles_of_a_loan_book(inspection: Inspection, column: str, kind: Kind, role: Role) -> None:
    assert (inspection.schema[column].kind, inspection.schema[column].role) == (kind, role)


def test_findings_name_what_was_found(inspection: Inspection) -> None:
    assert codes(inspection) >= {
        ("leak-lone-auc", "default_date"),
        ("leak-filled-when-bad", "default_date"),
        ("leak-dated-after-decision", "default_date"),
        ("leak-filled-when-bad", "recovery"),
        ("column-id-like", "loan_id"),
        ("column-entity", "firm_id"),
        ("column-duplicate", "amount_again"),
        ("column-constant", "currency"),
        ("column-all-null", "empty"),
        ("column-text", "remark"),
        ("column-clock", "vintage"),
        ("column-protected", "gender"),
        ("column-age", "age"),
        ("missing-codes", "past_due"),
        ("missing-codes", "region"),
        ("column-outcome-time", "outcome_date"),
    }
    assert all(fault.way_out for fault in inspection.findings)
    assert inspection.schema["firm_id"].entity == "firm"
    assert inspection.schema["past_due"].missing_codes == (98,)


def test_no_honest_column_is_suspected(inspection: Inspection) -> None:
    suspected = {column for code, column in codes(inspection) if code.startswith("leak-")}
    assert suspected == {"default_date", "recovery"}


def test_the_inferred_schema_loads_its_own_table_and_survives_toml(
    book: pl.DataFrame, inspection: Inspection, tmp_path: Path
) -> None:
    assert check(book, inspection.schema) == ()
    (tmp_path / "schema.toml").write_text(inspection.schema.to_toml())
    assert Schema.read(tmp_path / "schema.toml") == inspection.schema


def test_findings_come_gravest_first_and_leaks_lead_their_grade(book: pl.DataFrame) -> None:
    found = inspect_table(
        book.with_columns(amount=pl.when(pl.int_range(ROWS) == 0).then(float("inf")).otherwise("amount"))
    ).findings
    grades = [severity(fault.code) for fault in found]
    assert grades == sorted(grades, key=list(Severity).index)
    assert found[0].code == "infinite"
    warnings = [fault.code.startswith("leak-") for fault in found if severity(fault.code) is Severity.WARNING]
    assert warnings == sorted(warnings, reverse=True)


def test_what_the_user_names_wins(book: pl.DataFrame) -> None:
    other = inspect_table(book, target="gender", positive="m")
    assert other.schema.target == "gender"
    assert other.schema.positive == ("m",)
    with pytest.raises(DataError, match="target-missing"):
        inspect_table(book, target="no_such_column")
    with pytest.raises(ConfigError, match="--positive"):
        inspect_table(book, target="gender")


def test_a_table_without_outcome_is_still_described(book: pl.DataFrame) -> None:
    found = inspect_table(book.drop("bad"))
    assert found.schema.target is None
    assert ("target-not-found", None) in codes(found)
    assert found.bads is None


def test_an_amount_is_a_target_too(book: pl.DataFrame) -> None:
    found = inspect_table(book, target="amount")
    assert found.schema.positive == ()
    assert ("target-amount", "amount") in codes(found)
    assert all(fact.lone_auc is None for fact in found.facts)


def test_nulls_in_the_target_and_other_values_are_told(book: pl.DataFrame) -> None:
    holed = book.with_columns(bad=pl.when(pl.int_range(ROWS) < 5).then(None).otherwise("bad"))
    assert ("target-null", "bad") in codes(inspect_table(holed))
    three = book.with_columns(bad=pl.when(pl.int_range(ROWS) < 5).then(7).otherwise("bad"))
    assert ("target-other-values", "bad") in codes(inspect_table(three, target="bad", positive="1"))


def test_types_that_no_schema_knows_are_ignored(book: pl.DataFrame) -> None:
    odd = book.with_columns(history=pl.lit([1, 2]), took=pl.duration(days=1))
    found = inspect_table(odd)
    assert {("column-unreadable", "history"), ("column-unreadable", "took")} <= codes(found)
    assert found.schema["history"].role is Role.IGNORED


def test_a_csv_gives_the_same_schema_as_the_parquet_file(book: pl.DataFrame, tmp_path: Path) -> None:
    book.write_csv(tmp_path / "book.csv")
    book.write_parquet(tmp_path / "book.parquet")
    from_csv = inspect_table(read_table(tmp_path / "book.csv")).schema
    from_parquet = inspect_table(read_table(tmp_path / "book.parquet")).schema
    differ = [(a.name, a, b) for a, b in zip(from_csv.columns, from_parquet.columns, strict=True) if a != b]
    # A column without a single value has no type in a CSV file.
    assert [name for name, *_ in differ] in ([], ["empty"])


def test_sba_term_is_called_a_leak_with_and_without_the_shipped_schema(public_data: Path) -> None:
    frame = read_table(public_data / "sba_loans" / "sba_balanced_30000.parquet")
    alone = inspect_table(frame)
    assert alone.schema["Term"].role is Role.EXPOST
    assert ("leak-lone-auc", "Term") in codes(alone)
    (term,) = (fact for fact in alone.facts if fact.name == "Term")
    assert term.lone_auc == pytest.approx(0.947, abs=0.005)
    held = inspect_table(frame, known=match_schema(frame.columns))
    assert ("leak-lone-auc", "Term") in codes(held)
    assert held.extra == ("BalanceGross",)


@pytest.mark.parametrize(
    ("file", "target", "coded"),
    [
        ("give_me_some_credit/cs_training", "SeriousDlqin2yrs", {"NumberOfTimes90DaysLate": (96, 98)}),
        ("heloc/heloc", "RiskPerformance", {"MSinceMostRecentDelq": (-9, -8, -7)}),
        ("home_credit/application_train_11873", "TARGET", {"DAYS_EMPLOYED": (365243,)}),
        ("thomas_uk_loans/loan_data", "BAD", {"YOB": (99,)}),
        ("hmeq_home_equity/hmeq", "BAD", {}),
        ("polish_bankruptcy/year1", "class", {}),
    ],
)
def test_public_files_are_understood_without_help(public_data: Path, file: str, target: str, coded: dict) -> None:
    found = inspect_table(read_table(public_data / f"{file}.parquet"))
    assert found.schema.target == target
    assert {name: found.schema[name].missing_codes for name in coded} == coded
    assert not [fault for fault in found.findings if severity(fault.code) is Severity.FAULT]
    assert not [fault for fault in found.findings if fault.code.startswith("leak-")]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("{n} invoices of our largest customer are still open this month", Kind.TEXT),
        ("第{n}批应收账款未收回，需先付工资", Kind.TEXT),
        ("branch {n}", Kind.CATEGORY),
        ("北京{n}分行", Kind.CATEGORY),
    ],
)
def test_long_free_text_is_text_and_names_are_categories(value: str, kind: Kind) -> None:
    column = pl.Series("remark", [value.format(n=place % 90) for place in range(1000)])
    assert kind_of(column) is kind
