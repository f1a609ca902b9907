"""`leanrisk inspect` as a user meets it: what it prints, what it writes, and how it ends."""

import json

import numpy as np
import polars as pl
import pytest

from leanrisk.cli.main import main
from leanrisk.core.schema import Role, Schema
from leanrisk.data.contract import check
from leanrisk.data.read import read_table

ROWS = 600


@pytest.fixture
def loans(tmp_path):
    random = np.random.default_rng(5)
    bad = (random.random(ROWS) < 0.3).astype(int)
    frame = pl.DataFrame(
        {
            "loan_id": np.arange(ROWS),
            "amount": random.lognormal(8, 1, ROWS) * (1 + bad),
            "past_due": np.where(random.random(ROWS) < 0.05, 98, random.poisson(0.4, ROWS)),
            "recovered": np.where(bad == 1, random.random(ROWS), 0.0),
            "bad": bad,
        }
    )
    path = tmp_path / "loans.csv"
    frame.write_csv(path)
    return path


def test_columns_and_findings_are_printed_with_their_way_out(loans, capsys):
    assert main(["inspect", str(loans)]) == 0
    shown = capsys.readouterr().out
    for wanted in ("600 rows", "loan_id", "leak-filled-when-bad", "recovered", "expost", "missing-codes", "98", "->"):
        assert wanted in shown


def test_json_is_all_that_stands_on_stdout(loans, capsys):
    assert main(["inspect", str(loans), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == ROWS
    assert told["matched"] is None
    assert Schema.from_dict(told["schema"]).target == "bad"
    assert {"severity", "code", "column", "message", "way_out"} <= set(told["findings"][0])
    assert "recovered" in {entry["column"] for entry in told["findings"] if entry["code"] == "leak-filled-when-bad"}
    assert {entry["name"] for entry in told["columns"]} == {"loan_id", "amount", "past_due", "recovered", "bad"}


def test_the_schema_written_fits_the_table(loans, tmp_path, capsys):
    written = tmp_path / "deep" / "schema.toml"
    assert main(["inspect", str(loans), "-o", str(written)]) == 0
    assert str(written.name) in capsys.readouterr().out
    schema = Schema.read(written)
    assert schema["recovered"].role is Role.EXPOST
    assert check(read_table(loans), schema) == ()


def test_the_user_names_target_and_bad_value(loans, capsys):
    assert main(["inspect", str(loans), "--target", "bad", "--positive", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"]["positive"] == [0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "nothing"], "nothing"),
        (["--target", "bad", "--positive", "7"], "'7' is not"),
        (["--target", "amount", "--positive", "much"], "'much' is not"),
    ],
)
def test_what_is_not_in_the_table_is_refused(loans, capsys, words, said):
    assert main(["inspect", str(loans), *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("none.csv", None, "file-missing"),
        ("cut.parquet", b"PAR1 cut off", "file-truncated"),
        ("page.csv", b"<html></html>", "not-a-table"),
        ("empty.csv", b"a,bad\n", "zero-rows"),
    ],
)
def test_a_file_that_is_no_table_ends_with_2_and_its_code(tmp_path, capsys, name, content, code):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert main(["inspect", str(path), "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["faults"][0]["code"] == code
    assert error["faults"][0]["way_out"]


def test_a_table_that_training_would_refuse_is_described_and_ends_with_2(tmp_path, capsys):
    path = tmp_path / "loans.csv"
    path.write_text("amount,target\n" + "".join(f"{place},1\n" for place in range(50)))
    assert main(["inspect", str(path)]) == 2
    assert "target-one-class" in capsys.readouterr().out


def test_an_unwritable_schema_is_refused(loans, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["inspect", str(loans), "-o", str(tmp_path / "file" / "schema.toml")]) == 2
    assert "schema.toml" in capsys.readouterr().err


def test_markup_in_names_and_values_is_shown_as_it_is(tmp_path, capsys):
    path = tmp_path / "odd.csv"
    lines = "".join(f"{place},[red]x{place % 3},{place % 2}\n" for place in range(60))
    path.write_text("[bold]amount,kind,bad\n" + lines)
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "[bold]amount" in shown
    assert "[red]x0" in shown


def test_a_known_table_is_held_against_its_shipped_schema(public_data, capsys):
    path = public_data / "sba_loans" / "sba_balanced_30000.parquet"
    assert main(["inspect", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["matched"] == "sba_loans"
    assert told["extra"] == ["BalanceGross"]
    leaks = {entry["column"] for entry in told["findings"] if entry["code"] == "leak-lone-auc"}
    assert leaks == {"Term", "ChgOffDate", "ChgOffPrinGr"}
