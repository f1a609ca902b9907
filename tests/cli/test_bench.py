"""`leanrisk bench` over benchmarks written for the test, and over the project's own list."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from leanrisk.cli.main import main

OWN = Path(__file__).parents[2] / "benchmarks"
QUICK = """
from {package}.runner import Bar, Outcome

def run(preset, progress):
    with progress.track("Counting", total=2) as advance:
        advance(2)
    return Outcome(figures={{"rows_per_s": 12_000.0}}, bars=({bars}))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    # A package name of its own per test: Python keeps imported modules, and two tests must not share them.
    package = f"benchmarks_{tmp_path.name}"
    place = tmp_path / package
    place.mkdir()
    shutil.copy(OWN / "runner.py", place)
    (place / "__init__.py").touch()
    (place / "quick.py").write_text(QUICK.format(package=package, bars='Bar.at_least("rows/s", 12_000.0, 10_000.0),'))
    (place / "slow.py").write_text(QUICK.format(package=package, bars='Bar.at_most("seconds", 3.0, 2.0),'))
    monkeypatch.setattr(sys, "path", list(sys.path))
    return place


def bench(folder, *words):
    return main(["bench", *words, "--folder", str(folder)])


def test_names_are_listed(folder, capsys):
    assert bench(folder) == 0
    assert capsys.readouterr().out.split() == ["quick", "slow"]


def test_a_result_is_shown_and_written(folder, capsys):
    assert bench(folder, "quick", "--preset", "smoke") == 0
    shown = capsys.readouterr().out
    assert "1.2e+04" in shown
    assert "reached" in shown
    written = json.loads((folder / "results" / "quick.json").read_text())
    assert set(written) == {"name", "commit", "machine", "preset", "figures", "bars"}
    assert written["preset"] == "smoke"
    assert written["figures"]["seconds"] >= 0
    assert written["bars"] == [{"what": "rows/s", "value": 12000.0, "bar": 10000.0, "passed": True}]


def test_a_missed_bar_stays_visible_and_fails_only_on_request(folder, capsys):
    assert bench(folder, "slow") == 0
    assert "MISSED" in capsys.readouterr().out
    assert json.loads((folder / "results" / "slow.json").read_text())["bars"][0]["passed"] is False
    assert bench(folder, "slow", "--strict") == 1


def test_all_as_json(folder, capsys):
    assert bench(folder, "--all", "--json") == 0
    assert [result["name"] for result in json.loads(capsys.readouterr().out)] == ["quick", "slow"]


@pytest.mark.parametrize("words", [["absent"], ["quick", "--preset", "huge"]])
def test_an_unknown_name_or_preset_is_refused(folder, words, capsys):
    assert bench(folder, *words) == 2
    assert "Choose one of them" in capsys.readouterr().err


def test_a_folder_without_benchmarks_is_refused(tmp_path, capsys):
    assert bench(tmp_path) == 2
    assert "--folder" in capsys.readouterr().err


def test_the_projects_own_benchmarks_are_found(capsys):
    assert main(["bench", "--json"]) == 0
    assert "import_time" in json.loads(capsys.readouterr().out)
