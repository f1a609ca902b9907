"""The public `refresh`: a champion learns new rows and is replaced only where the gates allow it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import leanrisk
from leanrisk.cli.main import main
from leanrisk.core.errors import BundleError, DataError, ModelError, OutputError
from leanrisk.core.files import reserved_folder
from leanrisk.data.load import load
from leanrisk.evaluate.gates import GateConfig, GateResult, Verdict, gained
from leanrisk.models.adapter import network_digest
from leanrisk.pipelines.adapters import add
from leanrisk.pipelines.champion import gate_settings, refresh_settings
from leanrisk.pipelines.recipe import RefreshConfig
from leanrisk.pipelines.refresh import refresh
from leanrisk.registry.bundle import TRAINING, Bundle
from leanrisk.registry.manifest import Manifest
from leanrisk.registry.shelf import Shelf
from leanrisk.techniques.lean_model import ADAPTER, LeanModel
from tests.pipelines.rounds import (
    EAGER,
    OPEN,
    QUICK,
    SHUT,
    STILL,
    champion,
    champion_of,
    deep_champion,
    files_of,
    later,
    later_data,
    settled,
    settled_champion,
    teaching,
    turned,
)
from tests.pipelines.tiny import SPAN, loans, tiny_recipe

STAYS = ("incumbent", "scenario", "keep", "refresh", "gates")
WRITTEN = ["bundle", "refresh.json", "work"]


@pytest.fixture(autouse=True)
def champions_stay_as_they_are():
    """Whatever a round does, no champion loses or changes a byte."""
    before = [files_of(champion()), files_of(deep_champion())]
    yield
    assert [files_of(champion()), files_of(deep_champion())] == before


def test_an_accepted_round_makes_a_new_bundle(tmp_path):
    bundle, verdict = refresh(champion(), later_data(), out=tmp_path, config=QUICK, gates=OPEN, seed=5)
    assert verdict["accepted"]
    assert verdict["rows"] == 600
    assert verdict["judged"] == "newest"
    assert verdict["left_out"] == {"unlabelled": 0, "older": 0, "immature": 0}
    assert verdict["replayed"] > 600
    assert verdict["drift"][0]["psi"] >= verdict["drift"][-1]["psi"] > 0
    assert verdict["cost"]["cpu_s"] > 0
    assert [gate["verdict"] for gate in verdict["gates"]] == ["passed", "passed"]
    assert verdict == json.loads((tmp_path / "refresh.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == WRITTEN
    rows = later(300, seed=8)
    assert not np.array_equal(bundle.score(rows), Bundle.load(champion()).score(rows))
    assert np.array_equal(Bundle.load(tmp_path / "bundle").score(rows), bundle.score(rows))


def test_the_manifest_tells_where_a_bundle_comes_from(tmp_path):
    before = Bundle.load(champion())
    first, _ = refresh(champion(), later_data(), out=tmp_path / "one", config=QUICK, gates=OPEN, seed=5)
    facts, past = first.manifest.facts, before.manifest.facts
    assert facts["lineage"] == ["distill", "reteach"]
    assert facts["parent"] == before.digest
    assert facts["seed"] == 5
    # The newest that it was taught: the judges, which are newer, may teach a later round.
    assert past["newest"] < facts["newest"] < str(max(later()["decided"].to_list()))
    assert facts["data"] != past["data"]
    assert facts["seen"][:-1] == past["seen"]
    assert {key: facts[key] for key in STAYS} == {key: past[key] for key in STAYS}
    assert first.schema == before.schema
    next_ = turned(seed=9, round_=2)
    second, verdict = refresh(first.folder, next_, out=tmp_path / "two", config=EAGER, gates=OPEN)
    assert verdict["accepted"]
    assert second.manifest.facts["lineage"] == ["distill", "reteach", "reteach"]
    assert second.manifest.facts["parent"] == first.digest
    # What any round of the line was taught is no news to its latest.
    for rows in (loans(1200, seed=0), later(), next_):
        with pytest.raises(DataError, match="champions-own-rows"):
            refresh(second.folder, rows, out=tmp_path / "three", config=QUICK, gates=OPEN)


def test_the_wait_for_outcomes_only_grows(tmp_path):
    past = Bundle.load(settled_champion()).manifest.facts
    new = settled(1500, seed=5, later=SPAN, until=2 * SPAN)
    bundle, verdict = refresh(settled_champion(), new, out=tmp_path, config=QUICK, gates=OPEN)
    assert verdict["left_out"]["unlabelled"] > 0 < verdict["left_out"]["immature"]
    assert bundle.manifest.facts["outcome_wait"] == past["outcome_wait"] == 365 * 86_400_000_000
    # The newest row that taught, not the newest of the file: the others come again when they are ripe.
    newest = bundle.manifest.facts["newest"]
    assert past["newest"] < newest < str(max(new["decided"].to_list()))


def test_equal_rounds_give_equal_models(tmp_path):
    first, second = (
        refresh(champion(), later_data(), out=tmp_path / name, config=QUICK, gates=OPEN, seed=5)[0] for name in "ab"
    )
    assert first.graph == second.graph
    assert files_of(first.folder / TRAINING) == files_of(second.folder / TRAINING)


def test_a_refused_round_copies_the_champion_byte_for_byte(tmp_path):
    bundle, verdict = refresh(champion(), later_data(), out=tmp_path, config=STILL, gates=SHUT)
    assert not verdict["accepted"]
    assert verdict["reason"].startswith("The champion stays: ")
    assert files_of(bundle.folder) == files_of(champion())
    assert bundle.digest == Bundle.load(champion()).digest
    assert sorted(path.name for path in tmp_path.iterdir()) == WRITTEN


@pytest.mark.parametrize(
    ("place", "out"),
    [("bundle", "."), ("bundle", "way/.."), ("bundle", "link"), ("bundle", "bundle"), ("work/taught", ".")],
)
def test_a_round_in_the_champions_own_folder_is_refused(tmp_path, place, out):
    """Cut between two renames it would leave no champion, and the steps of the run that made it would go."""
    shutil.copytree(champion(), tmp_path / place)
    (tmp_path / "work").mkdir(exist_ok=True)
    (tmp_path / "work" / "plan.json").write_text("{}")
    (tmp_path / "way").mkdir()
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    before = files_of(tmp_path)
    with pytest.raises(OutputError, match=r"is the champion's own place\. Give another folder with --out"):
        refresh(tmp_path / place, later_data(), out=tmp_path / out, config=QUICK, gates=OPEN)
    assert files_of(tmp_path) == before


def test_a_newcomer_that_gains_nothing_does_not_replace_the_champion(tmp_path):
    """Gates ask only that nothing is lost; a newcomer that answers as the champion does passes them."""
    bundle, verdict = refresh(champion(), later_data(), out=tmp_path, config=STILL, gates=OPEN)
    assert [gate["verdict"] for gate in verdict["gates"]] == ["passed", "passed"]
    assert all(gate["value"] <= 0 for gate in verdict["gates"])
    assert verdict["reason"].startswith("The champion stays: nothing was gained. AUC ")
    assert files_of(bundle.folder) == files_of(champion())


@pytest.mark.parametrize(
    ("auc", "ks", "kept"), [(0.0, 0.0, False), (-0.001, -0.001, False), (0.001, -0.001, True), (-0.001, 0.001, True)]
)
def test_a_gain_in_either_measure_is_one(auc, ks, kept):
    found = [GateResult(name, Verdict.PASSED, value, -0.01, 0.01, -0.02) for name, value in (("auc", auc), ("ks", ks))]
    assert gained(found) is kept


def test_a_round_is_taught_and_judged_as_the_recipe_says(tmp_path):
    teach = ("refresh.teach.training.epochs=2", "refresh.teach.training.learning_rate=1e-9", "refresh.teach.replay=0.5")
    asked = (*teach, "refresh.min_rows=60", "gates.allow_not_proven=false", "gates.resamples=200")
    place, recipe = champion_of(tmp_path / "run", *asked), tiny_recipe(*asked)
    before = Bundle.load(place)
    assert refresh_settings(before) == recipe.refresh
    assert gate_settings(before) == recipe.gates
    with pytest.raises(DataError, match="needs at least 60 rows"):
        refresh(place, later(55), out=tmp_path / "few")
    # Handed on from round to round, whatever a single round was given.
    after, verdict = refresh(place, turned(), out=tmp_path / "one", config=EAGER, gates=OPEN)
    assert verdict["accepted"]
    assert {name: after.manifest.facts[name] for name in STAYS} == {name: before.manifest.facts[name] for name in STAYS}
    facts = after.manifest.facts
    strict = {**facts, "gates": {**facts["gates"], "auc_margin": 0.0}}
    Manifest.of(after.folder, strict).write(after.folder)
    _, verdict = refresh(after.folder, later(round_=2), out=tmp_path / "two", method="all")
    # What the rows do not prove is refused in every month of such a book.
    assert verdict["gates"][0]["verdict"] == "not_proven"
    assert not verdict["accepted"]
    assert "too few rows to tell, and the recipe asks for proof" in verdict["reason"]
    state = json.loads((tmp_path / "two" / "work" / "state.json").read_text())
    told = state["identity"]["config"]["teach"]
    assert (told["method"], told["training"]["epochs"], told["replay"]) == ("all", 2, 0.5)


@pytest.mark.parametrize(
    "facts",
    [
        {"gates": {"allow_not_proven": "no"}},
        {"gates": {"auc_margin": 3}},
        {"gates": [1]},
        {"refresh": {"teach": {"methods": "all"}}},
        {"refresh": {"teach": {"training": {"epochs": 0}}}},
        {"refresh": None},
    ],
)
def test_damaged_settings_of_a_bundle_are_refused(tmp_path, facts):
    place = shutil.copytree(champion(), tmp_path / "bundle")
    Manifest.of(place, {**Manifest.read(place).facts, **facts}).write(place)
    with pytest.raises(BundleError, match="how its rounds are taught and judged"):
        refresh(place, later(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bundle_that_does_not_say_is_taught_by_the_defaults():
    bundle = Bundle.load(champion())
    facts = {key: value for key, value in bundle.manifest.facts.items() if key not in ("refresh", "gates")}
    silent = replace(bundle, manifest=replace(bundle.manifest, facts=facts))
    assert (refresh_settings(silent), gate_settings(silent)) == (RefreshConfig(), GateConfig())


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (later().drop("age"), "column-missing"),
        (later().with_columns(margin=pl.lit(1.0)), "column-unknown"),
        (later().with_columns(income=pl.lit("much")), "column-retyped"),
        (later().with_columns(bad=pl.lit(0)), "target-one-class"),
        (later(40), "too-few-new-rows"),
        (loans(600, seed=9).head(300), "older-than-champion"),
        (loans(1200, seed=0), "champions-own-rows"),
        ("nothing.parquet", "file-missing"),
    ],
)
def test_rows_that_cannot_be_learned_are_refused_and_nothing_is_written(tmp_path, rows, code):
    with pytest.raises(DataError, match=rf"\[{code}\]"):
        refresh(champion(), rows, out=tmp_path / "out", config=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_older_rows_come_from_a_file_too(tmp_path):
    older = tmp_path / "older.parquet"
    loans(300, seed=0).write_parquet(older)
    _, verdict = refresh(champion(), later(), out=tmp_path / "out", config=QUICK, gates=OPEN, replay=older)
    assert verdict["replayed"] == 300
    with pytest.raises(DataError, match=r"column-unknown.*margin"):
        refresh(champion(), later(), out=tmp_path / "no", replay=loans(300, seed=0).with_columns(margin=pl.lit(1)))
    assert not (tmp_path / "no").exists()


def test_a_copy_made_for_scoring_cannot_be_taught(tmp_path):
    shutil.copytree(champion(), tmp_path / "scoring", ignore=shutil.ignore_patterns(TRAINING))
    assert Bundle.load(tmp_path / "scoring").score(loans(10, seed=1)).shape == (10,)
    with pytest.raises(BundleError, match=r"no 'training' folder. Use the bundle that the run wrote"):
        refresh(tmp_path / "scoring", later_data(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_things_are_not_replaced(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "diary.txt").write_text("dear")
    for gates in (OPEN, SHUT):
        with pytest.raises(OutputError, match="holds something else"):
            refresh(champion(), later_data(), out=tmp_path, config=QUICK, gates=gates)
    assert files_of(tmp_path) == {"bundle/diary.txt": b"dear"}
    (tmp_path / "out" / "work").mkdir(parents=True)
    (tmp_path / "out" / "work" / "plan.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"'plan.txt'"):
        refresh(champion(), later_data(), out=tmp_path / "out", config=QUICK)
    assert files_of(tmp_path / "out") == {"work/plan.txt": b"mine"}


@pytest.mark.parametrize("method", ["all", "lora", "freeze", "lora+freeze", "auto"])
def test_each_method_teaches_what_it_says(tmp_path, method):
    before = LeanModel.load(deep_champion() / TRAINING)
    bundle, verdict = refresh(deep_champion(), turned(seed=9), out=tmp_path, config=teaching(method), gates=OPEN)
    after, told = LeanModel.load(bundle.folder / TRAINING), verdict["tuning"]
    assert told["depth"] == 6
    adapted, frozen = "lora" in method or method == "auto", "freeze" in method or method == "auto"
    assert (bundle.folder / TRAINING / ADAPTER).is_dir() is adapted
    assert (told["adapter_bytes"] is not None) is adapted
    assert (told["trainable"] < 0.05 * before.parameters) is adapted
    assert [move["why"] for move in told["frontier"]][:1] == (["start"] if frozen else [])
    assert bool(told["drift"]) is frozen
    base = network_digest(after.foundation[0])
    # The network under an adapter is the champion's; without one the network itself has moved.
    assert (base == network_digest(before.network)) is adapted
    rows = later(50, seed=8)
    assert np.allclose(bundle.score(rows), after.predict(rows), atol=1e-6)
    assert not list((tmp_path / "work").rglob("frozen/*"))


def test_an_adapter_learns_on_and_its_base_stays_through_the_rounds(tmp_path):
    base = network_digest(LeanModel.load(deep_champion() / TRAINING).network)
    place, digests, shelf = deep_champion(), [], tmp_path / "shelf"
    for round_, seed, name in ((1, 9, "jan"), (2, 21, "feb")):
        new = turned(round_=round_, seed=seed)
        bundle, _ = refresh(place, new, out=tmp_path / name, config=teaching("lora"), gates=OPEN)
        model = LeanModel.load(bundle.folder / TRAINING)
        network, adapter = model.foundation
        assert adapter is not None
        assert network_digest(network) == base == adapter.base
        digests.append(adapter.digest)
        put = add(shelf, name, bundle.folder, base=deep_champion())
        assert np.allclose(put.score(new), bundle.score(new), atol=1e-6)
        place = bundle.folder
    assert digests[0] != digests[1]
    assert Shelf.open(shelf).names == ("feb", "jan")
    with pytest.raises(BundleError, match="an adapter on a shelf. Start from the bundle that the adapter came from"):
        refresh(Shelf.open(shelf).place("jan"), later(round_=3), out=tmp_path / "no", config=QUICK)


def test_lora_on_projections_needs_a_transformer(tmp_path, capsys):
    with pytest.raises(ModelError, match="preset 'swift', which has none. Give --method auto, all or lora"):
        refresh(champion(), later(), out=tmp_path / "out", config=teaching("lora+freeze"))
    rows = tmp_path / "new.parquet"
    later().write_parquet(rows)
    words = ["refresh", "--from", str(champion()), "--data", str(rows), "--out", str(tmp_path / "out")]
    assert main([*words, "--method", "lora+freeze"]) == 2
    assert "Give --method auto, all or" in capsys.readouterr().err
    assert main([*words, "--method", "loar"]) == 2
    assert "lora+freeze" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_bundle_of_an_estimator_can_be_refreshed(tmp_path):
    frame = loans(800, seed=0).select("income", "debt", "sector")
    model = leanrisk.LeanRiskClassifier(epochs=3, trials=1).fit(frame, loans(800, seed=0)["bad"].to_numpy())
    made = model.to_bundle(tmp_path / "champion")
    fresh = loans(500, seed=4).rename({"bad": "target"}).select(*frame.columns, "target")
    bundle, verdict = refresh(made.folder, load(fresh, made.schema), out=tmp_path / "out", config=QUICK, gates=OPEN)
    assert verdict["accepted"]
    assert verdict["replayed"] == 0
    assert bundle.features == made.features
    amounts = leanrisk.LeanRiskRegressor(epochs=2, trials=1).fit(frame, loans(800, seed=0)["age"].to_numpy())
    with pytest.raises(BundleError, match="predicts an amount"):
        refresh(amounts.to_bundle(tmp_path / "amounts").folder, load(fresh, made.schema), out=tmp_path / "no")


def test_the_command_refreshes(tmp_path, capsys):
    rows = tmp_path / "new.parquet"
    pl.concat([loans(50, seed=9), later()]).write_parquet(rows)
    words = ["refresh", "--from", str(champion()), "--data", str(rows), "--out", str(tmp_path / "out"), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bundle"] == str(tmp_path / "out" / "bundle")
    assert told["rows"] + told["left_out"]["older"] == 650
    assert Bundle.load(told["bundle"]).score(pl.read_parquet(rows)).shape == (650,)
    assert main(words[:-1]) == 0
    said = capsys.readouterr().out
    assert f"{told['rows']} new rows, {told['replayed']} older ones at hand" in said
    assert f"left out: {told['left_out']['older']} older." in said
    assert f"Drift: the least stable column is {told['drift'][0]['name']}" in said


def test_the_command_refuses_in_words_and_with_the_users_exit_code(tmp_path, capsys):
    rows = tmp_path / "new.csv"
    later().drop("age").with_columns(margin=pl.lit(1.0), income=pl.lit("much")).write_csv(rows)
    words = ["refresh", "--from", str(champion()), "--data", str(rows), "--out", str(tmp_path / "out")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "in 3 ways" in said
    assert all(code in said for code in ("column-unknown", "column-missing", "column-retyped"))
    assert "Traceback" not in said
    assert main([*words, "--json"]) == 2
    faults = json.loads(capsys.readouterr().out)["error"]["faults"]
    assert {fault["column"] for fault in faults} == {"age", "income", "margin"}
    assert not (tmp_path / "out").exists()


def test_files_with_outcomes_as_numbers_refresh_as_well(tmp_path):
    """A CSV file knows neither int8 nor float32, and the kept rows do."""
    rows = tmp_path / "new.csv"
    later().write_csv(rows)
    bundle, verdict = refresh(champion(), rows, out=tmp_path / "out", config=QUICK, gates=OPEN)
    assert verdict["replayed"] > 0
    past = Bundle.load(champion()).manifest.facts["newest"]
    assert past < bundle.manifest.facts["newest"] < str(max(later()["decided"].to_list()))


def test_two_rounds_do_not_write_into_one_folder(tmp_path):
    with reserved_folder(tmp_path), pytest.raises(OutputError, match="another one is at work"):
        refresh(champion(), later_data(), out=tmp_path, config=QUICK, gates=OPEN)
    assert list(tmp_path.iterdir()) == []
    refresh(champion(), later_data(), out=tmp_path, config=QUICK, gates=OPEN)
    assert (tmp_path / "bundle").is_dir()


def test_the_steps_of_a_run_are_not_emptied_by_a_round(tmp_path):
    champion_of(tmp_path)
    before = files_of(tmp_path)
    with pytest.raises(OutputError, match="finished steps of a run, which a refresh would empty"):
        refresh(champion(), later_data(), out=tmp_path, config=QUICK, gates=OPEN)
    assert files_of(tmp_path) == before
