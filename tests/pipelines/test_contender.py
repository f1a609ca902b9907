"""The model to beat: trained, refitted, brought along; and what it teaches with."""

from __future__ import annotations

import json
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest

from leanrisk.core.errors import ConfigError, DataError, ModelError
from leanrisk.core.schema import Column, Kind, Role
from leanrisk.data.load import load
from leanrisk.evaluate.delong import auc_interval
from leanrisk.models.score_column import ScoreColumn
from leanrisk.pipelines.contender import contender, log_odds
from leanrisk.pipelines.newest_slice import newest_slice
from leanrisk.pipelines.run import run_recipe
from leanrisk.registry.bundle import Bundle
from tests.pipelines.tiny import LOANS, SEED, job_on, loan_data, loans, tiny_recipe

TIMELESS = LOANS.with_column(Column("decided", Kind.DATE, Role.IGNORED))
SCORED = LOANS.with_column(Column("points", Kind.NUMERIC))


def with_points(rows: int) -> pl.DataFrame:
    """Loans with a bank's own score: the higher the better."""
    frame = loans(rows, seed=0)
    noise = np.random.default_rng(1).normal(size=rows)
    return frame.with_columns(points=pl.col("income").fill_null(0.0) * 20 + noise * 10 + 600)


def test_a_trained_incumbent_is_kept_and_taken_up(tmp_path):
    job = job_on(loan_data(), tmp_path)
    first = contender(job)
    assert first.params is not None
    assert first.train is not None
    assert first.refit is not None
    assert first.rounds > 0
    frame = job.parts.valid.frame
    again = contender(job)
    assert np.array_equal(again.model.predict(frame), first.model.predict(frame))
    assert (again.params, again.rounds, again.train, again.refit) == (
        first.params,
        first.rounds,
        first.train,
        first.refit,
    )
    assert [entry.phase for entry in job.ledger.entries] == ["incumbent: full routine", "incumbent: refit"]


def test_a_refit_on_the_same_rows_is_the_same_model(tmp_path):
    job = job_on(loan_data(), tmp_path)
    beaten = contender(job)
    frame = job.parts.valid.frame
    again = beaten.fitted(job.parts.train, seed=job.seed)
    assert np.array_equal(again.predict(frame), beaten.fitted(job.parts.train, seed=job.seed).predict(frame))
    ranks = np.corrcoef(again.predict(frame), beaten.model.predict(frame))[0, 1]
    assert ranks > 0.95


def test_a_teacher_never_saw_the_row_that_it_scores(tmp_path):
    """Of noise nothing can be known: only a model that saw the row would rank it better than chance."""
    job = job_on(loan_data(2000, noise=True), tmp_path)
    beaten, rows = contender(job), job.parts.train
    teacher, rival = beaten.lesson(rows, folds=3, seed=1)
    assert teacher.margins is not None
    assert teacher.margins.dtype == np.float32
    held_out = auc_interval(rows.labels, teacher.margins)
    assert held_out.lo < 0.5 < held_out.hi
    assert teacher.ask is not None
    assert auc_interval(rows.labels, teacher.ask(rows.frame)).lo > 0.55
    assert auc_interval(rows.labels, rival.predict(rows.frame)).lo > 0.5


def test_a_teacher_knows_what_there_is_to_know(tmp_path):
    job = job_on(loan_data(), tmp_path)
    teacher, rival = contender(job).lesson(job.parts.train, folds=3, seed=1)
    assert teacher.margins is not None
    assert teacher.ask is not None
    assert auc_interval(job.parts.train.labels, teacher.margins).lo > 0.65
    valid = job.parts.valid
    assert auc_interval(valid.labels, teacher.ask(valid.frame)).lo > 0.65
    assert rival.predict(valid.frame).shape == (valid.rows,)


def test_log_odds_are_finite():
    found = log_odds(np.array([0.0, 0.5, 1.0]))
    assert found[1] == 0
    assert found[0] == -found[2]
    assert np.isfinite(found).all()


@pytest.mark.parametrize("share", [0.2, 0.01, 0.7])
def test_the_newest_slice_is_the_newest(share):
    rows = loan_data(1000)
    older, newest = newest_slice(rows, share, seed=1)
    assert newest.rows == round(1000 * share)
    assert older.rows + newest.rows == 1000
    assert min(newest.frame["decided"].to_list()) >= max(older.frame["decided"].to_list())
    assert not set(newest.frame["loan"]) & set(older.frame["loan"])


def test_a_coarse_clock_still_has_a_newest_slice():
    """Two thirds of these loans are of the newest of three years."""
    frame = loans(900, seed=0).with_columns(decided=pl.Series(np.repeat([2019, 2020, 2021], [150, 150, 600])))
    rows = load(frame, LOANS.with_column(Column("decided", Kind.NUMERIC, Role.TIME)))
    newest = newest_slice(rows, 0.2, seed=1)[1]
    assert newest.rows == 180
    assert set(newest.frame["decided"]) == {2021}
    # Drawn from the whole year, not from one end of it.
    places = newest.frame["loan"].str.slice(1).cast(pl.Int64).to_list()
    assert min(places) < 400
    assert max(places) > 800
    again = newest_slice(rows, 0.2, seed=1)[1]
    assert again.frame.equals(newest.frame)


def test_without_a_clock_the_slice_is_random():
    rows = loan_data(1000, schema=TIMELESS)
    newest = newest_slice(rows, 0.2, seed=1)[1]
    assert newest.rows == 200
    assert max(newest.frame["loan"].to_list()) > "L00900"
    assert min(newest.frame["loan"].to_list()) < "L00100"


def test_a_scorecard_is_beaten_end_to_end(tmp_path):
    result = run_recipe(loan_data(), tiny_recipe("incumbent.kind=scorecard"), out=tmp_path, seed=SEED)
    incumbent = result["incumbent"]
    assert incumbent["kind"] == "scorecard"
    assert incumbent["train"]["cpu_s"] > 0
    assert incumbent["latency_ms"]["p50"] > 0
    assert incumbent["quality"]["auc"]["lo"] > 0.6
    assert result["lean"]["kind"] == "risk-transformer"
    facts = Bundle.load(tmp_path / "bundle").manifest.facts["incumbent"]
    assert facts["kind"] == "scorecard"


def brought(folder: Path, names: list[str]) -> Path:
    """A LightGBM that a bank trained elsewhere on plain numbers."""
    frame = loans(2000, seed=5)
    data = lgb.Dataset(frame.select("income", "debt", "age").to_numpy(), frame["bad"].to_numpy(), feature_name=names)
    params = {"objective": "binary", "num_leaves": 7, "verbose": -1, "num_threads": 1}
    file = folder / "model.txt"
    lgb.train(params, data, num_boost_round=30).save_model(file)
    return file


def test_a_model_file_is_beaten_end_to_end(tmp_path):
    file = brought(tmp_path, ["income", "debt", "age"])
    changes = ["incumbent.kind=file", f"incumbent.path={file}"]
    result = run_recipe(loan_data(), tiny_recipe(*changes), out=tmp_path / "run", seed=SEED)
    incumbent = result["incumbent"]
    assert (incumbent["kind"], incumbent["features"]) == ("lightgbm", 3)
    assert incumbent["quality"]["auc"]["lo"] > 0.6
    assert (incumbent["train"], incumbent["refit"]) == (None, None)
    assert incumbent["bare_latency_ms"]["p50"] > 0
    savings = result["savings"]
    assert (savings["train_cpu"], savings["money"]["incumbent"], savings["break_even_refreshes"]) == (None, None, None)
    # The lean model reads more columns than the three of this incumbent, and that is said.
    assert savings["features"] < 0
    assert result["steps"][0]["before"]["features"] == 3


def test_a_model_file_may_name_its_columns_otherwise(tmp_path):
    file = brought(tmp_path, ["Column_0", "Column_1", "Column_2"])
    changes = ["incumbent.kind=file", f"incumbent.path={file}"]
    with pytest.raises(DataError, match=r"'Column_0'.*incumbent\.columns") as caught:
        contender(job_on(loan_data(), tmp_path / "a", *changes))
    assert [fault.column for fault in caught.value.faults] == ["Column_0", "Column_1", "Column_2"]
    named = 'incumbent.columns=["income", "debt", "age"]'
    beaten = contender(job_on(loan_data(), tmp_path / "b", *changes, named))
    assert beaten.model.features == ("income", "debt", "age")
    with pytest.raises(ModelError, match="reads 3 columns: 1 names"):
        contender(job_on(loan_data(), tmp_path / "c", *changes, 'incumbent.columns=["income"]'))


def test_a_column_of_scores_is_beaten_end_to_end(tmp_path):
    recipe = tiny_recipe("incumbent.kind=scores", "incumbent.column=points", "incumbent.higher_is=better")
    result = run_recipe(load(with_points(1200), SCORED), recipe, out=tmp_path, seed=SEED)
    incumbent = result["incumbent"]
    assert (incumbent["kind"], incumbent["features"], incumbent["bytes"]) == ("scores", 1, 0)
    assert incumbent["quality"]["auc"]["lo"] > 0.6
    for key in ("latency_ms", "bare_latency_ms", "compiled_latency_ms", "train", "refit"):
        assert incumbent[key] is None
    assert result["savings"]["latency_p50"] is None
    # The scores that are to be beaten are no feature of the model that beats them.
    assert "points" not in Bundle.load(tmp_path / "bundle").features
    dropped = json.loads((tmp_path / "evidence.json").read_text())["dropped"]
    assert {"column": "points", "reason": "a score of another model"} in dropped


def test_scores_stay_where_no_lean_model_passes(tmp_path):
    changes = ["incumbent.kind=scores", "incumbent.column=points", "incumbent.higher_is=better"]
    recipe = tiny_recipe(*changes, preset="hopeless")
    result = run_recipe(load(with_points(1200), SCORED), recipe, out=tmp_path, seed=SEED)
    assert result["lean"]["kind"] == "scores"
    assert result["savings"]["features"] == 0
    assert not (tmp_path / "bundle").exists()
    assert (tmp_path / "report.html").is_file()


def test_scores_that_cannot_be_used_are_named(tmp_path):
    data = load(with_points(1200), SCORED)
    wrong_way = ["incumbent.kind=scores", "incumbent.column=points"]
    with pytest.raises(ModelError, match="'points' is declared as higher = worse"):
        contender(job_on(data, tmp_path / "a", *wrong_way))
    with pytest.raises(ConfigError, match=r"incumbent\.column must be a column of the data: 'grade' is not"):
        job_on(data, tmp_path / "b", "incumbent.kind=scores", "incumbent.column=grade")


def test_opinions_on_perturbed_rows_are_not_asked_of_scores(tmp_path):
    job = job_on(
        load(with_points(1200), SCORED), tmp_path, "incumbent.kind=scores", "incumbent.column=points",
        "incumbent.higher_is=better",
    )  # fmt: skip
    beaten = contender(job)
    assert isinstance(beaten.model, ScoreColumn)
    teacher, rival = beaten.lesson(job.parts.train, folds=3, seed=1)
    assert teacher.ask is None
    assert rival is beaten.model
    assert teacher.margins is not None
    assert auc_interval(job.parts.train.labels, teacher.margins).lo > 0.6
