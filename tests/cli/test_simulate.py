"""`leanrisk simulate sme` as a user meets it."""

import json

import polars as pl
import pytest

from leanrisk.cli.main import main
from leanrisk.core.schema import Schema
from leanrisk.data.load import load
from leanrisk.data.simulate.sme import simulate_sme


def test_the_book_and_its_schema_are_written_and_named(tmp_path, capsys):
    book = tmp_path / "deep" / "book.parquet"
    assert main(["simulate", "sme", "--rows", "500", "--features", "40", "--seed", "3", "-o", str(book)]) == 0
    shown = capsys.readouterr().out
    assert "500 loans" in shown
    assert str(tmp_path / "deep" / "book.schema.toml") in shown
    schema = Schema.read(book.with_suffix(".schema.toml"))
    assert len(schema.features) == 40
    assert load(book, schema).rows == 500
    assert pl.read_parquet(book).equals(simulate_sme(rows=500, features=40, seed=3), null_equal=True)


def test_json_names_both_files(tmp_path, capsys):
    book, schema = tmp_path / "book.csv", tmp_path / "elsewhere" / "schema.toml"
    words = [
        "simulate",
        "sme",
        "--rows",
        "50",
        "--features",
        "20",
        "-o",
        str(book),
        "--schema-out",
        str(schema),
        "--json",
    ]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["schema"], told["rows"], told["features"]) == (str(book), str(schema), 50, 20)
    assert told["bytes"] == book.stat().st_size
    assert Schema.read(schema).target == "bad"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--rows", "0"], "0 were asked for"),
        (["--rows", "many"], "--rows"),
        (["--features", "19"], "20 to 400"),
        (["--features", "401"], "20 to 400"),
        (["--seed", "-1"], "seed"),
        (["-o", "book.xlsx"], ".parquet"),
        (["-o", "taken/book.parquet"], "taken"),
        (["--schema-out", "taken/schema.toml"], "taken"),
        (["--schema-out", "book.parquet"], "--schema-out"),
    ],
)
def test_bad_options_are_told_and_leave_nothing(tmp_path, monkeypatch, capsys, options, wanted):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("not a folder")
    words = ["simulate", "sme", "--rows", "20", "--features", "20", "-o", "book.parquet", *options]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert wanted in told
    assert "Traceback" not in told
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_a_book_without_a_place_is_refused(capsys):
    assert main(["simulate", "sme"]) == 2
    assert "--output" in capsys.readouterr().err
