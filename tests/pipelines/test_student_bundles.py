"""Students of every kind from end to end: run, bundle, score, report, and the rounds that follow."""

from __future__ import annotations

import functools
import json
import shutil

import numpy as np
import pytest

from leanrisk.core.errors import ModelError
from leanrisk.pipelines.refresh import refresh
from leanrisk.pipelines.run import run_recipe
from leanrisk.registry.bundle import TRAINING, Bundle
from leanrisk.serve.scoring import Scorer
from leanrisk.techniques.graph_model import load_lean
from tests.pipelines.rounds import OPEN, QUICK, champion_of, files_of, later, later_data, spare, teaching
from tests.pipelines.tiny import SEED, loan_data, loans, tiny_recipe

pytestmark = pytest.mark.parametrize("student", ["trees", "scorecard"])


def steps(student: str) -> str:
    settings = f'student="{student}",trees={{trees=20}},scorecard={{min_iv=0.0}},classroom={{copies=1}}'
    return f'steps=[{{technique="distill",settings={{{settings}}}}}]'


@functools.cache
def champion(student: str):
    """Return the bundle of a student of this kind; nobody writes into it."""
    return champion_of(spare(student), steps(student))


def test_the_whole_job_runs_with_it(student, tmp_path):
    result = run_recipe(loan_data(), tiny_recipe(steps(student)), out=tmp_path, seed=SEED)
    lean = result["lean"]
    assert (lean["kind"], lean["preset"], lean["precision"]) == (student, student, "fp32")
    assert lean["params"] == lean["trainable_params"] > 0
    assert lean["refresh"]["cpu_s"] > 0
    assert [step["technique"] for step in result["steps"]] == ["distill", "refresh"]
    assert result["steps"][0]["fidelity"]["rank_correlation"] > 0.7
    assert result["steps"][0]["student"] == student
    assert "student" not in result["steps"][1]
    assert 0.5 < result["fidelity"]["agreement"] <= 1
    assert result["fidelity"] == json.loads((tmp_path / "evidence.json").read_text())["fidelity"]
    assert "<svg" in (tmp_path / "report.html").read_text()
    bundle, rows = Bundle.load(tmp_path / "bundle"), loans(200, seed=77)
    scores, scorer = bundle.score(rows), Scorer.open(tmp_path / "bundle")
    assert [scorer.one(record) for record in rows.to_dicts()] == scores.tolist()
    model = load_lean(bundle.folder / TRAINING)
    assert model.kind == student
    assert model.graph == bundle.graph


def test_a_round_teaches_it_anew(student, tmp_path):
    before = files_of(champion(student))
    bundle, verdict = refresh(champion(student), later_data(), out=tmp_path, config=QUICK, gates=OPEN, seed=5)
    assert verdict["accepted"]
    assert verdict["tuning"] is None
    assert bundle.manifest.facts["lineage"] == ["distill", "reteach"]
    model = load_lean(bundle.folder / TRAINING)
    assert model.kind == student
    assert model.facts["settings"] == load_lean(champion(student) / TRAINING).facts["settings"]
    rows = later(300, seed=8)
    assert not np.array_equal(bundle.score(rows), Bundle.load(champion(student)).score(rows))
    # A second round goes on from there.
    again, _ = refresh(bundle.folder, later_data(round_=2, seed=9), out=tmp_path / "two", config=QUICK, gates=OPEN)
    assert again.manifest.facts["lineage"] == ["distill", "reteach", "reteach"]
    assert files_of(champion(student)) == before


def test_a_round_that_was_cut_goes_on(student, tmp_path):
    whole, _ = refresh(champion(student), later_data(), out=tmp_path / "one", config=QUICK, gates=OPEN, seed=5)
    refresh(champion(student), later_data(), out=tmp_path / "two", config=QUICK, gates=OPEN, seed=5)
    shutil.rmtree(tmp_path / "two" / "bundle")
    resumed, _ = refresh(
        champion(student), later_data(), out=tmp_path / "two", config=QUICK, gates=OPEN, seed=5, resume=True
    )
    assert resumed.graph == whole.graph


@pytest.mark.parametrize("method", ["lora", "freeze", "lora+freeze"])
def test_methods_for_networks_are_refused_before_anything_is_written(student, method, tmp_path):
    with pytest.raises(ModelError, match=f"a lean model of kind '{student}' has none, and is taught anew"):
        refresh(champion(student), later_data(), out=tmp_path / "out", config=teaching(method), gates=OPEN)
    assert not (tmp_path / "out").exists()
