"""The last gate of a run: a lean model that fails against today's incumbent is not deployed, and everybody says so."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from leanrisk.cli.outcome import show_outcome
from leanrisk.pipelines.conclusion import concluded
from leanrisk.pipelines.contender import contender
from leanrisk.pipelines.job import Job
from leanrisk.pipelines.newest_round import refreshed
from leanrisk.pipelines.run import run_recipe
from leanrisk.pipelines.shrink import shrunk
from leanrisk.report.page import write_report
from tests.pipelines.conftest import Run
from tests.pipelines.tiny import SEED, loan_data, new_business, tiny_recipe


@pytest.fixture(scope="module")
def failed_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run whose every step passed and whose lean model fails in the end, in the folder of one that made a bundle."""
    folder = tmp_path_factory.mktemp("failed") / "run"
    run_recipe(loan_data(), tiny_recipe(), out=folder, seed=SEED)
    assert (folder / "bundle" / "manifest.json").is_file()
    return folder, run_recipe(new_business(), tiny_recipe(preset="strict"), out=folder, seed=SEED)


def test_a_lean_model_that_fails_in_the_end_makes_way_for_the_incumbent(failed_run):
    folder, result = failed_run
    assert [(step["technique"], step["accepted"]) for step in result["steps"]] == [
        ("distill", True),
        ("refresh", False),
        ("final", False),
    ]
    assert not (folder / "bundle").exists()
    assert result["lean"]["kind"] == result["incumbent"]["kind"] == "lightgbm"
    assert result["lean"]["preset"] is None
    scores = pl.read_parquet(folder / "scores.parquet")
    assert scores["lean"].equals(scores["incumbent"].cast(pl.Float32), check_names=False)


def test_the_refusal_is_a_step_with_its_figures(failed_run):
    step = failed_run[1]["steps"][-1]
    assert step["reason"].startswith("The incumbent stays: against it as it is today, AUC -0.")
    assert "\n" not in step["reason"]
    assert step["cost"] is None
    assert step["before"]["quality"]["auc"]["value"] > step["after"]["quality"]["auc"]["value"] + 0.05
    finals = [gate for gate in failed_run[1]["gates"] if gate["name"].startswith("final: ")]
    assert [gate["name"] for gate in finals] == ["final: auc", "final: ks"]
    assert finals[0]["verdict"] == "failed"
    assert finals[0]["hi"] < finals[0]["margin"]


def test_nothing_is_saved_where_the_incumbent_stays(failed_run):
    result = failed_run[1]
    savings = result["savings"]
    assert [savings[key] for key in ("train_cpu", "train_cpu_vs_refit", "break_even_refreshes")] == [None] * 3
    assert [savings[key] for key in ("latency_p50", "features", "bytes", "ks_rel", "auc_diff")] == [0] * 5
    assert savings["money"]["lean"] is None
    assert result["lean"]["refresh"] is None
    # What was spent in vain stays told.
    assert result["lean"]["shrink"]["cpu_s"] > 0
    assert result["steps"][1]["cost"]["cpu_s"] > 0


def test_report_and_command_say_it(failed_run):
    folder, result = failed_run
    for language, name, said in (
        ("en", "report.html", "No lean model passed its gates: the incumbent stays, and nothing is saved"),
        ("zh", "report.zh.html", "没有精简模型通过闸门检验"),
    ):
        page = write_report(folder, out=folder / name, language=language).read_text(encoding="utf-8")
        assert said in page
        assert result["steps"][-1]["reason"] in page
    told = io.StringIO()
    show_outcome(Console(file=told, width=400, highlight=False), result)
    assert f"final: not kept. {result['steps'][-1]['reason']}" in told.getvalue()
    assert "lean (the incumbent stays)" in told.getvalue()


def test_a_failed_run_resumes_to_the_same_end(failed_run):
    folder, result = failed_run
    again = run_recipe(new_business(), tiny_recipe(preset="strict"), out=folder, seed=SEED, resume=True)
    assert again["steps"] == result["steps"]
    assert again["gates"] == result["gates"]
    assert not (folder / "bundle").exists()


def test_it_is_judged_before_the_test_part_is_opened(tmp_path):
    job = Job.open(new_business(), tiny_recipe(preset="strict"), out=tmp_path, seed=SEED)
    beaten = contender(job)
    end = concluded(job, beaten, refreshed(job, beaten, shrunk(job, beaten)))
    assert end.candidate.model is beaten.model
    assert end.candidate.lineage == ()
    assert job.parts.open_test().rows > 0


def test_a_lean_model_that_stays_has_its_final_gates_and_no_further_step(sme_run: Run, refused_run):
    names = [gate["name"] for gate in sme_run.result["gates"]]
    assert names == [f"{stage}: {metric}" for stage in ("distill", "refresh", "final") for metric in ("auc", "ks")]
    assert [step["technique"] for step in sme_run.result["steps"]] == ["distill", "refresh"]
    # Where no technique passed there is no lean model to judge.
    told = json.loads((refused_run[0] / "result.json").read_text())
    assert {gate["name"].partition(":")[0] for gate in told["gates"]} == {"distill"}
