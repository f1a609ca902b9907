"""Facts of edge tables: as their definition says, the same from both engines, and nothing from the future."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import MemoryStoreError
from leanrisk.graph import edge_graph
from leanrisk.graph.build import build_facts
from leanrisk.graph.edge_facts import Told, edge_fact_names
from leanrisk.graph.edge_graph import EdgeGraph, Side
from leanrisk.graph.edges import Edges
from leanrisk.graph.events import Events
from leanrisk.graph.keys import record_key
from leanrisk.graph.link_timeline import Timeline
from leanrisk.graph.store import MemoryStore
from tests.graph.edge_books import (
    MEMORY,
    PLEDGE,
    TABLES,
    Book,
    Edge,
    Loan,
    as_edges,
    as_events,
    books,
    later_changed,
    reference,
    tables_of,
)
from tests.graph.test_point_in_time import SEARCH

AT = st.integers(-8, 64).map(lambda quarter: quarter / 4)
NAMES = [name for table in MEMORY.edges for name in edge_fact_names(table, MEMORY.windows)]


def built(book: Book, asked: list[Loan]) -> np.ndarray:
    return build_facts(MEMORY, as_events(book[0]), as_events(asked), tables_of(book)).select(NAMES).to_numpy()


def everybody(at: float) -> list[Loan]:
    return [Loan(firm, at) for firm in range(8)]


def same(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-6)


def looked_up(store: MemoryStore, at: float) -> np.ndarray:
    keys = {f"f{key}": key for key in range(8)}
    store._subject = lambda state, record: keys[record["firm"]]  # type: ignore[method-assign]
    return np.array([store.lookup({"firm": firm}, at)[-len(NAMES) :] for firm in keys])


@settings(deadline=None, max_examples=150)
@given(books(), st.lists(AT, min_size=1, max_size=3))
def test_the_build_gives_what_the_definition_says(book, moments):
    asked = [loan for at in moments for loan in everybody(at)]
    expected = reference(book, asked)
    same(built(book, asked), expected)


@settings(deadline=None, max_examples=60)
@given(books(), AT)
def test_small_stretches_give_the_same(book, at):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge_graph, "_MOST_WAYS", 2)
        patch.setattr("leanrisk.graph.edge_facts._AT_ONCE", 3)
        same(built(book, everybody(at)), reference(book, everybody(at)))


@settings(deadline=None, max_examples=150)
@given(books(), st.lists(st.integers(0, 40), min_size=1, max_size=3))
def test_the_store_answers_what_the_build_answers_now_and_later(book, waits):
    store = MemoryStore.build(MEMORY, as_events(book[0]), tables_of(book))
    at = 0.0
    for wait in waits:
        at = max(at + wait / 4, store.clock if store.clock > -math.inf else -2.0)
        same(looked_up(store, at), built(book, everybody(at)))


@settings(deadline=None, max_examples=100)
@given(books(), st.data())
def test_the_order_and_the_batches_in_which_edges_come_do_not_matter(book, data):
    """Late edges and ends among them: what is asked in between moves the clock."""
    store = MemoryStore.build(MEMORY, as_events(book[0]))
    for name, table in TABLES.items():
        # Of two ends told of one edge the first stays, so that their order does matter.
        once = {(*edge[:3], edge.amount): edge for edge in book[1][name]}
        book[1][name][:] = once.values()
        order = data.draw(st.permutations(book[1][name]))
        cut = data.draw(st.integers(0, len(order)))
        store.update_edges(name, as_edges(order[:cut], table))
        at = max(data.draw(AT), store.clock)
        if at > -math.inf:
            store.lookup({"firm": "f"}, at)
        store.update_edges(name, as_edges(order[cut:], table))
    at = max(20.0, store.clock)
    same(looked_up(store, at), built((book[0], book[1]), everybody(at)))


@settings(deadline=None, max_examples=100)
@given(books(), AT, st.data())
def test_nothing_known_at_or_after_a_moment_changes_its_facts(book, at, data):
    same(built(book, everybody(at)), built(later_changed(data, book, at), everybody(at)))


_SIDE, _PLACES, _TOLD, _HELD = Side.of, Timeline.places, Told.of, EdgeGraph.held


def edges_known_at_once(patch: pytest.MonkeyPatch) -> None:
    def places(self: Timeline, owner: np.ndarray, rank: np.ndarray) -> np.ndarray:
        return np.asarray(np.searchsorted(self.codes, owner * self.span + rank, side="right"))

    patch.setattr(Timeline, "places", places)


def edges_of_all_times(patch: pytest.MonkeyPatch) -> None:
    def begun(self: EdgeGraph, side: Side, node: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return side.line.starts[node], side.line.starts[node + 1]

    patch.setattr(EdgeGraph, "begun", begun)


def ends_foreseen(patch: pytest.MonkeyPatch) -> None:
    def held(self: EdgeGraph, side: Side, node: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        which, place = _HELD(self, side, node, at)
        lasting = side.until[place] > at[which] + 1.0
        return which[lasting], place[lasting]

    patch.setattr(EdgeGraph, "held", held)


def an_end_at_the_moment_counts(patch: pytest.MonkeyPatch) -> None:
    def held(self: EdgeGraph, side: Side, node: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        which, place = _HELD(self, side, node, at)
        lasting = side.until[place] > at[which]
        return which[lasting], place[lasting]

    patch.setattr(EdgeGraph, "held", held)


def outcomes_known_when_decided(patch: pytest.MonkeyPatch) -> None:
    def told(graph: EdgeGraph, keys: np.ndarray, events: Events, strength: float) -> Told:
        return _TOLD(graph, keys, replace(events, known=np.minimum(events.known, events.happened)), strength)

    patch.setattr(Told, "of", told)


def outcomes_known_the_same_moment(patch: pytest.MonkeyPatch) -> None:
    def told(graph: EdgeGraph, keys: np.ndarray, events: Events, strength: float) -> Told:
        early = replace(events, known=np.nextafter(events.known, -np.inf), happened=events.happened - 1.0)
        return _TOLD(graph, keys, early, strength)

    patch.setattr(Told, "of", told)


LEAKS = (
    edges_known_at_once,
    edges_of_all_times,
    ends_foreseen,
    an_end_at_the_moment_counts,
    outcomes_known_when_decided,
    outcomes_known_the_same_moment,
)


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_a_leak_planted_in_the_engine_is_found(monkeypatch, leak):
    leak(monkeypatch)

    @SEARCH
    @given(books(), AT, st.data())
    def blind(book, at, data):
        same(built(book, everybody(at)), built(later_changed(data, book, at), everybody(at)))

    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        blind()


def test_a_circle_of_guarantees_ends():
    circle = [Edge(1, 2, 0.0, amount=10.0), Edge(2, 3, 0.0, amount=20.0), Edge(3, 1, 0.0, amount=40.0)]
    book = ([Loan(2, 0.0, 1.0, 1.0), Loan(1, 0.0, 1.0, 1.0)], {"pledge": circle, "address": []})
    facts = dict(zip(NAMES, built(book, [Loan(1, 2.0)])[0].tolist(), strict=True))
    assert facts["memory.pledge.chain_amount"] == 70.0
    assert (facts["memory.pledge.chain_size"], facts["memory.pledge.chain_bads"]) == (2, 1)


def test_a_hub_is_looked_at_through_its_first_neighbours():
    hub = [Edge(1, other, float(other)) for other in range(2, 7)]
    book = ([Loan(6, 0.0, 0.5, 1.0), Loan(2, 0.0, 0.5, 1.0)], {"pledge": hub, "address": []})
    facts = dict(zip(NAMES, built(book, [Loan(1, 9.0)])[0].tolist(), strict=True))
    assert (facts["memory.pledge.out"], facts["memory.pledge.bads"]) == (5, 1)


def test_an_edge_of_no_table_is_refused():
    store = MemoryStore.build(MEMORY, as_events([]))
    with pytest.raises(MemoryStoreError, match=r"pledge.*'owns' is not"):
        store.update_edges("owns", Edges.none())


def test_a_look_up_in_between_never_shows_a_later_edge_to_an_earlier_question():
    store = MemoryStore.build(MEMORY, as_events([Loan(1, 0.0)]))
    store.update_edges("pledge", as_edges([Edge(1, 2, 5.0)], PLEDGE))
    assert looked_up(store, 5.0)[1][0] == 0
    assert looked_up(store, 5.5)[1][0] == 1
    with pytest.raises(MemoryStoreError, match="clock"):
        store.lookup({"firm": "f1"}, 5.0)


def test_late_edges_count_from_now_on_and_are_told_as_late():
    store = MemoryStore.build(MEMORY, as_events([Loan(1, 10.0)]))
    told = store.update_edges("pledge", as_edges([Edge(1, 2, 5.0), Edge(3, 1, 50.0)], PLEDGE))
    assert (told.new, told.late, told.duplicates) == (2, 1, 0)
    assert "not rewritten" in told.told()
    assert looked_up(store, 10.5)[1][:2].tolist() == [1, 0]
    again = store.update_edges("pledge", as_edges([Edge(1, 2, 5.0, until=11.0), Edge(3, 1, 50.0)], PLEDGE))
    assert (again.new, again.ended, again.duplicates) == (0, 1, 1)
    assert looked_up(store, 11.0)[1][0] == 1
    assert looked_up(store, 11.25)[1][0] == 0


def test_what_the_facts_of_edges_rest_on_is_told_in_words():
    memory = replace(MEMORY, edges=(PLEDGE, replace(TABLES["address"], name="addresses")))
    store = MemoryStore.build(memory, as_events([]))
    keys = {name: record_key({"firm": name}, ["firm"]) for name in "abcd"}
    loans = [Loan(keys["b"], 1.0, 14424.0, 1.0), Loan(keys["c"], 1.0, 14424.0, 0.0), Loan(keys["d"], 1.0, 14500.0, 1.0)]
    store.update(as_events(loans))
    store.update_edges("pledge", as_edges([Edge(keys["a"], keys[other], 0.0) for other in "bcd"], PLEDGE))
    store.update_edges("addresses", as_edges([Edge(keys[one], 77, 0.0) for one in "ab"], TABLES["address"]))
    told = [str(one) for one in store.explain_edges({"firm": "a"}, 14425.5)]
    assert told == [
        "firm a: guarantees 3, guaranteed by 0; 1 of 2 matured outcomes of these bad, as of 2009-06-30",
        "firm a: shares 1 addresses with 1 others; 1 of 1 matured outcomes of these bad, as of 2009-06-30",
    ]
    assert store.explain_edges({"firm": None}, 14425.5) == []
