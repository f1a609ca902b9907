"""A run that was cut: the process is really killed, and the folder goes on from its last finished step."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from leanrisk.cli.main import main
from leanrisk.core.errors import ConfigError
from leanrisk.cost.ledger import Ledger
from leanrisk.pipelines.recipe import Recipe
from leanrisk.pipelines.run import run_recipe
from leanrisk.registry.bundle import Bundle
from leanrisk.registry.reference import reference_rows
from tests.pipelines.conftest import Run
from tests.pipelines.tiny import SEED, loan_data, tiny_recipe

_DEADLINE_S = 120.0
_OUTCOME = ("result.json", "evidence.json", "report.html", "scores.parquet", "bundle")


def started(run: Run, out: Path) -> subprocess.Popen[str]:
    words = [run.recipe, "--data", run.data, "--schema", run.schema, "--seed", SEED, "--out", out]
    command = [sys.executable, "-m", "leanrisk", "run", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def await_step(process: subprocess.Popen[str], out: Path, step: str) -> None:
    """Return once `step` stands as finished in the run's folder, polling its state file."""
    state, end = out / "work" / "state.json", time.monotonic() + _DEADLINE_S
    while time.monotonic() < end:
        if state.exists() and step in json.loads(state.read_text())["finished"]:
            return
        if process.poll() is not None:
            pytest.fail(f"the run ended before its step '{step}': {process.communicate()}")
        time.sleep(0.01)
    process.kill()
    pytest.fail(f"the step '{step}' did not finish within {_DEADLINE_S} s")


def resumed(run: Run, out: Path) -> None:
    words = [run.recipe, "--data", run.data, "--schema", run.schema, "--seed", SEED, "--resume", out]
    assert main(["run", *map(str, words)]) == 0


def phases(out: Path) -> list[str]:
    return [entry.phase for entry in Ledger.load(out / "work" / "ledger.jsonl").entries]


def assert_same_outcome(run: Run, out: Path) -> None:
    assert pl.read_parquet(out / "scores.parquet").equals(pl.read_parquet(run.folder / "scores.parquet"))
    found = json.loads((out / "result.json").read_text())
    for side in ("incumbent", "lean"):
        assert found[side]["quality"] == run.result[side]["quality"]
    assert [step["accepted"] for step in found["steps"]] == [step["accepted"] for step in run.result["steps"]]
    assert found["gates"] == run.result["gates"]
    one, other = Bundle.load(out / "bundle"), Bundle.load(run.folder / "bundle")
    rows = reference_rows(one.encoder, seed=SEED)
    assert one.session.probability(rows).tolist() == other.session.probability(rows).tolist()


def test_a_killed_run_goes_on_from_its_last_finished_step(sme_run: Run, tmp_path):
    out = tmp_path / "run"
    process = started(sme_run, out)
    await_step(process, out, "incumbent")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not [name for name in _OUTCOME if (out / name).exists()]
    resumed(sme_run, out)
    # The dearest step was not repeated.
    assert phases(out).count("incumbent: full routine") == 1
    assert phases(out).count("incumbent: refit") == 1
    assert_same_outcome(sme_run, out)


def test_ctrl_c_leaves_a_clean_state(sme_run: Run, tmp_path):
    out = tmp_path / "run"
    process = started(sme_run, out)
    await_step(process, out, "incumbent")
    process.send_signal(signal.SIGINT)
    told, said = process.communicate(timeout=_DEADLINE_S)
    assert process.returncode == 130
    assert told == ""
    assert said.endswith("Interrupted.\n")
    assert "Traceback" not in said
    assert [path.name for path in out.iterdir()] == ["work"]
    assert not [path for path in out.rglob("*") if path.name.endswith(".part")]
    assert "incumbent" in json.loads((out / "work" / "state.json").read_text())["finished"]


def test_a_finished_run_resumes_at_once(sme_run: Run, tmp_path):
    out = tmp_path / "run"
    recipe = Recipe.read(sme_run.recipe)
    run_recipe(sme_run.dataset, recipe, out=out, seed=SEED, name="book")
    before = phases(out)
    costs = json.loads((out / "result.json").read_text())
    resumed(sme_run, out)
    # Only what no step keeps is done again; what was measured stays as it was measured.
    assert phases(out)[len(before) :] == ["reference: slim trees"]
    again = json.loads((out / "result.json").read_text())
    assert again["incumbent"]["train"] == costs["incumbent"]["train"]
    assert again["lean"]["refresh"] == costs["lean"]["refresh"]
    assert again["lean"]["shrink"] == costs["lean"]["shrink"]
    assert again["steps"] == costs["steps"]
    assert_same_outcome(sme_run, out)


def test_a_refused_run_resumes_too(refused_run):
    folder, result = refused_run
    again = run_recipe(loan_data(), tiny_recipe(preset="hopeless"), out=folder, seed=SEED, resume=True)
    assert again["steps"] == result["steps"]
    assert not (folder / "bundle").exists()


def test_a_run_is_not_resumed_with_other_options(sme_run: Run, tmp_path):
    recipe = Recipe.read(sme_run.recipe, changes=["incumbent.gbdt.trials=3"])
    with pytest.raises(ConfigError, match=r"recipe\.incumbent\.gbdt\.trials, seed differ\(s\)"):
        run_recipe(sme_run.dataset, recipe, out=sme_run.folder, seed=SEED + 1, resume=True)
    with pytest.raises(ConfigError, match="holds none"):
        run_recipe(sme_run.dataset, Recipe.read(sme_run.recipe), out=tmp_path, seed=SEED, resume=True)
