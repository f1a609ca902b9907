"""`leanrisk simulate` as a user meets it."""

import json

import polars as pl
import pytest

from leanrisk.cli.main import main
from leanrisk.core.schema import Schema
from leanrisk.data.load import load
from leanrisk.data.simulate.aml.transfers import AmlSize, simulate_aml
from leanrisk.data.simulate.card.payments import CardSize, simulate_card
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


def test_transfers_accounts_and_both_schemas_are_written_and_named(tmp_path, capsys):
    book = tmp_path / "deep" / "transfers.parquet"
    words = ["--accounts", "600", "--share", "0.01", "--seed", "3", "-o", str(book)]
    assert main(["simulate", "aml", *words]) == 0
    shown = capsys.readouterr().out
    assert "12,000 transfers" in shown
    assert "600 accounts" in shown
    written = {
        "transfers.parquet",
        "transfers.schema.toml",
        "transfers.accounts.parquet",
        "transfers.accounts.schema.toml",
    }
    assert {entry.name for entry in book.parent.iterdir()} == written
    assert all(name in shown for name in written)
    transfers, accounts = simulate_aml(AmlSize(600, share=0.01, seed=3))
    assert pl.read_parquet(book).equals(transfers, null_equal=True)
    assert load(book, Schema.read(book.with_suffix(".schema.toml"))).rows == 12_000
    holders = book.with_name("transfers.accounts.parquet")
    assert pl.read_parquet(holders).equals(accounts)
    assert load(holders, Schema.read(holders.with_suffix(".schema.toml")), labelled=False).rows == 600


def test_json_names_the_files_of_the_transfers(tmp_path, capsys):
    book = tmp_path / "transfers.csv"
    words = ["--accounts", "500", "--transfers", "4000", "--share", "0.02", "--days", "60", "-o", str(book), "--json"]
    assert main(["simulate", "aml", *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["transfers"], told["accounts"], told["days"]) == (str(book), 4_000, 500, 60)
    assert told["bytes"] == book.stat().st_size
    assert Schema.read(told["schema"]).target == "is_laundering"
    assert load(told["accounts_file"], Schema.read(told["accounts_schema"]), labelled=False).rows == 500


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--accounts", "0"], "0 were asked for"),
        (["--accounts", "100"], "100 were asked for"),
        (["--accounts", "many"], "--accounts"),
        (["--transfers", "-1"], "-1 were asked for"),
        (["--share", "0"], "0.0 was asked for"),
        (["--share", "1.5"], "1.5 was asked for"),
        (["--days", "1"], "1 were asked for"),
        (["--seed", "-1"], "seed"),
        (["-o", "book.xlsx"], ".parquet"),
        (["-o", "taken/book.parquet"], "taken"),
    ],
)
def test_bad_options_for_transfers_are_told_and_leave_nothing(tmp_path, monkeypatch, capsys, options, wanted):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("not a folder")
    assert main(["simulate", "aml", "--accounts", "600", "-o", "book.parquet", *options]) == 2
    told = capsys.readouterr().err
    assert wanted in told
    assert "Traceback" not in told
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_card_payments_and_their_schema_are_written_and_named(tmp_path, capsys):
    book = tmp_path / "deep" / "payments.parquet"
    words = ["--rows", "12000", "--customers", "150", "--share", "0.01", "--seed", "3", "-o", str(book)]
    assert main(["simulate", "card", *words]) == 0
    shown = capsys.readouterr().out
    assert "12,000 payments of 150 customers at 150 terminals in 180 days" in shown
    assert "payments.schema.toml" in shown
    assert pl.read_parquet(book).equals(simulate_card(CardSize(12_000, 150, share=0.01, seed=3)), null_equal=True)
    assert load(book, Schema.read(book.with_suffix(".schema.toml"))).rows == 12_000


def test_json_names_the_files_of_the_card_payments(tmp_path, capsys):
    book = tmp_path / "payments.csv"
    words = ["--rows", "4000", "--terminals", "80", "--share", "0.02", "--days", "60", "-o", str(book), "--json"]
    assert main(["simulate", "card", *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["payments"], told["customers"], told["terminals"]) == (str(book), 4_000, 100, 80)
    assert told["bytes"] == book.stat().st_size
    assert load(told["file"], Schema.read(told["schema"])).rows == 4_000


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--rows", "0"], "0 were asked for"),
        (["--rows", "many"], "--rows"),
        (["--customers", "-1"], "-1 were asked for"),
        (["--terminals", "3"], "3 were asked for"),
        (["--share", "0"], "0.0 was asked for"),
        (["--share", "1.5"], "1.5 was asked for"),
        (["--days", "1"], "1 were asked for"),
        (["--seed", "-1"], "seed"),
        (["-o", "book.xlsx"], ".parquet"),
        (["-o", "taken/book.parquet"], "taken"),
    ],
)
def test_bad_options_for_card_payments_are_told_and_leave_nothing(tmp_path, monkeypatch, capsys, options, wanted):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("not a folder")
    assert main(["simulate", "card", "--rows", "5000", "-o", "book.parquet", *options]) == 2
    told = capsys.readouterr().err
    assert wanted in told
    assert "Traceback" not in told
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize("name", ["edges.parquet", "edges.CSV", "taken"])
def test_edges_go_into_a_folder_and_the_name_of_a_file_is_refused(tmp_path, capsys, name):
    (tmp_path / "taken").write_text("not a folder")
    book = tmp_path / "book.parquet"
    words = ["simulate", "sme", "--rows", "400", "--features", "20", "-o", str(book), "--edges", str(tmp_path / name)]
    assert main(words) == 2
    assert "--edges names a folder" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_a_network_is_written_where_the_schema_looks_for_it(tmp_path, capsys):
    book, folder = tmp_path / "deep" / "book.parquet", tmp_path / "edges"
    words = ["simulate", "sme", "--rows", "400", "--features", "20", "-o", str(book), "--edges", str(folder)]
    assert main(words) == 0
    assert "edge tables" in capsys.readouterr().out
    memory = Schema.read(book.with_suffix(".schema.toml")).memory
    assert memory is not None
    assert [(book.parent / table.file).resolve() for table in memory.edges] == [
        folder.resolve() / f"{table.name}.parquet" for table in memory.edges
    ]
    assert pl.read_parquet(folder / "address.parquet").height
    assert pl.read_parquet(book).equals(simulate_sme(rows=400, features=20, seed=7, network=True), null_equal=True)
