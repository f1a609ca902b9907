"""`leanrisk pretrain`: a raw file or the simulated book becomes a base that `shrink` can start from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leanrisk.cli.main import main
from leanrisk.registry.bundle import CARD
from leanrisk.techniques.pretrained import load_base
from tests.pipelines.tiny import LOANS, loans, recipe_file

QUICK = ["--epochs", "2"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "loans.csv"
    loans(600, seed=0).write_csv(file)
    return file


def test_a_raw_file_becomes_a_base(table, tmp_path, capsys):
    out = tmp_path / "base"
    assert main(["pretrain", str(table), "--out", str(out), *QUICK]) == 0
    shown = capsys.readouterr()
    assert f"Base written to {out}: 600 rows" in shown.out
    assert "of hidden fields right" in shown.out
    assert "CPU-s" in shown.out
    assert "the outcome 'bad' left out" in shown.err
    assert "bad" not in load_base(out).encoder.fields.names


def test_a_recipe_starts_from_it(table, tmp_path, capsys):
    schema, base = tmp_path / "loans.toml", tmp_path / "base"
    schema.write_text(LOANS.to_toml())
    assert main(["pretrain", str(table), "--schema", str(schema), "--out", str(base), *QUICK, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["base"] == str(base)
    assert told["cost"]["cpu_s"] > 0
    recipe = recipe_file(tmp_path)
    step = 'technique = "distill"\n'
    recipe.write_text(recipe.read_text().replace(step, f"{step}settings.base = '{base}'\n", 1))
    words = ["shrink", str(recipe), "--data", str(table), "--schema", str(schema)]
    assert main([*words, "--out", str(tmp_path / "shrunk")]) == 0
    taught = json.loads((tmp_path / "shrunk" / "bundle" / CARD).read_text())["taught"]
    assert (taught["preset"], taught["pretrained"]) == ("tiny", told["digest"])


def test_without_a_file_the_simulated_book_is_taken(tmp_path, capsys):
    words = ["pretrain", "--rows", "300", "--features", "25", "--out", str(tmp_path / "base"), *QUICK, "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 300
    assert len(load_base(tmp_path / "base").encoder.fields.names) == 25


def test_bins_make_a_finer_encoder(table, tmp_path, capsys):
    words = ["pretrain", str(table), *QUICK, "--json", "--out"]
    assert main([*words, str(tmp_path / "usual")]) == 0
    usual = json.loads(capsys.readouterr().out)
    assert main([*words, str(tmp_path / "fine"), "--bins", "255"]) == 0
    fine = json.loads(capsys.readouterr().out)
    assert (usual["encoder"]["bins"], fine["encoder"]["bins"]) == (48, 255)
    assert fine["parameters"] > usual["parameters"]
    edges = [len(entry.edges) for entry in load_base(tmp_path / "fine").encoder.fields.numeric]
    assert max(edges) > 200


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--rows", "300"], "--rows and --features size the simulated book"),
        (["--preset", "swift"], "Only a transformer body can be pre-trained"),
        (["--epochs", "0"], "epochs"),
        (["--bins", "256"], "encoder.bins must lie in 2..255"),
        (["--resume"], "Start it without --resume"),
        (["--schema", "nowhere.toml"], "must be readable"),
    ],
)
def test_what_makes_no_sense_is_refused(words, told, table, tmp_path, capsys):
    assert main(["pretrain", str(table), "--out", str(tmp_path / "base"), *words]) == 2
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["loans.csv"]


def test_a_file_that_is_no_table_is_refused(tmp_path, capsys):
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    assert main(["pretrain", str(tmp_path / "x.parquet"), "--out", str(tmp_path / "base")]) == 2
    assert "file-" in capsys.readouterr().err
