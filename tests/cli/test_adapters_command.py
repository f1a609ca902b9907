"""`leanrisk adapters` as a user meets it."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from leanrisk.cli.main import main
from leanrisk.registry.bundle import Bundle
from leanrisk.registry.shelf import Shelf
from tests.pipelines.shelves import champion, refreshed
from tests.techniques.lean_books import book


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    champion(folder)
    for seed in (1, 2):
        refreshed(folder, seed)
    return folder


@pytest.fixture
def shelf(sources, tmp_path, capsys):
    words = ["--from", f"{sources}/refreshed-1", "--base", f"{sources}/champion"]
    assert main(["adapters", "add", str(tmp_path / "shelf"), "jan", *words]) == 0
    assert "'jan' added: 2,304 weights" in capsys.readouterr().out
    return str(tmp_path / "shelf")


@pytest.fixture
def rows(tmp_path):
    book(200, seed=60).frame.write_parquet(tmp_path / "rows.parquet")
    return str(tmp_path / "rows.parquet")


def told(capsys, *words):
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_list_says_what_is_there_and_what_scores(shelf, capsys):
    listed = told(capsys, "adapters", "list", shelf)
    assert [row["name"] for row in listed["adapters"]] == [None, "jan"]
    assert [row["current"] for row in listed["adapters"]] == [True, False]
    assert listed["adapters"][1]["rank"] == 2
    assert listed["adapters"][1]["bytes"] < 30_000 < listed["adapters"][1]["graph_bytes"]
    assert main(["adapters", "use", shelf, "jan"]) == 0
    assert main(["adapters", "list", shelf]) == 0
    shown = capsys.readouterr().out
    assert "'jan' scores now." in shown
    assert "jan *" in shown


def test_score_follows_the_pointer(shelf, sources, rows, tmp_path, capsys):
    scores = {}
    for name, place in (("base", sources / "champion"), ("jan", sources / "refreshed-1")):
        used = told(capsys, "adapters", "use", shelf, name)
        assert used["current"] == (None if name == "base" else name)
        out = str(tmp_path / f"{name}.parquet")
        facts = told(capsys, "score", shelf, rows, "--out", out)
        assert facts["bundle"] == used["bundle"] == Shelf.open(shelf).bundle().digest
        scores[name] = pl.read_parquet(out)["probability"].to_numpy()
        assert np.allclose(scores[name], Bundle.load(place).score(pl.read_parquet(rows)), atol=1e-6)
    assert not np.allclose(scores["base"], scores["jan"], atol=1e-3)


def test_differences_are_shown(shelf, sources, rows, capsys):
    added = told(capsys, "adapters", "add", shelf, "feb", "--from", f"{sources}/refreshed-2")
    assert added["name"] == "feb"
    assert not added["current"]
    found = told(capsys, "adapters", "diff", shelf, "jan", "feb", "--data", rows, "--declined", "0.2")
    assert found["scores"]["rows"] == 200
    assert found["scores"]["declined"] == 0.2
    assert len(found["layers"]) == 6
    assert main(["adapters", "diff", shelf, "base", "feb", "--data", rows]) == 0
    shown = capsys.readouterr().out
    assert "body.blocks.5.attention.query_key_value" in shown
    assert "On 200 rows: rank correlation 0." in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["use", "{shelf}", "feb"], "'feb' is not in"),
        (["use", "{shelf}", "../jan"], "An adapter's name"),
        (["list", "{sources}/champion"], "A shelf is a folder"),
        (["list", "{sources}/nothing"], "A shelf is a folder"),
        (["add", "{shelf}", "jan", "--from", "{sources}/refreshed-2"], "--replace"),
        (["add", "{shelf}", "feb", "--from", "{sources}/champion"], "no training/adapter"),
        (["add", "{shelf}", "feb", "--from", "{sources}"], "A bundle is a folder"),
        (["diff", "{shelf}", "base", "jan", "--data", "{sources}/none.parquet"], "none.parquet"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(shelf, sources, capsys, words, message):
    assert main(["adapters", *(word.format(shelf=shelf, sources=sources) for word in words)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert Shelf.open(shelf).names == ("jan",)
    assert Shelf.open(shelf).current is None


def test_what_scores_now_is_not_replaced(shelf, sources, capsys):
    before = told(capsys, "adapters", "use", shelf, "jan")["bundle"]
    assert main(["adapters", "add", shelf, "jan", "--from", f"{sources}/refreshed-2", "--replace"]) == 2
    assert "'jan' is the current one. Use another one first" in " ".join(capsys.readouterr().err.split())
    assert Shelf.open(shelf).bundle().digest == before


def test_help_names_the_verbs(capsys):
    assert main(["adapters", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in ("list", "add", "use", "diff"))
