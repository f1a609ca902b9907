"""A round that was cut: really killed, at each of its points, and taken up from its last finished step."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from leanrisk.cli.main import main
from leanrisk.core.errors import BundleError, ConfigError, DataError
from leanrisk.cost.ledger import Ledger
from leanrisk.pipelines.refresh import refresh
from leanrisk.registry.bundle import Bundle
from tests.conftest import ROOT
from tests.pipelines.cut_rounds import POINTS, ROUND_SEED, SETTINGS
from tests.pipelines.rounds import OPEN, champion, deep_champion, files_of, later

_DEADLINE_S = 240.0
_BEFORE_THE_BUNDLE = POINTS[:-1]


@dataclass(frozen=True)
class Cut:
    """Killed rounds, one folder a point; the file of new rows; an uncut round of the same rows; the champion before."""

    folder: Path
    data: Path
    whole: Path
    ended: dict[str, int]
    before: dict[str, bytes]


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    """A round killed at every point."""
    folder = tmp_path_factory.mktemp("cut")
    data, before = folder / "new.parquet", files_of(deep_champion())
    later().write_parquet(data)
    words = [sys.executable, "-m", "tests.pipelines.cut_rounds", str(deep_champion()), str(data), str(folder)]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=_DEADLINE_S, check=True)
    resumed(folder / "whole", data, resume=False)
    return Cut(folder, data, folder / "whole", json.loads(told.stdout), before)


def resumed(out: Path, data: Path, *, resume: bool = True, **options: Any) -> tuple[Bundle, dict[str, Any]]:
    settings = {"config": SETTINGS, "gates": OPEN, "seed": ROUND_SEED, **options}
    return refresh(settings.pop("champion", deep_champion()), data, out=out, resume=resume, **settings)


def phases(out: Path) -> list[str]:
    return [entry.phase for entry in Ledger.load(out / "work" / "ledger.jsonl").entries]


def test_every_round_was_killed_and_the_champion_is_untouched(cut: Cut):
    assert cut.ended == dict.fromkeys(POINTS, -signal.SIGKILL)
    assert files_of(deep_champion()) == cut.before


@pytest.mark.parametrize("point", POINTS)
def test_there_is_never_half_a_bundle(cut: Cut, point):
    out = cut.folder / point
    assert not (out / "refresh.json").exists()
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == (
        ["work"] if point in _BEFORE_THE_BUNDLE else ["bundle", "work"]
    )
    if point not in _BEFORE_THE_BUNDLE:
        assert Bundle.load(out / "bundle").check_reference() < 1e-6


@pytest.mark.parametrize("point", POINTS)
def test_it_goes_on_to_the_same_end_as_a_round_that_was_not_cut(cut: Cut, point, tmp_path):
    out = shutil.copytree(cut.folder / point, tmp_path / "out")
    bundle, verdict = resumed(out, cut.data)
    whole = json.loads((cut.whole / "refresh.json").read_text())
    assert {key: value for key, value in verdict.items() if key != "cost"} == {
        key: value for key, value in whole.items() if key != "cost"
    }
    # The same bits: graph, base, adapter, encoder, kept rows. Only what tells costs differs.
    ours, theirs = files_of(bundle.folder), files_of(cut.whole / "bundle")
    assert {name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)} <= {"card.json", "manifest.json"}
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == ["bundle", "refresh.json", "work"]
    assert not [path for path in (out / "work").rglob("*") if path.name.endswith((".part", ".old"))]
    assert not (out / "work" / "outcome").exists()
    # No finished step was done twice, and its cost is told once.
    assert phases(out) == ["refresh: teacher", "refresh: teach"]
    assert verdict["cost"]["cpu_s"] > 0
    assert files_of(deep_champion()) == cut.before


def test_a_finished_round_resumes_to_what_it_was(cut: Cut):
    told = (cut.whole / "refresh.json").read_bytes()
    before = files_of(cut.whole / "bundle")
    resumed(cut.whole, cut.data)
    assert (cut.whole / "refresh.json").read_bytes() == told
    assert files_of(cut.whole / "bundle") == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"seed": ROUND_SEED + 1}, "seed differ"),
        ({"gates": replace(OPEN, auc_margin=-0.5)}, r"gates\.auc_margin differ"),
        ({"config": replace(SETTINGS, keep=7)}, r"config\.keep differ"),
        ({"config": replace(SETTINGS, teach=replace(SETTINGS.teach, method="lora"))}, r"config\.teach\.method differ"),
        ({"replay": later(200, seed=99)}, r"replay differ"),
        ({"data": later(300)}, r"^A run resumes with what it was started with: data differ"),
        (
            {"champion": champion(), "config": replace(SETTINGS, teach=replace(SETTINGS.teach, method="all"))},
            "champion",
        ),
    ],
)
def test_a_round_is_not_resumed_with_anything_else(cut: Cut, options, named):
    before = files_of(cut.whole)
    data = options.pop("data", cut.data)
    with pytest.raises(ConfigError, match=named):
        resumed(cut.whole, data, **options)
    assert files_of(cut.whole) == before


def test_there_must_be_a_round_to_resume(cut: Cut, tmp_path):
    with pytest.raises(ConfigError, match=r"holds none .*Start it without --resume"):
        resumed(tmp_path / "out", cut.data)
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="file-missing"):
        resumed(tmp_path / "out", tmp_path / "nothing.parquet")
    with pytest.raises(BundleError):
        resumed(tmp_path / "out", cut.data, champion=tmp_path / "nobody")


def test_the_command_resumes(tmp_path, capsys):
    data = tmp_path / "new.parquet"
    later().write_parquet(data)
    words = ["refresh", "--from", str(champion()), "--data", str(data), "--out", str(tmp_path / "out"), "--json"]
    assert main([*words, "--resume"]) == 2
    assert "holds none" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert not (tmp_path / "out").exists()
    assert main(words) == 0
    first = json.loads(capsys.readouterr().out)
    assert main([*words, "--resume"]) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert main([*words, "--resume", "--seed", "9", "--method", "freeze"]) == 2
    assert "config.teach.method, seed differ" in json.loads(capsys.readouterr().out)["error"]["message"]
