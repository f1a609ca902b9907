"""Edge tables as they are read: hostile files refused with every fault, and each edge once."""

import datetime as dt
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from leanrisk.core.edge_table import EdgeFact, EdgeKind, EdgeTable
from leanrisk.core.errors import ConfigError, DataError, MemoryStoreError
from leanrisk.core.memory import Entity, Memory
from leanrisk.graph.edges import Edges, edges_of, merged_edges
from leanrisk.graph.store import MemoryStore
from tests.graph.edge_books import MEMORY, PLEDGE, Edge, Loan, as_edges, as_events

TABLE = EdgeTable("owns", "firm", "owner", "owned", "since", until="until", amount="share", kind=EdgeKind.OWNERSHIP)


def frame(**columns) -> pl.DataFrame:
    rows = {"owner": ["a", "b"], "owned": ["b", "c"], "since": [1.0, 2.0], "until": [None, 4.0], "share": [0.5, None]}
    return pl.DataFrame({**rows, **columns}, strict=False)


def codes(table: pl.DataFrame, *, counts: bool = True) -> list[str]:
    with pytest.raises(DataError) as caught:
        edges_of(table, TABLE, counts=counts)
    return [fault.code for fault in caught.value.faults]


def test_edges_are_read_with_their_ends_and_amounts():
    edges = edges_of(frame(), TABLE, counts=True)
    assert edges.until.tolist() == [math.inf, 4.0]
    assert edges.amount.tolist() == [0.5, 0.0]
    assert edges.target[0] == edges.source[1]


def test_every_fault_of_a_table_is_told_at_once():
    faults = codes(frame(owner=[None, ""], since=[None, 1.0], share=[-1.0, math.inf]))
    assert faults == ["edge-without-end", "undated", "not-an-amount"]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"since": ["soon", "later"]}, "not-a-time"),
        ({"since": [math.inf, 1.0]}, "not-a-time"),
        ({"since": [math.nan, 1.0]}, "undated"),
        ({"until": [0.5, None]}, "edge-ends-early"),
        ({"share": ["half", "all"]}, "not-an-amount"),
        ({"since": [dt.date(2020, 1, 1), dt.date(2020, 1, 2)], "until": [None, None]}, "not-a-time"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(changed, code):
    assert codes(frame(**changed)) == [code]


def test_a_column_that_is_missing_is_named():
    with pytest.raises(DataError, match="share"):
        edges_of(frame().drop("share"), TABLE, counts=True)
    with pytest.raises(DataError, match="dates, as the decision time is"):
        edges_of(frame(), TABLE, counts=False)


def test_a_date_counts_when_its_day_is_over():
    dates = frame(since=[dt.date(1970, 1, 2)] * 2, until=[dt.date(1970, 1, 4), None])
    edges = edges_of(dates, TABLE, counts=False)
    assert 1.999 < edges.known[0] < 2.0
    assert 3.999 < edges.until[0] < 4.0
    hours = frame(since=[dt.datetime(1970, 1, 2, 12)] * 2, until=[None, None])
    assert edges_of(hours, TABLE, counts=False).known.tolist() == [1.5, 1.5]


def test_an_edge_to_itself_is_left_out_and_the_same_edge_counts_once():
    assert edges_of(frame(owned=["a", "c"]), TABLE, counts=True).rows == 1
    assert edges_of(pl.concat([frame(), frame()]), TABLE, counts=True).rows == 2
    shared = replace(TABLE, kind=EdgeKind.SHARED)
    edges = edges_of(frame(owned=["a", "a"]), shared, counts=True)
    assert edges.rows == 2
    assert edges.source[0] != edges.target[0]


def test_an_end_is_filled_in_once():
    edges = as_edges([Edge(1, 2, 0.0), Edge(1, 3, 0.0)], PLEDGE)
    ends = as_edges([Edge(1, 3, 0.0, until=5.0), Edge(4, 5, 0.0), Edge(1, 2, 0.0)], PLEDGE)
    merged, new, ended = merged_edges(edges, ends)
    assert (merged.rows, new.tolist(), ended.tolist()) == (3, [2], [1])
    later, new, ended = merged_edges(merged, as_edges([Edge(1, 3, 0.0, until=3.0)], PLEDGE))
    assert (later.until.tolist(), new.size, ended.size) == (merged.until.tolist(), 0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "owned"},
        {"hops": 3},
        {"depth": 0},
        {"cap": 10_000},
        {"facts": (EdgeFact.CLUSTER,)},
        {"kind": EdgeKind.SHARED, "facts": (EdgeFact.RISK,)},
    ],
)
def test_a_section_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError):
        replace(TABLE, **wrong)


def test_the_ends_are_values_of_an_entity_that_one_column_names():
    crossed = Entity("pair", ("a", "b"))
    with pytest.raises(ConfigError, match="entity = 'firm' must be an entity"):
        Memory(entities=(crossed,), edges=(TABLE,))
    with pytest.raises(ConfigError, match="There are: firm"):
        Memory(entities=(Entity("firm", ("f",)), crossed), edges=(replace(TABLE, entity="pair"),))


def opened(tmp_path) -> MemoryStore:
    MemoryStore.build(MEMORY, as_events([Loan(2, 1.0, 2.0, 1.0)])).save(tmp_path)
    return MemoryStore.open(tmp_path)


def test_edges_outlive_the_process_in_journal_and_snapshot(tmp_path):
    store = opened(tmp_path)
    store.append_edges("pledge", as_edges([Edge(1, 2, 0.5, amount=7.0), Edge(1, 3, 9.0)], PLEDGE))
    from_journal = MemoryStore.open(tmp_path)
    store.compact()
    for again in (from_journal, MemoryStore.open(tmp_path)):
        assert again.edges["pledge"].digest == store.edges["pledge"].digest
        assert again.edges["address"].rows == 0
    store.append(as_events([Loan(4, 3.0), Loan(5, 3.0)]))
    assert MemoryStore.open(tmp_path).edges["pledge"].amount.tolist() == [7.0, 1.0]
    noted = (tmp_path / "absorbed.jsonl").read_text(encoding="utf-8").splitlines()
    assert '"edges": "pledge", "new": 2' in noted[0]


def test_the_clock_that_edges_moved_is_kept(tmp_path):
    store = MemoryStore.build(MEMORY, as_events([Loan(2, 1.0)]), {"pledge": as_edges([Edge(1, 2, 5.0)], PLEDGE)})
    store.lookup({"firm": "x"}, 6.0)
    store.save(tmp_path)
    again = MemoryStore.open(tmp_path)
    assert again.clock == store.clock > 5.0
    with pytest.raises(MemoryStoreError, match="clock"):
        again.lookup({"firm": "x"}, 4.0)


def test_a_batch_of_edges_that_was_cut_short_is_left_out(tmp_path):
    store = opened(tmp_path)
    store.append_edges("pledge", as_edges([Edge(1, 2, 0.5)], PLEDGE))
    log = next(tmp_path.glob("*.log"))
    whole = log.read_bytes()
    store.append_edges("pledge", as_edges([Edge(1, 4, 0.5)], PLEDGE))
    log.write_bytes(log.read_bytes()[:-5])
    again = MemoryStore.open(tmp_path)
    assert again.torn
    assert again.edges["pledge"].rows == 1
    again.append_edges("pledge", as_edges([Edge(1, 5, 0.5)], PLEDGE))
    assert log.read_bytes().startswith(whole)
    assert MemoryStore.open(tmp_path).edges["pledge"].rows == 2


def test_no_edges_are_edges_too():
    none = Edges.none()
    assert merged_edges(none, none)[0].rows == 0
    assert none.digest == Edges.of(none.arrays()).digest
    assert none.take(np.empty(0, dtype=np.int64)).rows == 0
