"""A run in which made bads help: the step, what teaches afterwards, the bundle, the ledger, and a resume."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from leanrisk.cost.ledger import Ledger
from leanrisk.pipelines.recipe import Recipe
from leanrisk.pipelines.refresh import refresh
from leanrisk.pipelines.run import run_recipe
from leanrisk.pipelines.shrink import REPLACED, shrink
from leanrisk.registry.bundle import Bundle
from tests.pipelines.rounds import OPEN, QUICK, later
from tests.pipelines.tiny import SEED, loan_data, tiny_recipe

MADE = {
    "technique": "synthesize",
    "settings": {
        "methods": ["weights", "smote"],
        "folds": 2,
        "proof": 0.0,
        "weights": [3.0],
        "generator": {"width": 16, "latent": 4, "batch": 64, "steps": 20},
    },
}


def scarce():
    rows = loan_data(1500, seed=2)
    bads = np.flatnonzero(rows.labels == 1)
    dropped = np.random.default_rng(0).permutation(bads)[120:]
    return rows.take(np.setdiff1d(np.arange(rows.rows), dropped))


def recipe() -> Recipe:
    plain = tiny_recipe().to_dict()
    plain["steps"] = [MADE, *plain["steps"]]
    return Recipe.from_dict(plain)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Any:
    out = tmp_path_factory.mktemp("made-run")
    return out, run_recipe(scarce(), recipe(), out=out, seed=SEED)


def test_the_step_is_told_with_every_arm(finished):
    _, result = finished
    step = next(step for step in result["steps"] if step["technique"] == "synthesize")
    told = step["details"]
    assert [arm["arm"] for arm in told["arms"]] == [
        "nothing",
        "weights, bads x 3",
        "weights, bads as goods",
        told["arms"][3]["arm"],
    ]
    assert told["arms"][3]["arm"].startswith("smote 5%")
    assert step["accepted"] or step["gates"]
    assert step["accepted"] == (told["chosen"] != "nothing")


def test_what_was_accepted_teaches_the_student_and_the_bundle_scores(finished):
    out, result = finished
    lineage = json.loads((out / "bundle" / "manifest.json").read_text())["facts"]["lineage"]
    accepted = [step["technique"] for step in result["steps"] if step["accepted"]]
    assert lineage == accepted
    assert "distill" in lineage
    scores = Bundle.load(out / "bundle").score(scarce().frame)
    assert 0.3 < scores.mean() / scarce().labels.mean() < 3.0


def test_the_ledger_tells_what_labels_the_made_rows_replace(finished):
    out, result = finished
    step = next(step for step in result["steps"] if step["technique"] == "synthesize")
    rows = [entry for entry in Ledger(next(out.rglob("ledger.jsonl"))).entries if entry.phase == REPLACED]
    assert len(rows) == (1 if step["accepted"] else 0)
    if rows:
        assert "further labelled bads" in rows[0].note
        assert rows[0].cost.cpu_s == 0.0


def test_a_run_that_was_cut_goes_on_with_the_same_teacher(tmp_path, monkeypatch):
    from leanrisk.techniques.distill import Distill

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Distill, "apply", cut)
        with pytest.raises(KeyboardInterrupt):
            shrink(scarce(), recipe(), out=tmp_path / "cut", seed=SEED)
    bundle = shrink(scarce(), recipe(), out=tmp_path / "cut", seed=SEED, resume=True)
    whole = shrink(scarce(), recipe(), out=tmp_path / "whole", seed=SEED)
    assert bundle is not None
    assert whole is not None
    assert np.array_equal(bundle.score(scarce().frame), whole.score(scarce().frame))


def test_a_refresh_makes_its_rows_anew_where_bads_are_enough(finished, tmp_path):
    out, result = finished
    step = next(step for step in result["steps"] if step["technique"] == "synthesize")
    assert step["accepted"]
    told = json.loads((out / "bundle" / "manifest.json").read_text())["facts"]["enrichment"]
    assert told["method"] != "nothing"
    _, verdict = refresh(out / "bundle", later(), out=tmp_path / "many", config=QUICK, gates=OPEN, seed=SEED)
    assert verdict["made_rows"] == step["details"]["chosen"]
    new = later()
    few = pl.concat([new.filter(bad=0), new.filter(bad=1).sample(10, seed=1)])
    old = later(200, round_=0)
    older = pl.concat([old.filter(bad=0), old.filter(bad=1).head(1)])
    _, verdict = refresh(out / "bundle", few, out=tmp_path / "few", config=QUICK, gates=OPEN, replay=older, seed=SEED)
    assert verdict["made_rows"] is None
