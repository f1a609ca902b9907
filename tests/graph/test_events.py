"""What a row says as an event: which entities it names, when it happened, and when its outcome was known."""

import math
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import DataError
from leanrisk.core.memory import Entity, Memory
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.graph.events import NEVER, events_of, moments
from leanrisk.graph.history import merged_events
from leanrisk.graph.keys import MISSING_KEY, entity_keys, record_key, text_key

VALUES = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.integers(-(2**62), 2**62),
    st.floats(allow_infinity=False),
    st.booleans(),
)


def test_keys_are_the_same_on_every_machine_and_in_every_version():
    # printf bank | b2sum -l 64
    assert text_key("bank").to_bytes(8, "little").hex() == "2865e77312c163a1"
    frame = pl.DataFrame({"bank": ["bank", "", None], "code": ["5221", "52", "5"]})
    assert entity_keys(frame, ["bank"]).tolist() == [text_key("bank"), MISSING_KEY, MISSING_KEY]
    assert entity_keys(frame, ["code"], size=2).tolist() == [text_key("52"), text_key("52"), text_key("5")]
    assert entity_keys(frame, ["bank", "code"]).tolist() == [text_key("bank\x1f5221"), MISSING_KEY, MISSING_KEY]


@settings(deadline=None)
@given(VALUES, st.sampled_from((None, 1, 3)))
def test_a_record_names_the_entity_that_its_row_names(value, size):
    frame = pl.DataFrame({"one": [value], "two": ["b"]})
    for columns in (["one"], ["one", "two"]):
        record = {"one": value, "two": "b"}
        assert record_key(record, columns, size) == int(entity_keys(frame, columns, size=size)[0])


def test_whole_numbers_are_one_however_they_are_written():
    keys = {int(entity_keys(pl.DataFrame({"a": [value]}), ["a"])[0]) for value in (3, 3.0, "3")}
    assert keys == {record_key({"a": 3}, ["a"])}
    assert record_key({}, ["a"]) == record_key({"a": math.nan}, ["a"]) == MISSING_KEY


def test_times_are_days_since_1970_or_their_own_unit():
    assert moments(pl.Series([date(1970, 1, 2), None])).tolist()[0] == 1.0
    assert moments(pl.Series([datetime(1969, 12, 31, 12)])).tolist() == [-0.5]
    assert moments(pl.Series([2006, 2007])).tolist() == [2006.0, 2007.0]
    with pytest.raises(DataError, match="not-a-time"):
        moments(pl.Series("when", ["yesterday"]))


SCHEMA = Schema(
    (
        Column("when", Kind.NUMERIC, Role.TIME),
        Column("bank", Kind.CATEGORY),
        Column("sum", Kind.NUMERIC),
        Column("told", Kind.NUMERIC, Role.OUTCOME_TIME),
        Column("bad", Kind.NUMERIC, Role.TARGET),
    ),
    negative=(0,),
)
MEMORY = Memory(entities=(Entity("bank", ("bank",)),), amount="sum", known="told", delay=2.0, maturity=10.0)
FRAME = pl.DataFrame(
    {
        "when": [1.0, 1.0, 1.0, 1.0, 1.0],
        "bank": ["a", "a", "b", None, "b"],
        "sum": [1.0, None, math.inf, math.nan, 4.0],
        "told": [None, None, 5.0, 0.0, 7.0],
        "bad": [1, 0, 1, 0, None],
    }
)


def test_an_outcome_is_known_when_it_was_told_or_after_delay_and_maturity():
    events = events_of(FRAME, SCHEMA, MEMORY)
    # Told before its decision: known with it. Never told: never known, whatever the date says.
    assert events.known.tolist() == [3.0, 11.0, 5.0, 1.0, NEVER]
    assert events.amount.tolist() == [1.0, 0.0, 0.0, 0.0, 4.0]
    assert np.isnan(events.outcome).tolist() == [False, False, False, False, True]


def test_rows_without_outcomes_have_none():
    events = events_of(FRAME.drop("bad", "told"), SCHEMA, MEMORY)
    assert np.isnan(events.outcome).all()
    assert (events.known == NEVER).all()


def test_every_missing_column_is_told_at_once():
    with pytest.raises(DataError) as caught:
        events_of(FRAME.drop("bank", "when", "sum"), SCHEMA, MEMORY)
    assert [(fault.code, fault.column) for fault in caught.value.faults] == [
        ("column-missing", "bank"),
        ("column-missing", "when"),
        ("column-missing", "sum"),
    ]


def test_rows_without_a_time_are_refused():
    with pytest.raises(DataError, match=r"undated.*1 rows"):
        events_of(FRAME.with_columns(when=pl.Series([1.0, None, 1.0, 1.0, 1.0])), SCHEMA, MEMORY)


def test_rows_without_an_id_are_told_apart_and_known_again():
    twice = pl.concat([FRAME, FRAME.head(1)])
    events = events_of(twice, SCHEMA, MEMORY)
    assert np.unique(events.id).size == 6
    assert merged_events(events, events_of(twice, SCHEMA, MEMORY)).rows == 6


def test_of_an_event_only_its_outcome_may_be_told_later():
    first = events_of(FRAME.with_columns(bad=pl.lit(None, dtype=pl.Int64)), SCHEMA, MEMORY)
    merged = merged_events(first, events_of(FRAME, SCHEMA, MEMORY))
    assert merged.known.tolist() == [3.0, 11.0, 5.0, 1.0, NEVER]
    again = merged_events(merged, events_of(FRAME.with_columns(bad=1 - pl.col("bad")), SCHEMA, MEMORY))
    assert again.outcome.tolist()[:4] == merged.outcome.tolist()[:4]


def test_whole_cohorts_wait_for_their_goods():
    schema = Schema(
        (
            Column("bank", Kind.CATEGORY, Role.IGNORED),
            Column("day", Kind.NUMERIC, Role.TIME),
            Column("lost", Kind.NUMERIC, Role.EXPOST),
            Column("bad", Kind.NUMERIC, Role.TARGET),
        )
    )
    frame = pl.DataFrame({"bank": ["a"] * 4, "day": [0.0] * 4, "lost": [3.0, 40.0, None, None], "bad": [1, 1, 1, 0]})
    known = {}
    for whole in (False, True):
        memory = Memory(
            entities=(Entity("bank", ("bank",)),), known="lost", delay=7.0, maturity=30.0, whole_cohorts=whole
        )
        known[whole] = events_of(frame, schema, memory).known.tolist()
    assert known == {False: [3.0, 40.0, 7.0, 30.0], True: [30.0, 40.0, 30.0, 30.0]}


def test_a_day_without_an_hour_is_known_when_it_is_over():
    columns = [
        Column("bank", Kind.CATEGORY),
        Column("lost", Kind.DATE, Role.EXPOST),
        Column("bad", Kind.NUMERIC, Role.TARGET),
    ]
    schema = Schema((*columns, Column("at", Kind.DATE, Role.TIME)))
    memory = Memory(entities=(Entity("bank", ("bank",)),), known="lost")
    frame = pl.DataFrame({"bank": ["a"], "lost": [date(1970, 1, 3)], "bad": [1], "at": [datetime(1970, 1, 2, 9)]})
    assert events_of(frame, schema, memory).known.tolist() == [3.0]
    assert events_of(frame.with_columns(pl.col("at").dt.date()), schema, memory).known.tolist() == [2.0]
