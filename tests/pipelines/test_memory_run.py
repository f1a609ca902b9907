"""A run with an external memory: what it brings, what travels with the bundle, and what later facts change."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from leanrisk.cli.main import main
from leanrisk.core.errors import BundleError, ConfigError, DataError
from leanrisk.core.schema import Column, Kind, is_fact
from leanrisk.data.load import load
from leanrisk.graph.store import MemoryStore
from leanrisk.pipelines.job import Job, with_scores
from leanrisk.pipelines.memory_update import update_memory
from leanrisk.pipelines.refresh import refresh, verdict_on
from leanrisk.pipelines.run import run_recipe
from leanrisk.pipelines.shrink import shrink
from leanrisk.registry.audit import audit
from leanrisk.registry.backup import backup, restore
from leanrisk.registry.bundle import Bundle
from leanrisk.registry.place import RegistryConfig
from leanrisk.registry.registry import Registry
from leanrisk.registry.shelf import Shelf
from leanrisk.serve.scoring import Scorer
from tests.pipelines.banks import SCHEMA, brokered, brokered_data, memory_recipe
from tests.pipelines.tiny import SEED, tiny_recipe


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with memory: its folder and its result."""
    out = tmp_path_factory.mktemp("memory-run")
    return out, run_recipe(brokered_data(), memory_recipe(), out=out, seed=SEED)


@pytest.fixture
def bundle(finished, tmp_path):
    """A copy of the run's bundle, which a test may change."""
    return shutil.copytree(finished[0] / "bundle", tmp_path / "bundle")


def test_who_remembers_outcomes_beats_who_does_not(finished):
    _, result = finished
    steps = {step["technique"]: step for step in result["steps"]}
    assert steps["memory"]["accepted"], steps["memory"]["reason"]
    assert steps["distill"]["accepted"], steps["distill"]["reason"]
    assert result["differences"]["ks"]["lo"] > 0.1
    assert result["incumbent"]["quality"]["auc"]["hi"] < result["lean"]["quality"]["auc"]["lo"]


def test_columns_are_what_has_to_be_fetched(finished):
    out, result = finished
    assert Bundle.load(out / "bundle").features == ("income", "amount", "bank", "decided")
    assert result["incumbent"]["features"] == 2
    assert result["lean"]["features"] == 3
    assert result["data"]["columns"] == len(SCHEMA.columns)


def test_the_bundle_answers_for_the_past_as_the_run_did(finished):
    out, _ = finished
    scores = pl.read_parquet(out / "scores.parquet")
    rows = scores.select("loan").join(brokered(2400), on="loan", how="left", maintain_order="left")
    again = Bundle.load(out / "bundle").score(rows)
    assert np.array_equal(again, scores["lean"].to_numpy())


def test_one_record_is_told_what_a_batch_is_told(finished):
    scorer = Scorer.open(finished[0] / "bundle")
    rows = brokered(60, seed=9, later=1200)
    batch = scorer.bundle.score(rows)
    single = [scorer.one(record) for record in rows.to_dicts()]
    assert np.allclose(single, batch, atol=1e-6)
    past = brokered(60, seed=9, later=300)
    assert np.allclose([scorer.one(record) for record in past.to_dicts()], scorer.bundle.score(past), atol=1e-6)


def test_a_time_that_counts_serves_as_a_date_does(tmp_path):
    def counted(frame):
        return frame.with_columns(pl.col("decided").cast(pl.Int32))

    schema = SCHEMA.with_column(replace(SCHEMA["decided"], kind=Kind.NUMERIC))
    made = shrink(load(counted(brokered(2400)), schema), memory_recipe(), out=tmp_path, seed=SEED)
    assert made is not None
    rows = counted(brokered(20, seed=9, later=1000))
    assert np.allclose([made.record(record) for record in rows.to_dicts()], made.score(rows), atol=1e-6)
    with pytest.raises(DataError, match="decided"):
        made.record({**rows.to_dicts()[0], "decided": float("inf")})


def test_a_date_far_ahead_does_not_move_the_memory(finished):
    bundle = Bundle.load(finished[0] / "bundle")
    assert bundle.memory is not None
    clock = bundle.memory.clock
    far = {**brokered(1).to_dicts()[0], "decided": "9999-01-01"}
    assert 0 < bundle.record(far) < 1
    assert bundle.memory.clock == clock


def test_a_bank_that_nobody_knows_is_scored_as_the_book_is(finished):
    bundle = Bundle.load(finished[0] / "bundle")
    record = {**brokered(1, later=1200).to_dicts()[0], "bank": "nobody"}
    facts = bundle.facts_of(record)
    assert facts["memory.bank.count_90"] == 0
    assert 0 < facts["memory.bank.rate"] < 1
    assert 0 < bundle.record(record) < 1


@pytest.mark.parametrize("decided", [None, "tomorrow", ""])
def test_a_record_without_a_decision_time_is_refused(finished, decided):
    bundle = Bundle.load(finished[0] / "bundle")
    with pytest.raises(DataError, match="decided"):
        bundle.record({**brokered(1).to_dicts()[0], "decided": decided})


def test_a_table_without_the_entity_is_refused(finished):
    with pytest.raises(DataError, match="bank"):
        Bundle.load(finished[0] / "bundle").score(brokered(5).drop("bank"))


def test_new_outcomes_change_scores_without_any_training(bundle):
    model = Bundle.load(bundle)
    later = brokered(1, later=2000).with_columns(bank=pl.lit("bank 5"))
    before = model.record(later.to_dicts()[0])
    news = brokered(400, seed=5, later=1000).with_columns(bank=pl.lit("bank 5"), bad=pl.lit(1))
    absorbed, _ = update_memory(bundle, news)
    assert absorbed.new == 400
    changed = Bundle.load(bundle)
    assert changed.digest == model.digest
    assert changed.record(later.to_dicts()[0]) > before
    again, _ = update_memory(bundle, news)
    assert (again.new, again.duplicates) == (0, 400)


def test_events_need_the_columns_of_the_memory_and_no_other(bundle):
    news = brokered(30, seed=6, later=1000)
    absorbed, _ = update_memory(bundle, news.drop("income", "bad"))
    assert absorbed.new == 30
    with pytest.raises(DataError, match="bank"):
        update_memory(bundle, news.drop("bank"))


def test_the_command_says_what_was_absorbed(bundle, tmp_path, capsys):
    file = tmp_path / "news.csv"
    brokered(30, seed=6, later=1000).write_csv(file)
    assert main(["memory", "update", str(bundle), str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["new"] == 30
    assert main(["memory", "update", str(bundle), str(file)]) == 0
    assert "30" in capsys.readouterr().out
    assert main(["memory", "show", str(bundle), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["events"] == 2430
    assert main(["memory", "show", str(bundle)]) == 0
    told = capsys.readouterr().out
    assert "events: 2,430" in told
    assert f"as of: {shown['as_of']}" in told
    assert (dt.datetime.fromisoformat(shown["as_of"]) - dt.datetime(1970, 1, 1)).days == int(shown["clock"])


def test_a_bundle_without_a_memory_cannot_be_told(tmp_path):
    made = shrink(brokered_data(), tiny_recipe(), out=tmp_path, seed=SEED)
    assert made is not None
    assert made.schema.memory is None
    with pytest.raises(BundleError, match="has none"):
        update_memory(made.folder, brokered(10, later=1000))


def test_a_memory_that_was_taken_away_or_put_there_is_refused(bundle):
    shutil.move(bundle / "memory", bundle.parent / "memory")
    with pytest.raises(BundleError, match="'memory' is missing"):
        Bundle.load(bundle)
    (bundle / "memory").symlink_to(bundle.parent / "memory")
    with pytest.raises(BundleError, match="'memory' is a link"):
        Bundle.load(bundle)


def test_a_shelf_refuses_a_model_with_a_memory(bundle, tmp_path):
    with pytest.raises(BundleError, match="without a memory"):
        Shelf.create(tmp_path / "shelf", Bundle.load(bundle))


def test_a_refresh_learns_with_the_memory_and_hands_it_on(finished, tmp_path):
    champion = Bundle.load(finished[0] / "bundle")
    stays, verdict = refresh(champion.folder, brokered(600, seed=4, later=900), out=tmp_path, seed=SEED)
    assert verdict["rows"]["new"] if isinstance(verdict["rows"], dict) else verdict["rows"]
    assert stays.memory is not None
    events = len(stays.memory.history.id)
    assert events == (3000 if verdict["accepted"] else 2400)
    rows = brokered(40, seed=8, later=2000)
    assert np.isfinite(stays.score(rows)).all()


def test_rows_that_were_replayed_are_remembered_too(bundle, tmp_path):
    older = brokered(300, seed=11, later=-900)
    stays, verdict = refresh(bundle, brokered(600, seed=4, later=900), out=tmp_path / "out", replay=older, seed=SEED)
    assert stays.memory is not None
    assert stays.memory.history.rows == (3300 if verdict["accepted"] else 2400)


def test_a_refresh_does_not_go_on_with_another_memory(bundle, tmp_path):
    rows = brokered(600, seed=4, later=900)
    refresh(bundle, rows, out=tmp_path / "out", seed=SEED)
    update_memory(bundle, brokered(10, seed=12, later=950))
    with pytest.raises(ConfigError, match="memory"):
        refresh(bundle, rows, out=tmp_path / "out", seed=SEED, resume=True)


def test_a_run_that_was_cut_takes_the_memory_up_again(tmp_path, finished):
    done = run_recipe(brokered_data(), memory_recipe(), out=tmp_path, seed=SEED)
    (tmp_path / "bundle" / "model.onnx").unlink()
    shutil.rmtree(tmp_path / "bundle")
    again = run_recipe(brokered_data(), memory_recipe(), out=tmp_path, seed=SEED, resume=True)
    assert again["lean"]["quality"] == done["lean"]["quality"] == finished[1]["lean"]["quality"]


def test_a_memory_step_without_a_section_is_dropped_with_its_reason(tmp_path):
    plain = load(brokered(2400), replace(SCHEMA, memory=None))
    result = run_recipe(plain, memory_recipe(), out=tmp_path, seed=SEED)
    step = result["steps"][0]
    assert not step["accepted"]
    assert "[memory]" in step["reason"]


def test_facts_that_say_nothing_are_dropped(tmp_path):
    rng = np.random.default_rng(1)
    frame = brokered(2400)
    data = load(frame.with_columns(bank=pl.Series([f"bank {n}" for n in rng.integers(0, 60, frame.height)])), SCHEMA)
    result = run_recipe(data, memory_recipe("gates.auc_margin=0.0"), out=tmp_path, seed=SEED)
    assert not result["steps"][0]["accepted"]
    if (tmp_path / "bundle").exists():
        assert not any(map(is_fact, Bundle.load(tmp_path / "bundle").encoder.columns))


def test_no_row_is_told_an_outcome_before_it_was_known(tmp_path):
    frame = brokered(2400)
    end = frame["decided"].quantile(0.5)
    lied = frame.with_columns(bad=pl.when(pl.col("decided") >= end).then(1 - pl.col("bad")).otherwise("bad"))
    told = [Job.open(load(rows, SCHEMA), memory_recipe(), out=tmp_path, seed=SEED).dataset for rows in (frame, lied)]
    facts = [rows.frame.filter(pl.col("decided") <= end).select(rows.schema.facts) for rows in told]
    assert facts[0].equals(facts[1])


def test_events_dated_after_any_decision_are_refused(bundle):
    far = brokered(20, seed=5, later=950).with_columns(decided=pl.lit(dt.date(2999, 1, 1)))
    before = memory_of(bundle).clock
    with pytest.raises(DataError, match="far-ahead|later than decisions can be"):
        update_memory(bundle, far)
    assert memory_of(bundle).clock == before


def test_a_memory_that_grew_from_another_one_is_refused(bundle, tmp_path):
    other = MemoryStore.build(memory_of(bundle).config, memory_of(bundle).history.take(slice(0, 50)))
    shutil.rmtree(bundle / "memory")
    other.save(bundle / "memory")
    with pytest.raises(BundleError, match="grew from another one"):
        memory_of(bundle)


def test_the_bytes_needed_to_score_hold_the_memory(bundle):
    model = Bundle.load(bundle)
    held = sum(file.stat().st_size for file in (bundle / "memory").rglob("*") if file.is_file())
    assert model.size_bytes > held > 0


def test_a_loaded_bundle_follows_what_is_absorbed(bundle, monkeypatch):
    monkeypatch.setattr("leanrisk.graph.store.LOOK_EVERY_S", 0.0)
    serving = Bundle.load(bundle)
    record = {**brokered(1).row(0, named=True), "decided": "2025-06-01"}
    before = serving.facts_of(record)["memory.bank.known"]
    news = brokered(400, seed=6, later=950).with_columns(bank=pl.lit(record["bank"]))
    update_memory(bundle, news)
    assert serving.facts_of(record)["memory.bank.known"] == before + 400


def memory_of(bundle) -> MemoryStore:
    store = Bundle.load(bundle).memory
    assert store is not None
    return store


def test_what_is_absorbed_while_a_round_is_at_work_is_not_lost(bundle, tmp_path, monkeypatch):
    def judged(*given, **named):
        update_memory(bundle, brokered(10, seed=12, later=950))
        return True, "for the test", verdict_on(*given, **named)[2]

    monkeypatch.setattr("leanrisk.pipelines.refresh.verdict_on", judged)
    stays, verdict = refresh(bundle, brokered(600, seed=4, later=900), out=tmp_path / "out", seed=SEED)
    assert verdict["accepted"]
    assert stays.memory is not None
    assert stays.memory.history.rows == 2400 + 600 + 10


def test_a_brought_model_is_no_easy_rival_for_facts_that_tell_nothing(tmp_path):
    """Scores that are noise are beaten by any trees: that alone is no gain of the memory."""
    noise = np.random.default_rng(1)
    frame = brokered(2400).with_columns(
        points=pl.Series(noise.normal(size=2400)),
        bank=pl.Series([f"bank {number}" for number in noise.integers(0, 60, 2400)]),
    )
    recipe = memory_recipe("incumbent.kind=scores", "incumbent.column=points", "incumbent.higher_is=worse")
    data = load(frame, with_scores(SCHEMA.with_column(Column("points", Kind.NUMERIC)), "points"))
    result = run_recipe(data, recipe, out=tmp_path, seed=SEED)
    step = next(step for step in result["steps"] if step["technique"] == "memory")
    assert not step["accepted"], step["reason"]


def test_a_registered_run_is_promoted_by_its_own_gates_and_its_memory_learns_in_place(finished, tmp_path):
    place = tmp_path / "registry"
    registry = Registry.open(RegistryConfig(f"sqlite:///{place}/registry.db", str(place), mlflow=False))
    version = registry.register(finished[0] / "bundle", who="ana")
    assert registry.promote("1", who="ana", why="first")[1].action == "promote"
    folder = registry.store.folder(version.snapshot)
    before = Bundle.load(folder).memory
    assert before is not None
    update_memory(folder, brokered(60, seed=9, later=1200))
    grown = registry.store.load(version.snapshot)
    assert grown.memory is not None
    assert grown.memory.history.rows == before.history.rows + 60
    assert audit(registry).faults == ()
    # The same bundle once more takes nothing away from what was learned.
    assert registry.register(finished[0] / "bundle", who="ana").number == version.number
    made = backup(registry, tmp_path / "backup", who="ana")
    other = tmp_path / "other"
    again = Registry.open(RegistryConfig(f"sqlite:///{other}/registry.db", str(other), mlflow=False))
    assert restore(again, tmp_path / "backup", who="ben") == made
    kept = again.store.load(version.snapshot).memory
    assert kept is not None
    assert kept.history.rows == grown.memory.history.rows
    for opened in (registry, again):
        opened.close()
