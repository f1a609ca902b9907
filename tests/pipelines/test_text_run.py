"""A recipe that reads a column of texts: what it brings, what travels with the bundle, and how bad texts are met."""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leanrisk.cli.main import main
from leanrisk.core.errors import BundleError, ConfigError, DataError, SchemaError
from leanrisk.core.metrics import auc
from leanrisk.core.schema import Column, Kind, Role
from leanrisk.data.load import load
from leanrisk.evaluate.gates import GateConfig
from leanrisk.models.text.columns import TextColumns
from leanrisk.pipelines.adapters import add
from leanrisk.pipelines.contender import contender
from leanrisk.pipelines.job import Job
from leanrisk.pipelines.newest_slice import newest_slice
from leanrisk.pipelines.recipe import Recipe
from leanrisk.pipelines.refresh import refresh
from leanrisk.pipelines.run import run_recipe
from leanrisk.pipelines.shrink import shrunk
from leanrisk.registry.bundle import Bundle
from leanrisk.registry.shelf import Shelf, opened
from leanrisk.serve.profiling import profile
from leanrisk.serve.scoring import Scorer
from tests.pipelines.banks import SCHEMA as BANKS
from tests.pipelines.banks import STEPS, brokered
from tests.pipelines.remarks import SCHEMA, STEP, remarked, remarked_data, text_recipe
from tests.pipelines.tiny import RECIPE, SEED, tiny_recipe

FIELD = "text:remark"
ODD = [
    None,
    "",
    "   ",
    "\x00\x07",
    "Просроченная задолженность",
    "x" * 100_000,
    "a\ud800b",
    "用于归还旧贷款",
    "PAYMENT was Missed!",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with remarks: its folder and its result."""
    out = tmp_path_factory.mktemp("text-run")
    return out, run_recipe(remarked_data(), text_recipe(), out=out, seed=SEED)


@pytest.fixture(scope="module")
def model(finished):
    return Bundle.load(finished[0] / "bundle")


@pytest.fixture
def bundle(finished, tmp_path):
    """A copy of the run's bundle, which a test may change."""
    return shutil.copytree(finished[0] / "bundle", tmp_path / "bundle")


def test_who_reads_remarks_beats_who_does_not(finished):
    _, result = finished
    steps = {step["technique"]: step for step in result["steps"]}
    assert steps["text"]["accepted"], steps["text"]["reason"]
    assert max(gate["lo"] for gate in steps["text"]["gates"]) > 0
    assert steps["distill"]["accepted"], steps["distill"]["reason"]
    assert result["differences"]["auc"]["lo"] > 0
    assert result["lean"]["text"]["remark"]["body"] == "bag"
    assert steps["text"]["details"]["columns"]["remark"]["read"]["empty"] > 0


def test_the_text_is_fetched_and_its_bytes_count(finished, model):
    out, result = finished
    assert "remark" in model.features
    assert FIELD not in model.features
    assert result["lean"]["bytes"] > (out / "bundle" / "text" / "remark" / "model.onnx").stat().st_size
    assert {f"text/remark/{name}" for name in ("model.onnx", "tokenizer.json", "text.json")} <= set(
        model.manifest.files
    )
    assert model.manifest.facts["lineage"][0] == "text"
    assert model.manifest.facts["text"]["remark"]["taught_by"] == "outcomes"


def test_rows_that_teach_have_numbers_of_models_that_did_not_see_them(tmp_path):
    blind = remarked_data(telling=False)
    job = Job.open(blind, text_recipe(), out=tmp_path, seed=SEED)
    assert job.texts is not None
    older, newest = newest_slice(job.parts.train, job.recipe.refresh.slice, seed=SEED)
    known = older.frame.filter(pl.col(FIELD).is_not_nan())
    seen = job.texts.models["remark"].log_odds(known["remark"].to_list())
    out_of_fold = known[FIELD].to_numpy()
    labels = known["bad"].to_numpy()
    assert auc(labels, out_of_fold) < auc(labels, seen)
    assert not np.array_equal(out_of_fold, seen)
    for part in (newest, job.parts.valid):
        expected = job.texts.models["remark"].log_odds(part.frame["remark"].to_list())
        np.testing.assert_array_equal(part.frame[FIELD].to_numpy(), expected)


def test_newer_outcomes_do_not_reach_the_text_model(tmp_path):
    data = remarked_data(800)
    job = Job.open(data, text_recipe(), out=tmp_path / "a", seed=SEED)
    later = pl.col("decided").cast(pl.String) >= job.parts.test_facts.first
    flipped = data.frame.with_columns(bad=pl.when(later).then(1 - pl.col("bad")).otherwise("bad"))
    other = Job.open(load(flipped, SCHEMA), text_recipe(), out=tmp_path / "b", seed=SEED)
    assert job.texts is not None
    assert other.texts is not None
    assert job.texts.models["remark"].graph == other.texts.models["remark"].graph


def test_a_record_has_the_bits_of_its_row(model):
    frame = remarked(300, seed=9, later=1200).drop("bad")
    odd = frame.head(len(ODD)).with_columns(remark=pl.Series([text and text.replace("\ud800", "?") for text in ODD]))
    rows = pl.concat([frame, odd])
    scores = Scorer(model).many(rows, threads=2)
    assert [model.record(record) for record in rows.to_dicts()] == scores.tolist()
    np.testing.assert_array_equal(model.score(rows.reverse()), scores[::-1])
    assert model.score(rows.to_pandas()).tolist() == scores.tolist()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=40)))
def test_any_text_has_the_same_bits_alone_and_among_others(model, text):
    row = {**remarked(1, seed=4).to_dicts()[0], "remark": text}
    frame = pl.DataFrame([row, {**row, "remark": "orders grow"}], schema_overrides={"remark": pl.String})
    assert model.record(row) == model.score(frame)[0]


def test_what_cannot_be_read_is_missing_and_counted(model):
    row = remarked(1, seed=4).to_dicts()[0]
    nothing = model.record({key: value for key, value in row.items() if key != "remark"})
    for text in (None, float("nan"), "", " \t", "\x00\x07", "Просроченная задолженность"):
        assert model.record({**row, "remark": text}) == nothing
    assert model.record({**row, "remark": "wages are overdue"}) > model.record({**row, "remark": "orders grow"})
    long = model.record({**row, "remark": "orders grow " * 50_000})
    assert long == model.record({**row, "remark": "orders grow " * 100})
    frame = pl.DataFrame(
        {**{key: [value] * 4 for key, value in row.items()}, "remark": ["", "van", "Просрочен", "a " * 99]}
    )
    assert model.read_texts(frame)["remark"] == {"texts": 4, "empty": 1, "cut": 1, "foreign": 1}


@pytest.mark.parametrize("value", [7, 1.5, True, b"paid", ["paid"], {"a": 1}])
def test_what_is_no_text_is_refused_by_name(model, value):
    row = {**remarked(1, seed=4).to_dicts()[0], "remark": value}
    with pytest.raises(DataError, match="remark"):
        model.record(row)
    if not isinstance(value, dict):
        with pytest.raises(DataError, match="remark"):
            model.score(pl.DataFrame([row]))


def test_a_table_without_the_text_is_refused(model):
    with pytest.raises(DataError, match="remark"):
        model.score(remarked(5).drop("remark"))
    assert model.score(remarked(5).with_columns(remark=pl.lit(None))).shape == (5,)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "text.json"])
def test_an_altered_text_model_is_refused(bundle, name):
    file = bundle / "text" / "remark" / name
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError, match=f"text/remark/{name}"):
        Bundle.load(bundle)
    file.unlink()
    with pytest.raises(BundleError, match=f"text/remark/{name}"):
        Bundle.load(bundle)


def test_a_refresh_keeps_the_text_model_and_reads_new_rows(bundle, tmp_path):
    before = Bundle.load(bundle)
    stays, verdict = refresh(bundle, remarked(900, seed=7, later=1000), out=tmp_path / "out", seed=1)
    assert verdict["accepted"], verdict["reason"]
    assert stays.digest != before.digest
    sums = {name: total for name, total in before.manifest.files.items() if name.startswith("text/")}
    assert sums.items() <= stays.manifest.files.items()
    record = remarked(1, seed=8, later=2000).to_dicts()[0]
    assert stays.record(record) == stays.score(pl.DataFrame([record], schema_overrides={"remark": pl.String}))[0]
    assert "remark" in stays.features


def test_a_refresh_can_teach_the_text_model_anew(bundle, tmp_path):
    champion = Bundle.load(bundle)
    # What worried firms write has changed: the champion's model knows no such word.
    word = pl.col("remark").str.replace_all("wages are overdue", "short time work applied")
    news = remarked(900, seed=7, later=1000).with_columns(remark=word)
    stays, verdict = refresh(bundle, news, out=tmp_path / "out", text="anew", seed=1)
    assert verdict["accepted"], verdict["reason"]
    before, after = (each.texts.models["remark"] for each in (champion, stays))
    asked = ["short time work applied"]
    assert after.log_odds(asked)[0] > max(before.log_odds(asked)[0], 0.3)
    record = {**remarked(1, seed=8, later=2000).to_dicts()[0], "remark": asked[0]}
    assert stays.record(record) == stays.score(pl.DataFrame([record]))[0]
    assert "text: columns of the rows" in (tmp_path / "out" / "work" / "ledger.jsonl").read_text()
    again, _ = refresh(bundle, news, out=tmp_path / "out", text="anew", seed=1, resume=True)
    assert again.manifest.files["text/remark/model.onnx"] == stays.manifest.files["text/remark/model.onnx"]


def test_a_bundle_that_reads_texts_otherwise_is_not_deployed(model):
    own = model.texts.models["remark"]
    short = replace(own, tokenizer=replace(own.tokenizer, longest=1))
    other = replace(model)
    other.__dict__["texts"] = TextColumns({"remark": short})
    assert model.check_reference() <= 1e-6
    with pytest.raises(BundleError, match="reference predictions"):
        other.check_reference()


def test_commands_say_how_texts_were_read(bundle, tmp_path, capsys):
    file, out = tmp_path / "rows.csv", tmp_path / "scores.parquet"
    rows = remarked(40, seed=3, later=1100)
    rows.with_columns(
        remark=pl.when(pl.col("loan") == rows["loan"][0]).then(pl.lit("Просрочено")).otherwise("remark")
    ).write_csv(file)
    assert main(["score", str(bundle), str(file), "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["texts"]["remark"]["texts"] == 40
    assert told["texts"]["remark"]["foreign"] == 1
    assert main(["score", str(bundle), str(file), "-o", str(out)]) == 0
    assert "remark" in capsys.readouterr().out
    parts = [part.name for part in profile(Bundle.load(bundle), calls=20).parts]
    assert "read the texts" in parts


def test_a_run_that_was_cut_takes_the_models_up(finished, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "run")
    again = run_recipe(remarked_data(), text_recipe(), out=out, seed=SEED, resume=True)
    assert again["lean"]["quality"] == finished[1]["lean"]["quality"]
    sums = (Bundle.load(folder / "bundle").manifest.files for folder in (out, finished[0]))
    first, second = ({name: total for name, total in each.items() if name != "card.json"} for each in sums)
    assert first == second


def only_step(dataset, out):
    """Return the candidate and the record of the step 'text' alone."""
    job = Job.open(dataset, replace(text_recipe(), steps=text_recipe().steps[:1]), out=out, seed=SEED)
    done = shrunk(job, contender(job))
    return done.candidate, done.steps[0]


def test_remarks_that_tell_nothing_are_left_out(tmp_path):
    candidate, step = only_step(remarked_data(700, seed=1, telling=False), tmp_path)
    assert (step["technique"], step["accepted"]) == ("text", False)
    assert "remark" not in candidate.columns
    assert candidate.reading.models == {}


def test_texts_that_hold_no_word_drop_the_step(tmp_path):
    _, step = only_step(load(remarked(700).with_columns(remark=pl.lit(" ")), SCHEMA), tmp_path)
    assert not step["accepted"]
    assert "word" in step["reason"]


def test_settings_that_cannot_work_are_refused_before_anything_is_trained(tmp_path):
    data = remarked_data(400)
    with pytest.raises(ConfigError, match="income"):
        step = {**STEP, "settings": {**STEP["settings"], "columns": ["income"]}}
        Job.open(data, text_recipe(step=step), out=tmp_path, seed=SEED)
    with pytest.raises(ConfigError, match="folds"):
        text_recipe(step={**STEP, "settings": {"folds": 1}})
    with pytest.raises(ConfigError, match="one step 'text'"):
        text_recipe(step={**STEP, "label": "again"}).from_dict(
            {"name": "two", "steps": [STEP, {**STEP, "label": "again"}]}
        )
    named = SCHEMA.with_column(Column("text:remark", Kind.NUMERIC, Role.IGNORED))
    with pytest.raises(SchemaError, match="text:remark"):
        Job.open(
            load(data.frame.with_columns(pl.lit(1.0).alias("text:remark")), named), tiny_recipe(), out=tmp_path, seed=1
        )


def test_the_report_tells_how_texts_were_read(finished):
    for name, title in (("report.html", "Columns of texts"), ("report.zh.html", "文本列")):
        page = (finished[0] / name).read_text(encoding="utf-8")
        assert title in page
        assert "remark" in page


def test_a_shelf_of_adapters_reads_the_same_texts(bundle, tmp_path):
    gates = GateConfig(auc_margin=-1.0, ks_margin=-1.0, resamples=100)
    news = remarked(900, seed=7, later=1000)
    stays, verdict = refresh(bundle, news, out=tmp_path / "out", method="lora", gates=gates, seed=1)
    assert verdict["accepted"], verdict["reason"]
    add(tmp_path / "shelf", "spring", stays.folder, base=bundle)
    Shelf.open(tmp_path / "shelf").use("spring")
    rows = remarked(20, seed=8, later=2000)
    np.testing.assert_allclose(opened(tmp_path / "shelf").score(rows), stays.score(rows), atol=1e-6)
    anew, verdict = refresh(bundle, news, out=tmp_path / "anew", method="lora", text="anew", gates=gates, seed=1)
    assert verdict["accepted"], verdict["reason"]
    with pytest.raises(BundleError, match="text models"):
        add(tmp_path / "shelf", "anew", anew.folder)


def test_a_memory_and_texts_go_together(tmp_path):
    """Who brokered a loan and what its remark says each tell something; the second step is judged by its own gain."""
    schema = replace(BANKS, columns=(*BANKS.columns, Column("remark", Kind.TEXT)))

    def book(rows, **options):
        frame, rng = brokered(rows, **options), np.random.default_rng(rows)
        tense = rng.random(rows) < 0.5
        bad = np.where(rng.random(rows) < 0.25, tense, frame["bad"].to_numpy()).astype(np.int8)
        texts = ["wages are overdue" if strained else "orders grow" for strained in tense]
        return frame.with_columns(bad=pl.Series(bad), remark=pl.Series(texts))

    plain = tomllib.loads(STEPS)["steps"]
    recipe = Recipe.from_dict({**tomllib.loads(RECIPE), "steps": [plain[0], STEP, plain[1]]})
    result = run_recipe(load(book(2400), schema), recipe, out=tmp_path / "run", seed=SEED)
    assert [step["accepted"] for step in result["steps"][:3]] == [True, True, True]
    model = Bundle.load(tmp_path / "run" / "bundle")
    assert set(model.features) == {"income", "amount", "bank", "decided", "remark"}
    assert [part.what for part in model.beside] == ["read the texts", "look the memory up"]
    later = book(40, seed=3, later=1000).drop("bad")
    assert [model.record(record) for record in later.to_dicts()] == model.score(later).tolist()
    assert set(model.facts_of(later.to_dicts()[0])) == {
        name for name in model.encoder.fields.names if "memory." in name
    }
