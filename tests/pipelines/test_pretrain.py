"""Pre-training a book: every row counts, a cut run goes on where it was, and no half base is ever left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from leanrisk.cli.main import main
from leanrisk.core.errors import ConfigError, DataError, ModelError, OutputError
from leanrisk.core.progress import Silent
from leanrisk.features.encoder import EncoderConfig
from leanrisk.models.pretraining import PretrainingConfig
from leanrisk.pipelines.pretrain import pretrain
from leanrisk.techniques.pretrained import Base, load_base
from tests.pipelines.tiny import LOANS, loans

ROWS = 400
SHORT = PretrainingConfig(epochs=3, batch=64, threads=1)
_DEADLINE_S = 120.0


def taught(out: Path, frame: pl.DataFrame | None = None, **changes: object) -> Base:
    rows = loans(ROWS, seed=0) if frame is None else frame
    return pretrain(rows, **{"schema": LOANS, "out": out, "config": SHORT, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return taught(tmp_path_factory.mktemp("bases") / "base")


class Cutting(Silent):
    """Progress that is interrupted as a user would, once `steps` epochs are over."""

    def __init__(self, steps: int) -> None:
        self.left = steps + 1

    def track(self, what, total=None):
        return self

    def __enter__(self):
        return self._advance

    def __exit__(self, *error):
        return None

    def _advance(self, steps: float) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_what_is_told_of_a_base(base):
    facts = base.facts
    assert facts["preset"] == "tiny"
    assert facts["rows"] == ROWS
    assert facts["held_out_rows"] == 20
    assert len(facts["data"]) == len(facts["digest"]) == 64
    assert facts["cost"]["cpu_s"] > 0
    assert facts["cost"]["wall_s"] > 0
    assert len(facts["log"]["losses"]) == 3
    assert 0 <= facts["log"]["commonest"] <= 1
    assert facts["period"][0].startswith("2020-01")
    assert facts["encoder"] == {"bins": 48, "levels": 200, "min_level_rows": 20}


def test_rows_without_outcomes_teach_the_same(base, tmp_path):
    half = loans(ROWS, seed=0).with_columns(bad=pl.when(pl.int_range(pl.len()) % 2 == 0).then("bad"))
    none = loans(ROWS, seed=0).drop("bad", "loan")
    for name, frame in (("half", half), ("none", none)):
        found = taught(tmp_path / name, frame)
        assert found.facts["rows"] == ROWS
        assert found.facts["digest"] == base.facts["digest"]
        assert "bad" not in found.encoder.fields.names


def test_a_table_without_a_schema_is_read_as_it_seems(tmp_path):
    found = pretrain(loans(ROWS, seed=0), out=tmp_path / "base", config=SHORT)
    assert {"income", "debt", "age", "sector"} <= set(found.encoder.fields.names)
    assert not {"bad", "loan"} & set(found.encoder.fields.names)


@pytest.mark.parametrize("epochs", [0, 1, 2, 3])
def test_a_cut_run_goes_on_and_ends_the_same(base, tmp_path, epochs):
    out = tmp_path / "base"
    with pytest.raises(KeyboardInterrupt):
        taught(out, progress=Cutting(epochs))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.work"]
    found = taught(out, resume=True)
    assert found.facts["digest"] == base.facts["digest"]
    assert found.facts["log"] == base.facts["log"]
    assert found.facts["cost"]["cpu_s"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]


def test_a_killed_process_leaves_no_base_and_can_be_resumed(tmp_path, capsys):
    words = ["pretrain", "--rows", "600", "--features", "20", "--epochs", "20", "--json", "--out"]
    command = [sys.executable, "-m", "leanrisk", *words, str(tmp_path / "base")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state, end = tmp_path / "base.work" / "state.json", time.monotonic() + _DEADLINE_S
    while not (state.exists() and json.loads(state.read_text())["finished"]):
        assert process.poll() is None, "the command ended before it was killed"
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "base").exists()
    with pytest.raises(ModelError, match="has no 'base.json'"):
        load_base(tmp_path / "base")
    assert main([*words, str(tmp_path / "base"), "--resume"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert main([*words, str(tmp_path / "whole")]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["digest"] == told["digest"] == load_base(tmp_path / "base").facts["digest"]
    assert whole["log"] == told["log"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"config": replace(SHORT, masked=0.5)}, r"config\.masked"),
        ({"encoder": EncoderConfig(bins=10)}, r"encoder\.bins"),
        ({"frame": loans(ROWS, seed=1)}, "data"),
    ],
)
def test_another_pre_training_is_not_taken_up(tmp_path, changes, named):
    with pytest.raises(KeyboardInterrupt):
        taught(tmp_path / "base", progress=Cutting(1))
    with pytest.raises(ConfigError, match=rf"{named} differ\(s\)"):
        taught(tmp_path / "base", resume=True, **changes)
    # Other threads lead to the same weights.
    taught(tmp_path / "base", resume=True, config=replace(SHORT, threads=2))


def test_a_damaged_state_is_refused_by_name(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        taught(tmp_path / "base", progress=Cutting(2))
    state = tmp_path / "base.work" / "epochs" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"state\.safetensors' cannot be read .*without --resume"):
        taught(tmp_path / "base", resume=True)


def test_nothing_to_resume_is_said(tmp_path):
    with pytest.raises(ConfigError, match="Start it without --resume"):
        taught(tmp_path / "base", resume=True)


def test_a_new_base_takes_the_place_of_the_old_one(tmp_path):
    taught(tmp_path / "base")
    assert taught(tmp_path / "base", seed=5).facts["seed"] == load_base(tmp_path / "base").facts["seed"] == 5


def test_what_stands_in_the_way_stays(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("keep me")
    with pytest.raises(OutputError, match="holds something else"):
        taught(tmp_path / "letters")
    assert [path.name for path in tmp_path.rglob("*")] == ["letters", "a.txt"]


@pytest.mark.parametrize("rows", [0, 99])
def test_too_few_rows_are_refused(tmp_path, rows):
    with pytest.raises(DataError, match=rf"at least 100 rows: the table has {rows}"):
        taught(tmp_path / "base", loans(99, seed=0).head(rows))
    assert not list(tmp_path.iterdir())


def test_a_preset_without_blocks_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Only a transformer body can be pre-trained"):
        taught(tmp_path / "base", preset="swift")
    with pytest.raises(ConfigError, match="preset must be one of"):
        taught(tmp_path / "base", preset="huge")
    assert not list(tmp_path.iterdir())


def test_a_column_of_another_type_is_refused(tmp_path):
    frame = loans(ROWS, seed=0).with_columns(income=pl.lit("high"))
    with pytest.raises(DataError, match="'income'.*Convert it to numeric"):
        taught(tmp_path / "base", frame)
