"""A memory in use: it follows what other processes absorb, and stays the one that it was."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from leanrisk.core.errors import MemoryStoreError
from leanrisk.graph import store as stores
from leanrisk.graph.store import MemoryStore
from tests.graph.edge_books import MEMORY, PLEDGE, Edge, Loan, as_edges, as_events

FIRST, NEWS = as_events([Loan(2, 1.0, 2.0, 1.0)]), replace(as_events([Loan(3, 5.0)]), id=np.array([9], dtype=np.uint64))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "LOOK_EVERY_S", 0.0)
    MemoryStore.build(MEMORY, FIRST).save(tmp_path / "memory")
    return tmp_path / "memory"


def test_a_look_up_sees_what_another_process_absorbed(folder):
    serving, writing = MemoryStore.open(folder), MemoryStore.open(folder)
    writing.append(NEWS)
    writing.append_edges("pledge", as_edges([Edge(1, 2, 0.5)], PLEDGE))
    serving.lookup({"firm": "x"}, 6.0)
    assert (serving.history.rows, serving.edges["pledge"].rows) == (2, 1)
    writing.compact()
    serving.lookup({"firm": "x"}, 6.0)
    assert serving.version == writing.version == 2
    assert serving.clock == writing.clock


def test_nothing_is_read_again_where_nothing_changed(folder, monkeypatch):
    serving = MemoryStore.open(folder)
    serving.lookup({"firm": "x"}, 6.0)
    monkeypatch.setattr(MemoryStore, "_catch_up", lambda self: pytest.fail("read again"))
    serving.lookup({"firm": "x"}, 6.0)


def test_a_look_is_due_once_in_a_while(folder, monkeypatch):
    monkeypatch.setattr(stores, "LOOK_EVERY_S", 1e6)
    serving, writing = MemoryStore.open(folder), MemoryStore.open(folder)
    serving.lookup({"firm": "x"}, 3.0)
    writing.append(NEWS)
    serving.lookup({"firm": "x"}, 3.0)
    assert serving.history.rows == 1


def test_an_identity_outlives_updates_and_tells_another_memory(folder, tmp_path):
    store = MemoryStore.open(folder)
    store.append(NEWS)
    store.compact()
    assert MemoryStore.open(folder).identity == store.identity != MemoryStore.build(MEMORY, NEWS).identity
    MemoryStore.build(MEMORY, NEWS).save(tmp_path / "other")
    serving = MemoryStore.open(folder)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "other", folder)
    with pytest.raises(MemoryStoreError, match="another one"):
        serving.lookup({"firm": "x"}, 9.0)


def test_an_earlier_version_that_was_asked_for_stays(folder):
    writing = MemoryStore.open(folder)
    writing.append(NEWS)
    writing.compact()
    earlier = MemoryStore.open(folder, version=1)
    earlier.lookup({"firm": "x"}, 9.0)
    assert earlier.version == 1
