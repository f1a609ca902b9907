"""Finished steps survive a cut, and are taken up only by the run that made them."""

from __future__ import annotations

import json

import pytest

from leanrisk.core.errors import ConfigError, OutputError
from leanrisk.pipelines.checkpoint import Checkpoint
from tests.pipelines.tiny import job_on, loan_data

IDENTITY = {"data": "ab12", "seed": 1, "recipe": {"gates": {"auc_margin": -0.005, "ks_margin": -0.015}, "name": "own"}}


def test_finished_steps_survive(tmp_path):
    first = Checkpoint(tmp_path / "work", IDENTITY, resume=False)
    assert first.done("incumbent") is None
    (first.place("incumbent") / "model.txt").write_text("tree")
    first.finish("incumbent", {"rounds": 7})
    again = Checkpoint(tmp_path / "work", IDENTITY, resume=True)
    assert again.done("incumbent") == {"rounds": 7}
    assert again.done("step-distill") is None
    assert (again.place("incumbent") / "model.txt").read_text() == "tree"


def test_a_new_run_starts_empty(tmp_path):
    old = Checkpoint(tmp_path / "work", IDENTITY, resume=False)
    old.finish("incumbent", {})
    (old.place("incumbent") / "model.txt").write_text("tree")
    new = Checkpoint(tmp_path / "work", IDENTITY, resume=False)
    assert new.done("incumbent") is None
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"data": "cd34"}, "data"),
        ({"seed": 2}, "seed"),
        ({"recipe": {"gates": {"auc_margin": -0.1, "ks_margin": -0.015}, "name": "own"}}, r"recipe\.gates\.auc_margin"),
        ({"recipe": {"gates": {}, "name": "own"}}, r"recipe\.gates\.auc_margin, recipe\.gates\.ks_margin"),
        ({"schema": {"name": "x"}}, "schema"),
    ],
)
def test_another_run_is_refused_naming_what_differs(tmp_path, change, named):
    Checkpoint(tmp_path / "work", IDENTITY, resume=False).finish("incumbent", {"rounds": 7})
    with pytest.raises(ConfigError, match=rf": {named} differ\(s\).*Use the same options"):
        Checkpoint(tmp_path / "work", {**IDENTITY, **change}, resume=True)
    assert Checkpoint(tmp_path / "work", IDENTITY, resume=True).done("incumbent") == {"rounds": 7}


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"identity": 3, "finished": {}}', '{"identity": {}}'])
def test_nothing_to_resume_is_said_so(tmp_path, content):
    folder = tmp_path / "work"
    if content is not None:
        folder.mkdir()
        (folder / "state.json").write_text(content)
    with pytest.raises(ConfigError, match=r"holds none .*Start it without --resume"):
        Checkpoint(folder, IDENTITY, resume=True)


def test_a_folder_that_is_not_a_runs_own_is_left_alone(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "thesis.docx").write_text("years of it")
    with pytest.raises(OutputError, match=r"'thesis.docx'.*nothing that stands there was changed"):
        Checkpoint(folder, IDENTITY, resume=False)
    assert (folder / "thesis.docx").read_text() == "years of it"
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="something else stands"):
        Checkpoint(tmp_path / "file", IDENTITY, resume=False)


def test_a_cut_before_the_first_state_does_not_stand_in_the_way(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / ".state.json.abc.part").write_text("{")
    assert Checkpoint(folder, IDENTITY, resume=False).done("incumbent") is None
    assert [path.name for path in folder.iterdir()] == ["state.json"]


def test_a_job_is_known_by_its_data_recipe_seed_and_schema(tmp_path):
    job = job_on(loan_data(300), tmp_path)
    state = json.loads((tmp_path / "work" / "state.json").read_text())
    assert set(state["identity"]) == {"leanrisk", "data", "schema", "recipe", "seed"}
    assert state["identity"]["data"] == job.digest
    job_on(loan_data(300), tmp_path, resume=True)
    with pytest.raises(ConfigError, match=r": data differ\(s\)"):
        job_on(loan_data(300, seed=9), tmp_path, resume=True)
    with pytest.raises(ConfigError, match=r": recipe\.measure\.calls differ\(s\)"):
        job_on(loan_data(300), tmp_path, "measure.calls=200", resume=True)
    with pytest.raises(ConfigError, match="holds none"):
        job_on(loan_data(300), tmp_path / "never", resume=True)
    assert not (tmp_path / "never").exists()


def test_steps_of_another_kind_of_job_are_not_emptied(tmp_path):
    Checkpoint(tmp_path / "work", IDENTITY, resume=False).finish("incumbent", {"rounds": 7})
    with pytest.raises(OutputError, match="finished steps of a run, which a refresh would empty.*--out"):
        Checkpoint(tmp_path / "work", IDENTITY, resume=False, kind="refresh")
    assert Checkpoint(tmp_path / "work", IDENTITY, resume=True).done("incumbent") == {"rounds": 7}
