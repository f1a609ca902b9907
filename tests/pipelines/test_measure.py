"""What is measured of a model, and what is not where there is nothing to measure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError
from leanrisk.core.schema import Column, Kind, Role
from leanrisk.evaluate.alerts import NO_CASE
from leanrisk.models.score_column import ScoreColumn
from leanrisk.pipelines.contender import contender
from leanrisk.pipelines.measure import (
    bare_latency,
    compiled_latency,
    latency,
    measured,
    records_of,
    stakes_of,
    throughput,
)
from leanrisk.pipelines.recipe import MeasureConfig
from leanrisk.techniques.base import Candidate
from tests.pipelines.tiny import LOANS, job_on, loan_data

CONFIG = MeasureConfig(resamples=100, calls=100)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return job_on(loan_data(), tmp_path_factory.mktemp("measure"))


def test_a_trained_incumbent_is_measured_in_every_way(job):
    model, rows = contender(job).model, job.parts.valid
    found = measured(Candidate(model.features, model), rows, config=CONFIG, seed=1)
    assert set(found.quality) == {"auc", "gini", "ks", "brier", "log_loss", "ece", "recall_at_budget"}
    assert found.features == len(model.features) == 5
    assert found.bytes == model.size_bytes > 0
    assert found.latency_ms is not None
    assert 0 < found.latency_ms.p50 <= found.latency_ms.p99
    assert found.latency_ms.calls == 100
    assert found.rows_per_s is not None
    records = records_of(rows, model.features)
    for route in (bare_latency, compiled_latency):
        timed = route(model, records, calls=100)
        assert timed is not None
        assert timed.calls == 100
    assert throughput(Candidate(model.features, model), rows) > 0


def test_quality_is_repeatable_and_quick_measuring_only_coarser(job):
    model, rows = contender(job).model, job.parts.valid
    candidate = Candidate(model.features, model)
    exact = measured(candidate, rows, config=CONFIG, seed=1)
    assert measured(candidate, rows, config=CONFIG, seed=1).quality == exact.quality
    quick = measured(candidate, rows, config=MeasureConfig(resamples=1000, calls=5000), seed=1, quick=True)
    assert quick.latency_ms is not None
    assert quick.latency_ms.calls == 500
    assert quick.quality["auc"] == exact.quality["auc"]


def test_what_cannot_be_asked_has_no_latency():
    rows = loan_data(schema=LOANS.with_column(Column("income", Kind.NUMERIC, Role.SCORE)))
    rows = rows.where(rows.frame["income"].is_not_null().to_numpy())
    scores = ScoreColumn("income", "better").fit(rows.frame, rows.labels)
    found = measured(Candidate(scores.features, scores), rows, config=CONFIG, seed=1)
    assert found.latency_ms is None
    assert found.quality["auc"].lo > 0.5
    assert (found.features, found.bytes) == (1, 0)
    assert bare_latency(scores, records_of(rows, scores.features), calls=100) is None
    assert compiled_latency(scores, [], calls=100) is None
    assert latency(None, [{}], calls=100) is None
    assert latency(lambda record: 0.5, [], calls=100) is None


def test_each_record_is_asked_in_turn():
    asked: list[int] = []

    def route(record: int) -> float:
        asked.append(record)
        return 0.5

    found = latency(route, [1, 2, 3], calls=100)
    assert found is not None
    assert asked[:4] == [1, 2, 3, 1]
    assert len(asked) == 300


def test_records_are_spread_over_the_rows():
    rows = loan_data(1200)
    records = records_of(rows, ("age", "sector"))
    assert len(records) == 500
    assert set(records[0]) == {"age", "sector", "decided"}
    assert len({record["decided"] for record in records}) > 100
    first, *_, last = rows.frame.select("age", "sector", "decided").to_dicts()
    assert (records[0], records[-1]) == (first, last)
    assert len(records_of(rows.take(np.arange(7)), ("income",))) == 7


def test_alert_figures_are_measured_where_the_recipe_names_the_columns(job):
    rows = job.parts.valid
    assert stakes_of(rows, CONFIG) is None
    asked = MeasureConfig(resamples=100, calls=100, amount="debt", case="sector")
    stakes = stakes_of(Dataset(rows.frame.with_columns(debt=pl.col("debt").abs()), rows.schema), asked)
    assert stakes is not None
    assert stakes.cases is not None
    assert stakes.times is not None
    assert stakes.amounts is not None
    missing = rows.frame["sector"].is_null().to_numpy()
    assert ((stakes.cases == NO_CASE) == missing).all()
    assert np.unique(stakes.cases).size == rows.frame["sector"].n_unique()
    assert (stakes.amounts[rows.frame["debt"].is_null().to_numpy()] == 0).all()
    days = rows.frame["decided"].to_numpy().astype("datetime64[D]").astype(np.int64)
    assert stakes.times.tolist() == days.tolist()
    model = contender(job).model
    found = measured(Candidate(model.features, model), rows, config=replace(asked, amount=""), seed=1)
    assert {"precision_at_budget", "cases_alerted"} <= set(found.quality)
    assert "value_at_budget" not in found.quality


def test_an_alert_column_that_the_table_lacks_is_named(job):
    with pytest.raises(ConfigError, match=r"measure.case names a column of the table: 'ring' is none"):
        stakes_of(job.parts.valid, MeasureConfig(case="ring"))
