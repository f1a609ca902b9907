"""The main job, end to end: what stands in its folder, and that every part of it tells the same story."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from leanrisk.cli.main import main
from leanrisk.core.errors import OutputError, SplitError
from leanrisk.core.measurement import Cost
from leanrisk.core.schema import Column, Kind, Role
from leanrisk.cost.ledger import Entry, Ledger
from leanrisk.cost.rates import RateCard
from leanrisk.data.load import load
from leanrisk.data.split import split
from leanrisk.evaluate.delong import auc_interval
from leanrisk.pipelines.contender import contender
from leanrisk.pipelines.evidence import unpriced_phases
from leanrisk.pipelines.final import final
from leanrisk.pipelines.newest_round import refreshed
from leanrisk.pipelines.recipe import Recipe
from leanrisk.pipelines.run import run_recipe
from leanrisk.pipelines.shrink import shrink, shrunk
from leanrisk.registry.bundle import Bundle
from leanrisk.report.page import write_report
from leanrisk.serve.scoring import Scorer
from tests.pipelines.conftest import Run
from tests.pipelines.tiny import LOANS, SEED, job_on, loan_data, loans, tiny_recipe

RESULT = {
    "leanrisk", "scenario", "preset", "created", "seed", "machine", "data", "incumbent", "lean", "reference",
    "differences", "steps", "gates", "savings", "alerts", "fidelity",
}  # fmt: skip
MODEL = {"kind", "quality", "features", "bytes", "latency_ms", "rows_per_s", "params"}
INCUMBENT = MODEL | {"train", "refit", "bare_latency_ms", "compiled_latency_ms", "compiled_note", "rounds"}
LEAN = MODEL | {"preset", "precision", "trainable_params", "tuning", "refresh", "shrink", "memory", "text"}
STEP = {"technique", "accepted", "reason", "before", "after", "cost"}
GATE = {"name", "verdict", "value", "lo", "hi", "margin"}
SAVINGS = {
    "train_cpu", "train_cpu_vs_refit", "latency_p50", "latency_p50_vs_bare", "features", "bytes", "ks_rel", "auc_diff",
    "money", "break_even_refreshes",
}  # fmt: skip
EVIDENCE = {
    "roc", "ks", "gains", "calibration", "scores", "psi", "fidelity", "ledger", "split", "dropped", "best_possible_ks",
    "limits",
}  # fmt: skip
FILES = {"result.json", "evidence.json", "report.html", "report.zh.html", "scores.parquet", "work"}


def read(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return content


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_result_has_the_keys_of_the_design(sme_run: Run):
    result = read(sme_run.folder, "result.json")
    assert result == json.loads(json.dumps(sme_run.result))
    assert set(result) == RESULT
    assert set(result["incumbent"]) == INCUMBENT
    assert set(result["lean"]) == LEAN
    assert set(result["savings"]) == SAVINGS
    assert {"rows", "columns", "sha256", "split"} <= set(result["data"])
    assert [step["technique"] for step in result["steps"]] == ["distill", "refresh"]
    assert all(set(step) >= STEP for step in result["steps"])
    assert all(set(gate) == GATE for gate in result["gates"])
    for side in ("incumbent", "lean"):
        assert {"auc", "ks", "brier", "recall_at_budget"} <= set(result[side]["quality"])
        assert all(set(found) == {"value", "lo", "hi"} for found in result[side]["quality"].values())
        assert set(result[side]["latency_ms"]) == {"p50", "p99", "calls"}


def test_every_cost_was_measured(sme_run: Run):
    incumbent, lean = sme_run.result["incumbent"], sme_run.result["lean"]
    slim = sme_run.result["reference"]["slim"]["train"]
    for cost in (incumbent["train"], incumbent["refit"], lean["refresh"], lean["shrink"], slim):
        assert cost["cpu_s"] > 0
        assert cost["wall_s"] > 0
        assert cost["peak_rss_mb"] > 0
    for latency in ("latency_ms", "bare_latency_ms", "compiled_latency_ms"):
        assert 0 < incumbent[latency]["p50"] <= incumbent[latency]["p99"]
    assert lean["params"] > 0


def test_savings_follow_from_the_figures(sme_run: Run):
    result = sme_run.result
    savings, before, after = result["savings"], result["incumbent"], result["lean"]
    assert savings["train_cpu"] == 1 - after["refresh"]["cpu_s"] / before["train"]["cpu_s"]
    assert savings["train_cpu_vs_refit"] == 1 - after["refresh"]["cpu_s"] / before["refit"]["cpu_s"]
    assert savings["latency_p50"] == 1 - after["latency_ms"]["p50"] / before["latency_ms"]["p50"]
    assert savings["features"] == 1 - after["features"] / before["features"]
    assert savings["auc_diff"] == pytest.approx(after["quality"]["auc"]["value"] - before["quality"]["auc"]["value"])
    assert savings["auc_diff"] == result["differences"]["auc"]["value"]


def test_quality_is_that_of_the_written_scores(sme_run: Run):
    scores = pl.read_parquet(sme_run.folder / "scores.parquet")
    assert scores.columns == ["loan_id", "outcome", "incumbent", "lean"]
    assert scores.height == sme_run.result["data"]["split"]["test"]
    for side in ("incumbent", "lean"):
        found = auc_interval(scores["outcome"].to_numpy(), scores[side].to_numpy())
        told = sme_run.result[side]["quality"]["auc"]
        assert (told["value"], told["lo"], told["hi"]) == (found.value, found.lo, found.hi)


def test_evidence_is_complete(sme_run: Run):
    evidence = read(sme_run.folder, "evidence.json")
    assert set(evidence) >= EVIDENCE
    phases = [entry["phase"] for entry in evidence["ledger"]]
    expected = ["incumbent: full routine", "incumbent: refit", "shrink: teacher", "shrink: distill", "refresh"]
    assert [phase for phase in phases if phase != "labels"] == [*expected, "reference: slim trees"]
    assert all(entry["ok"] and entry["money"] > 0 for entry in evidence["ledger"])
    assert {entry["phase"] for entry in evidence["ledger"] if entry["label"] != "measured"} == {"labels"}
    (labels,) = (entry for entry in evidence["ledger"] if entry["phase"] == "labels")
    parts = {part["part"]: part["rows"] for part in evidence["split"]["parts"]}
    assert labels["quantities"] == {"labels": parts["train"] + parts["valid"]}
    assert labels["money"] == pytest.approx(RateCard.default().label * labels["quantities"]["labels"])
    assert [part["part"] for part in evidence["split"]["parts"]] == ["train", "valid", "test"]
    assert evidence["split"]["kind"] == "out_of_time"
    newest = {part["part"]: (part["from"], part["to"]) for part in evidence["split"]["parts"]}
    assert newest["test"][0] > newest["train"][1]
    dropped = {row["column"] for row in evidence["dropped"]}
    assert {"_true_pd", "collections_calls", "owner_gender", "outcome_date"} <= dropped
    assert evidence["best_possible_ks"] > sme_run.result["lean"]["quality"]["ks"]["value"]
    assert any("simulated" in limit for limit in evidence["limits"])


def test_the_report_is_made_of_these_two_files(sme_run: Run, tmp_path):
    assert {path.name for path in sme_run.folder.iterdir()} == FILES | {"bundle"}
    for language, name in (("en", "report.html"), ("zh", "report.zh.html")):
        again = write_report(sme_run.folder, out=tmp_path / name, language=language)
        assert again.read_bytes() == (sme_run.folder / name).read_bytes()


def test_nothing_half_written_is_left(sme_run: Run):
    names = [path.name for path in sme_run.folder.rglob("*")]
    assert not [name for name in names if name.endswith((".part", ".old")) or name in ("outcome", "bundle-before")]


def test_the_bundle_repeats_the_scores_bit_for_bit(sme_run: Run):
    bundle = Bundle.load(sme_run.folder / "bundle")
    dataset = sme_run.dataset
    test = split(dataset, Recipe.read(sme_run.recipe).split, seed=SEED).open_test()
    scores = pl.read_parquet(sme_run.folder / "scores.parquet")
    assert scores["loan_id"].equals(test.frame["loan_id"])
    assert np.array_equal(bundle.score(test.frame), scores["lean"].to_numpy())
    raw = pl.read_parquet(sme_run.data).join(scores.select("loan_id"), on="loan_id", maintain_order="right")
    assert np.array_equal(bundle.score(raw), scores["lean"].to_numpy())
    assert np.array_equal(bundle.score(raw.to_pandas()), scores["lean"].to_numpy())
    assert bundle.manifest.facts["data"] == sme_run.result["data"]["sha256"]
    assert bundle.manifest.facts["lineage"] == ["distill"]
    # The round passed its gates and gained nothing, so its rows were not taught.
    assert sme_run.result["steps"][1]["reason"].startswith("The champion stays: nothing was gained. AUC ")
    assert bundle.features == tuple(bundle.encoder.columns)


def test_the_scorer_answers_a_record_with_the_same_bits(sme_run: Run):
    scores = pl.read_parquet(sme_run.folder / "scores.parquet").head(25)
    raw = pl.read_parquet(sme_run.data).join(scores.select("loan_id"), on="loan_id", maintain_order="right")
    scorer = Scorer.open(sme_run.folder / "bundle")
    assert [scorer.one(record) for record in raw.to_dicts()] == scores["lean"].cast(pl.Float64).to_list()


def test_the_command_scores_alike(sme_run: Run, tmp_path, capsys):
    scores = pl.read_parquet(sme_run.folder / "scores.parquet")
    rows, out = tmp_path / "rows.parquet", tmp_path / "new" / "scores.parquet"
    raw = pl.read_parquet(sme_run.data).join(scores.select("loan_id"), on="loan_id", maintain_order="right")
    raw.select(sorted(raw.columns)).write_parquet(rows)
    assert main(["score", str(sme_run.folder / "bundle"), str(rows), "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    written = pl.read_parquet(out)
    assert written["loan_id"].equals(scores["loan_id"])
    assert written["probability"].equals(scores["lean"], check_names=False)
    assert told["rows"] == scores.height
    assert told["bundle"] == Bundle.load(sme_run.folder / "bundle").digest


def test_the_same_seed_gives_the_same_scores_and_another_seed_others(sme_run: Run, tmp_path):
    first = pl.read_parquet(sme_run.folder / "scores.parquet")
    recipe = Recipe.read(sme_run.recipe)
    run_recipe(sme_run.dataset, recipe, out=tmp_path / "again", seed=SEED, name="book")
    assert pl.read_parquet(tmp_path / "again" / "scores.parquet").equals(first)
    shrink(sme_run.dataset, recipe, out=tmp_path / "other", seed=SEED + 1)
    raw = pl.read_parquet(sme_run.data).tail(first.height)
    assert not np.array_equal(Bundle.load(tmp_path / "other" / "bundle").score(raw), first["lean"].to_numpy())


def test_the_test_part_is_opened_once_and_last(tmp_path):
    job = job_on(loan_data(), tmp_path)
    beaten = contender(job)
    champion = shrunk(job, beaten)
    round_ = refreshed(job, beaten, champion)
    found = final(job, beaten, round_.candidate)
    assert found.test.rows == job.parts.test_facts.rows
    with pytest.raises(SplitError, match="opens once per run"):
        job.parts.open_test()


def test_shrink_never_opens_the_test_part(tmp_path):
    job = job_on(loan_data(), tmp_path)
    shrunk(job, contender(job))
    assert job.parts.open_test().rows > 0


def test_a_refused_model_leaves_the_incumbent_and_claims_nothing(refused_run):
    folder, result = refused_run
    assert {path.name for path in folder.iterdir()} == FILES
    assert [step["accepted"] for step in result["steps"]] == [False, False]
    assert "the incumbent stays" in result["steps"][-1]["reason"]
    scores = pl.read_parquet(folder / "scores.parquet")
    assert scores["lean"].equals(scores["incumbent"].cast(pl.Float32), check_names=False)
    assert result["lean"]["kind"] == result["incumbent"]["kind"]
    assert result["lean"]["quality"] == result["incumbent"]["quality"]
    assert result["lean"]["latency_ms"] == result["incumbent"]["latency_ms"]
    assert all((found["value"], found["lo"], found["hi"]) == (0, 0, 0) for found in result["differences"].values())
    savings = result["savings"]
    assert [savings[key] for key in ("latency_p50", "features", "bytes", "ks_rel", "auc_diff")] == [0] * 5
    assert [savings[key] for key in ("train_cpu", "train_cpu_vs_refit", "break_even_refreshes")] == [None] * 3
    assert savings["money"]["lean"] is None
    assert result["lean"]["shrink"]["cpu_s"] > 0
    assert "the incumbent stays, and nothing is saved" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_run_never_takes_the_place_of_other_things(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "letters.txt").write_text("dear")
    with pytest.raises(OutputError, match="holds something else"):
        run_recipe(loan_data(400), tiny_recipe(), out=tmp_path)
    assert files_of(tmp_path) == {"bundle/letters.txt": b"dear"}
    (tmp_path / "there" / "work").mkdir(parents=True)
    (tmp_path / "there" / "work" / "plan.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"'plan.txt'"):
        run_recipe(loan_data(400), tiny_recipe(), out=tmp_path / "there")
    assert files_of(tmp_path / "there") == {"work/plan.txt": b"mine"}


def test_a_failure_before_the_end_leaves_the_earlier_results(tmp_path):
    run_recipe(loan_data(), tiny_recipe(), out=tmp_path, seed=SEED)
    before = {name: content for name, content in files_of(tmp_path).items() if not name.startswith("work/")}
    # A folder where a file belongs: the results of the second run cannot all be moved into place.
    (tmp_path / "evidence.json").unlink()
    (tmp_path / "evidence.json").mkdir()
    (tmp_path / "evidence.json" / "notes").write_text("kept")
    with pytest.raises(OutputError, match=r"evidence.json' is in the way"):
        run_recipe(loan_data(), tiny_recipe("measure.calls=150"), out=tmp_path, seed=SEED)
    assert (tmp_path / "result.json").read_bytes() == before["result.json"]
    assert (tmp_path / "evidence.json" / "notes").read_text() == "kept"


@pytest.mark.parametrize("role", [Role.IGNORED, Role.FEATURE])
def test_data_without_a_decision_time_is_split_at_random(tmp_path, role):
    schema = LOANS.with_column(Column("decided", Kind.DATE, role))
    result = run_recipe(loan_data(schema=schema), tiny_recipe(), out=tmp_path, seed=SEED)
    assert result["data"]["split"]["kind"] == "stratified"
    assert any("no decision time" in limit for limit in read(tmp_path, "evidence.json")["limits"])
    assert "decided" in Bundle.load(tmp_path / "bundle").features or role is Role.IGNORED


def test_a_group_stays_on_one_side(tmp_path):
    frame = loans(1500, seed=0).with_columns(firm=pl.Series(np.random.default_rng(0).integers(0, 400, 1500)))
    schema = LOANS.with_column(Column("firm", Kind.CATEGORY, Role.GROUP)).with_column(
        Column("decided", Kind.DATE, Role.IGNORED)
    )
    result = run_recipe(load(frame, schema), tiny_recipe(), out=tmp_path, seed=SEED)
    assert result["data"]["split"]["kind"] == "grouped"
    ids = pl.read_parquet(tmp_path / "scores.parquet")["loan"]
    tested = frame.filter(pl.col("loan").is_in(ids.implode()))["firm"].unique()
    learned = frame.filter(~pl.col("loan").is_in(ids.implode()))["firm"].unique()
    assert not set(tested) & set(learned)


def test_gpu_time_without_a_price_is_told_among_the_limits():
    ledger = Ledger()
    ledger.record(Entry("refresh", Cost(1.0, 1.0, 1.0, gpu_s=2.0), gpu="b200"))
    ledger.record(Entry("shrink: distill", Cost(1.0, 1.0, 1.0, gpu_s=2.0), gpu="b200"))
    (limit,) = unpriced_phases(ledger, RateCard.default())
    assert limit.startswith("No price for GPU 'b200': the rate card has ")
    assert unpriced_phases(Ledger(), RateCard.default()) == []
