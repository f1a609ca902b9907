"""`leanrisk score`: the file that comes out, and what is said where none can."""

from __future__ import annotations

import polars as pl
import pytest

from leanrisk.cli.main import main
from tests.registry.bundles import bundle_copy
from tests.techniques.lean_books import valid_rows


@pytest.fixture
def place(tmp_path):
    folder = bundle_copy(tmp_path)
    valid_rows().frame.write_parquet(tmp_path / "rows.parquet")
    return folder


def test_the_ending_says_what_is_written(place, tmp_path):
    rows = tmp_path / "rows.parquet"
    for name in ("scores.parquet", "scores.csv"):
        assert main(["score", str(place), str(rows), "-o", str(tmp_path / name)]) == 0
    whole, text = pl.read_parquet(tmp_path / "scores.parquet"), pl.read_csv(tmp_path / "scores.csv")
    assert text["probability"].cast(pl.Float32).equals(whole["probability"])


def test_another_ending_is_refused_before_anything_is_read(tmp_path, capsys):
    assert main(["score", str(tmp_path / "no"), str(tmp_path / "no"), "-o", str(tmp_path / "scores.xlsx")]) == 2
    assert "'" + str(tmp_path / "scores.xlsx") + "' ends in none of them" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
