"""The store that serves: the answers of the batch build, whatever the order, number or lateness of what it is told."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import MemoryStoreError
from leanrisk.core.memory import Entity, Link, Memory
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.graph.build import build_facts
from leanrisk.graph.events import Events, events_of
from leanrisk.graph.facts import fact_names
from leanrisk.graph.keys import code_texts, named_record
from leanrisk.graph.store import MemoryStore
from tests.graph.entity_books import MEMORY

SCHEMA = Schema(
    (
        Column("id", Kind.CATEGORY, Role.ID),
        Column("when", Kind.NUMERIC, Role.TIME),
        Column("shop", Kind.CATEGORY),
        Column("town", Kind.CATEGORY),
        Column("card", Kind.CATEGORY),
        Column("amount", Kind.NUMERIC),
        Column("known", Kind.NUMERIC, Role.OUTCOME_TIME),
        Column("bad", Kind.NUMERIC, Role.TARGET),
    ),
    negative=(0,),
    memory=replace(MEMORY, links=(Link("paid", "card", "shop", hops=2, cap=3),), amount="amount", known="known"),
)
assert SCHEMA.memory is not None
REMEMBERED: Memory = SCHEMA.memory
NAMES = fact_names(REMEMBERED)
EXACT = [place for place, name in enumerate(NAMES) if name.rpartition(".")[2].startswith(("count", "known", "new"))]

_SHOPS, _TOWNS, _CARDS = ("abc", "abd", "ax", "b", ""), ("t1", None), (1, 2, 3, None)
_ROW = st.tuples(
    st.sampled_from(_SHOPS),
    st.sampled_from(_TOWNS),
    st.sampled_from(_CARDS),
    st.integers(-12, 80),
    st.integers(0, 40),
    st.sampled_from((1, 0, 0, None)),
    st.integers(0, 9),
)


@st.composite
def tables(draw: st.DrawFn, most: int = 30) -> pl.DataFrame:
    rows = draw(st.lists(_ROW, max_size=most))
    return table(
        [
            {"id": f"e{place}", "shop": shop, "town": town, "card": card, "when": when / 4, "known": (when + delay) / 4}
            | {"bad": bad, "amount": float(amount)}
            for place, (shop, town, card, when, delay, bad, amount) in enumerate(rows)
        ]
    )


def table(rows: list[dict]) -> pl.DataFrame:
    kinds = {"id": pl.String, "when": pl.Float64, "shop": pl.String, "town": pl.String, "card": pl.Int64}
    return pl.DataFrame(rows, schema={**kinds, "amount": pl.Float64, "known": pl.Float64, "bad": pl.Int64})


def read(frame: pl.DataFrame) -> Events:
    return events_of(frame, SCHEMA, REMEMBERED)


QUESTIONS = table(
    [{"shop": shop, "town": town, "card": card} for shop in _SHOPS for town, card in (("t1", 1), (None, 9))]
)


def asked(store: MemoryStore, at: float) -> np.ndarray:
    return np.array([store.lookup(record, at) for record in QUESTIONS.to_dicts()])


def built(events: Events, at: float) -> np.ndarray:
    questions = QUESTIONS.with_columns(when=pl.lit(at), id=pl.int_range(pl.len()).cast(pl.String))
    return build_facts(REMEMBERED, events, read(questions)).to_numpy()


def assert_same(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-6)
    np.testing.assert_array_equal(one[:, EXACT], other[:, EXACT])


def moment(store: MemoryStore, later: float) -> float:
    return later if store.clock == -math.inf else store.clock + later


@settings(deadline=None)
@given(tables(), st.lists(st.integers(0, 40), min_size=1, max_size=3))
def test_the_store_answers_what_the_build_answers_now_and_later(frame, waits):
    events = read(frame)
    store = MemoryStore.build(REMEMBERED, events)
    at = moment(store, 0.0)
    assert_same(asked(store, at), built(events, at))
    for wait in waits:
        at = max(at + wait / 4, moment(store, 0.0))
        assert_same(asked(store, at), built(events, at))


@settings(deadline=None)
@given(tables(), st.randoms(use_true_random=False), st.integers(1, 5))
def test_the_order_and_the_batches_in_which_events_come_do_not_matter(frame, random, parts):
    events = read(frame)
    order = list(range(events.rows))
    random.shuffle(order)
    store = MemoryStore.build(REMEMBERED, events.take(slice(0, 0)))
    for part in np.array_split(np.array(order, dtype=np.int64), parts):
        store.update(events.take(part))
    whole = MemoryStore.build(REMEMBERED, events)
    assert store.clock == whole.clock
    at = moment(whole, 3.0)
    links = [place for place, name in enumerate(NAMES) if name.startswith("memory.paid")]
    first, second = (np.delete(asked(one, at), links, axis=1) for one in (store, whole))
    np.testing.assert_allclose(first, second, rtol=1e-6)
    assert_same(asked(store, at), built(store.history, at))


@settings(deadline=None)
@given(tables(), st.data())
def test_the_same_events_again_change_nothing(frame, data):
    events = read(frame)
    store = MemoryStore.build(REMEMBERED, events)
    at = moment(store, 0.0)
    before = asked(store, at)
    again = events.take(
        np.array(data.draw(st.lists(st.integers(0, max(events.rows - 1, 0)))), dtype=np.int64)[: events.rows]
    )
    absorbed = store.update(again)
    assert (absorbed.new, absorbed.matured, absorbed.duplicates) == (0, 0, again.rows)
    np.testing.assert_array_equal(asked(store, at), before)
    assert store.history.rows == events.rows


@settings(deadline=None)
@given(tables(), st.integers(0, 20))
def test_outcomes_told_later_count_as_if_told_at_once(frame, wait):
    store = MemoryStore.build(REMEMBERED, read(frame.with_columns(bad=pl.lit(None, dtype=pl.Int64))))
    told = frame["bad"].is_not_null().sum()
    assert store.update(read(frame)).matured == told
    at = moment(store, wait / 4)
    assert_same(asked(store, at), built(read(frame), at))


def one(**values) -> pl.DataFrame:
    return table([{"id": "x", "shop": "abc", "town": "t1", "card": 1, "when": 1.0, "amount": 2.0, **values}])


def shown(store: MemoryStore, at: float, **record) -> dict[str, float]:
    facts = store.lookup({"shop": "abc", "town": "t1", "card": 1, **record}, at)
    return dict(zip(NAMES, facts.tolist(), strict=True))


def test_an_outcome_known_in_the_future_waits_for_its_time():
    store = MemoryStore.build(REMEMBERED, read(one(known=5.0, bad=1)))
    assert store.update(read(one())).pending == 1
    assert shown(store, 5.0)["memory.card.known"] == 0
    assert shown(store, 5.25)["memory.card.known"] == 1


def test_late_events_count_at_their_own_time_and_are_told_as_late():
    store = MemoryStore.build(REMEMBERED, read(one(when=10.0)))
    absorbed = store.update(read(one(id="y", when=9.0, known=9.5, bad=1)))
    assert (absorbed.new, absorbed.late) == (1, 2)
    assert "not rewritten" in absorbed.told()
    facts = shown(store, 10.5)
    assert (facts["memory.shop.count_3"], facts["memory.shop.count_1"], facts["memory.shop.recency"]) == (2, 1, 0.5)
    assert facts["memory.card.known"] == 1


def test_a_moment_before_the_clock_is_refused_by_naming_the_clock():
    store = MemoryStore.build(REMEMBERED, read(one(when=10.0)))
    with pytest.raises(MemoryStoreError, match=r"10\.0.*asked for 9"):
        store.lookup({}, 9.0)
    with pytest.raises(MemoryStoreError, match="nan"):
        store.lookup({}, math.nan)


def test_entities_that_are_unknown_or_missing_get_the_prior():
    store = MemoryStore.build(REMEMBERED, read(one(known=1.0, bad=0)))
    at = store.clock
    unknown, missing = shown(store, at, card="nobody"), shown(store, at, card=None)
    assert (unknown["memory.card.count_1"], unknown["memory.card.known"]) == (0, 0)
    assert math.isnan(missing["memory.card.count_1"])
    assert unknown["memory.card.rate"] == missing["memory.card.rate"] == pytest.approx(1 / 3)
    told = {one.level: one for one in store.explain({"shop": "abc", "card": "nobody"}, at)}
    assert told["card"].unknown
    assert not told["shop"].unknown
    assert "town" not in told


def test_what_a_rate_rests_on_is_told_in_words():
    rows = [
        {"id": f"e{place}", "shop": "abc", "when": 14425.0, "known": 14425.0, "bad": int(place < 3)}
        for place in range(8)
    ]
    store = MemoryStore.build(REMEMBERED, read(table(rows)))
    told = store.explain({"shop": "abc"}, 14425.5)
    assert str(told[0]) == "shop abc: 3 of 8 matured outcomes bad, as of 2009-06-30"
    assert [one.level for one in told] == ["shop", "shop_2", "shop_1"]
    assert told[1].value == "ab"
    assert told[0].told(dated=False).endswith("as of 14425.5")


def test_numbers_name_the_same_entity_however_they_are_written():
    store = MemoryStore.build(REMEMBERED, read(one(card=3)))
    for card in (3, 3.0, "3", np.int64(3)):
        assert shown(store, store.clock, card=card)["memory.card.count_1"] == 1


def test_events_of_another_memory_are_refused():
    store = MemoryStore.build(REMEMBERED, read(one()))
    other = Memory(entities=(Entity("shop", ("shop",)),))
    with pytest.raises(MemoryStoreError, match="must name what the memory remembers"):
        store.update(events_of(one(), SCHEMA, other))


def test_rows_without_an_id_among_others_are_told_by_what_they_hold():
    rows = [{"id": name, "shop": "abc", "when": 1.0, "amount": amount} for name, amount in (("a", 1.0), (None, 2.0))]
    first, again = read(table(rows)), read(table(list(reversed(rows))))
    assert sorted(first.id.tolist()) == sorted(again.id.tolist())
    assert first.id[0] == read(table(rows[:1])).id[0]


def test_a_missing_code_names_nobody():
    coded = SCHEMA.with_column(replace(SCHEMA["card"], missing_codes=(-9,)))
    rows = table([{"id": str(card), "shop": "abc", "card": card, "when": 1.0} for card in (-9, 3, None)])
    keys = events_of(rows, coded, REMEMBERED).keys["card"]
    assert (keys == 0).tolist() == [True, False, True]
    assert named_record({"card": -9.0, "shop": "x"}, {"card": code_texts((-9,))}) == {"card": None, "shop": "x"}


def test_batches_of_one_moment_are_in_time():
    store = MemoryStore.build(REMEMBERED, read(one(when=10.0)))
    absorbed = store.update(read(one(id="y", when=10.0)))
    assert (absorbed.new, absorbed.late) == (1, 0)
    assert_same(asked(store, 11.0), built(store.history, 11.0))
