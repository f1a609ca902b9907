"""The technique `memory`: facts become features, nothing else changes, and the gates have a model to judge."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from leanrisk.core.errors import ConfigError, DataError, LeanRiskError, MemoryStoreError
from leanrisk.features.encoder import Encoder
from leanrisk.graph.events import events_of
from leanrisk.graph.recall import recalled
from leanrisk.graph.store import MemoryStore
from leanrisk.models.gbdt_fit import slim_gbdt
from leanrisk.models.incumbent import Reading
from leanrisk.techniques.base import Bench, Candidate, Teacher, unmeasured
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.memory import Remember
from tests.pipelines.banks import SCHEMA, brokered_data

RAW = ("income", "amount")


def refit(rows, *, draw: int = 0):
    encoder = Encoder.fit(rows)
    reading = Reading(encoder.inputs, encoder.record)
    return slim_gbdt(encoder.inputs(rows.frame), rows.labels, encoder.fields, reading, seed=1 + draw)


@pytest.fixture(scope="module")
def bench():
    """Older loans to learn from and newer ones to judge by, with the facts of each."""
    rows = brokered_data(1500)
    told = recalled(rows)
    assert SCHEMA.memory is not None
    store = MemoryStore.build(SCHEMA.memory, events_of(rows.frame, rows.schema, SCHEMA.memory))
    older = np.arange(1500) < 1000
    return Bench(told.where(older), told.where(~older), Teacher(None), unmeasured, 1, refit=refit, memory=lambda: store)


@pytest.fixture(scope="module")
def start(bench):
    return Candidate(RAW, refit(bench.train.keeping(RAW)))


@pytest.fixture(scope="module")
def after(bench, start):
    return technique("memory", {}).apply(start, bench)


def test_facts_join_the_features_and_nothing_else_changes(bench, start, after):
    assert after.features == (*RAW, *bench.train.schema.facts)
    assert (after.lineage, after.precision) == (("memory",), "fp32")
    assert start.features == RAW
    assert start.memory is None
    assert set(after.model.features) == set(after.features)


def test_what_has_to_be_fetched_are_columns_and_not_facts(start, after):
    assert start.columns == RAW
    assert after.columns == (*RAW, "bank")
    assert after.facts == after.features[2:]


def test_it_tells_good_from_bad_where_the_plain_model_cannot(bench, start, after):
    before, now = (
        np.corrcoef(one.model.predict(bench.valid.frame), bench.valid.labels)[0, 1] for one in (start, after)
    )
    assert now > before + 0.1


def test_the_route_looks_facts_up_and_answers_as_the_model_does(bench, after):
    now = dt.datetime(1970, 1, 1) + dt.timedelta(days=np.ceil(after.memory.clock) + 1)
    record = {"income": 0.1, "amount": 20.0, "bank": "bank 1", bench.train.schema.time: now}
    route = after.route(bench.train.schema)
    at = np.ceil(after.memory.clock) + 1
    facts = dict(zip(after.memory.names, after.memory.lookup(record, at).tolist(), strict=True))
    assert route(record) == after.model.usual()({**record, **facts})
    assert 0 < route({bench.train.schema.time: now}) < 1


def test_the_route_answers_as_of_each_decision_and_needs_to_know_when(bench, after):
    route = after.route(bench.train.schema)
    with pytest.raises(DataError, match="no decision time"):
        route({"income": 0.1, "bank": "bank 1"})
    with pytest.raises(MemoryStoreError, match="from its clock on"):
        route({"income": 0.1, "bank": "bank 1", bench.train.schema.time: dt.datetime(1971, 1, 1)})
    with pytest.raises(LeanRiskError, match="as of each decision"):
        after.route()


@pytest.mark.parametrize(("only", "kept"), [(["rate"], ("rate",)), (["count", "known"], ("count", "known"))])
def test_only_some_facts_may_be_kept(bench, start, only, kept):
    names = technique("memory", {"only": only}).apply(start, bench).facts
    assert names
    assert all(any(text in name for text in kept) for name in names)


def test_facts_that_never_vary_are_left_out(bench, start):
    name = bench.train.schema.facts[0]
    still = replace(bench.train, frame=bench.train.frame.with_columns(bench.train.frame[name] * 0))
    assert name not in Remember().apply(start, replace(bench, train=still)).facts


def test_equal_benches_give_equal_predictions(bench, start, after):
    again = Remember().apply(start, bench)
    assert np.array_equal(again.model.predict(bench.valid.frame), after.model.predict(bench.valid.frame))


@pytest.mark.parametrize(
    "without",
    [
        lambda bench: replace(bench, refit=None),
        lambda bench: replace(bench, memory=None),
        lambda bench: replace(bench, train=replace(bench.train, schema=bench.train.schema.raw)),
    ],
)
def test_without_a_memory_it_says_what_is_missing(bench, start, without):
    with pytest.raises(ConfigError, match=r"\[memory\]"):
        Remember().apply(start, without(bench))


def test_facts_that_nobody_has_cannot_be_kept(bench, start):
    with pytest.raises(ConfigError, match="none of .*weather"):
        Remember(only=("weather",)).apply(start, bench)
    with pytest.raises(ConfigError, match="knows only"):
        technique("memory", {"sped": 1})


def test_rows_of_one_outcome_are_an_error_of_ours(bench, start):
    with pytest.raises(LeanRiskError):
        Remember().apply(start, replace(bench, train=bench.train.where(bench.train.labels == 1)))
