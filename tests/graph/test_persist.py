"""A memory on disk: what comes back, what a crash or a damaged file does, and who may write."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from leanrisk.core.errors import MemoryStoreError, OutputError
from leanrisk.graph import home
from leanrisk.graph.journal import append_batch, read_journal
from leanrisk.graph.persist import read_snapshot, versions
from leanrisk.graph.store import MemoryStore
from tests.graph.test_store import REMEMBERED, asked, moment, read, table, tables

ROWS = [
    {
        "id": f"e{place}",
        "shop": ("abc", "abd", "ax")[place % 3],
        "town": "t1",
        "card": place % 4,
        "when": place / 4,
        "known": place / 4 + 3.0,
        "bad": place % 2,
        "amount": 1.5,
    }
    for place in range(40)
]
FIRST, NEWS = read(table(ROWS[:20])), read(table(ROWS[20:]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A memory of the first events, saved."""
    MemoryStore.build(REMEMBERED, FIRST).save(tmp_path / "memory")
    return tmp_path / "memory"


def assert_equal(one: MemoryStore, other: MemoryStore) -> None:
    assert (one.history.rows, one.config) == (other.history.rows, other.config)
    # A look-up moves the clock on: what has become known by its moment is counted.
    at = max(moment(one, 0.0), moment(other, 0.0), 0.0) + 1.25
    np.testing.assert_array_equal(asked(one, at), asked(other, at))


@given(tables(), tables())
@settings(max_examples=15, deadline=None)
def test_what_was_saved_comes_back_and_goes_on_learning(tmp_path_factory, frame, more):
    place = tmp_path_factory.mktemp("memory")
    store = MemoryStore.build(REMEMBERED, read(frame))
    store.save(place)
    again = MemoryStore.open(place)
    assert_equal(again, store)
    assert again.append(read(more)) == store.update(read(more))
    assert_equal(again, store)
    assert_equal(MemoryStore.open(place), store)


def test_an_appended_batch_is_on_disk_and_leaves_a_line(folder):
    store = MemoryStore.open(folder)
    absorbed = store.append(NEWS)
    assert absorbed.new == 20
    store.append(NEWS)
    store.append(read(table([{**ROWS[0], "id": "late"}])))
    assert_equal(MemoryStore.open(folder), store)
    lines = [json.loads(line) for line in (folder / home.ABSORBED).read_text().splitlines()]
    assert [(line["new"], line["duplicates"], line["late"]) for line in lines] == [(20, 0, 0), (0, 20, 0), (1, 0, 2)]
    assert "late_facts" in lines[2]
    assert "not rewritten" in lines[2]["late_facts"]
    assert "late_facts" not in lines[0]


def test_only_a_memory_in_a_folder_can_append():
    with pytest.raises(MemoryStoreError, match=r"MemoryStore.open\(folder\)"):
        MemoryStore.build(REMEMBERED, FIRST).append(NEWS)


@pytest.mark.parametrize("left", [0.1, 0.5, 0.999])
def test_a_batch_that_a_crash_cut_short_is_dropped_and_told(folder, left):
    store = MemoryStore.open(folder)
    store.append(NEWS.take(slice(0, 5)))
    journal = folder / "v000001.log"
    whole = journal.stat().st_size
    store.append(NEWS.take(slice(5, 20)))
    data = journal.read_bytes()
    cut = whole + int((len(data) - whole) * left)
    journal.write_bytes(data[:cut])
    again = MemoryStore.open(folder)
    assert (again.history.rows, again.torn) == (25, cut - whole)
    assert again.append(NEWS).new == 15
    last = json.loads((folder / home.ABSORBED).read_text().splitlines()[-1])
    assert last["torn_bytes_dropped"] == cut - whole
    assert_equal(MemoryStore.open(folder), again)


def test_zeros_that_a_file_system_left_behind_are_a_torn_batch(folder):
    MemoryStore.open(folder).append(NEWS)
    with (folder / "v000001.log").open("ab") as stream:
        stream.write(bytes(100))
    assert MemoryStore.open(folder).torn == 100


@pytest.mark.parametrize("place", [0, 6, 14, 18, 200])
def test_a_damaged_block_is_refused_by_name_and_byte(folder, place):
    store = MemoryStore.open(folder)
    store.append(NEWS.take(slice(0, 5)))
    store.append(NEWS.take(slice(5, 20)))
    journal = folder / "v000001.log"
    data = bytearray(journal.read_bytes())
    data[place] ^= 0xFF
    journal.write_bytes(data)
    with pytest.raises(MemoryStoreError, match=r"v000001\.log.*byte 0"):
        MemoryStore.open(folder)


@pytest.mark.parametrize("damage", ["changed", "short", "lost"])
def test_a_damaged_snapshot_is_refused_and_the_one_before_still_opens(folder, damage):
    store = MemoryStore.open(folder)
    store.append(NEWS)
    store.compact()
    file = folder / "v000002" / "events.happened.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    if damage == "lost":
        file.unlink()
    else:
        file.write_bytes(data if damage == "changed" else data[:-8])
    with pytest.raises(MemoryStoreError, match=r"events\.happened\.npy.*version 1"):
        MemoryStore.open(folder)
    before = MemoryStore.open(folder, version=1)
    assert_equal(before, store)
    with pytest.raises(MemoryStoreError, match="newest version"):
        before.append(NEWS)
    before.save(folder)
    assert_equal(MemoryStore.open(folder), store)


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", '{"config": {"entities": 3}, "files": {}}'])
def test_a_damaged_record_is_refused_by_name(folder, text):
    (folder / "v000001" / "memory.json").write_text(text)
    with pytest.raises(MemoryStoreError, match=r"memory\.json"):
        MemoryStore.open(folder)


def test_a_folder_that_is_no_memory_is_refused(tmp_path):
    with pytest.raises(MemoryStoreError, match="CURRENT"):
        MemoryStore.open(tmp_path)
    (tmp_path / "CURRENT").write_text("../../elsewhere")
    with pytest.raises(MemoryStoreError, match="CURRENT"):
        MemoryStore.open(tmp_path)


def test_a_memory_of_another_format_is_refused(folder):
    record = folder / "v000001" / "memory.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "format": 99}))
    with pytest.raises(MemoryStoreError, match="format 1"):
        read_snapshot(folder, 1)


def test_compacting_keeps_the_answers_and_two_versions(folder):
    store = MemoryStore.open(folder)
    store.append(NEWS)
    for _ in range(3):
        store.compact()
    assert versions(folder) == [3, 4]
    assert store.version == 4
    again = MemoryStore.open(folder)
    assert again.version == 4
    assert_equal(again, store)
    assert read_journal(folder / "v000004.log", REMEMBERED).rows == 0


def test_a_long_journal_is_folded_into_a_snapshot_by_itself(folder, monkeypatch):
    monkeypatch.setattr("leanrisk.graph.store._LONG_JOURNAL", 10)
    store = MemoryStore.open(folder)
    store.append(NEWS.take(slice(0, 8)))
    assert store.version == 1
    store.append(NEWS)
    assert store.version == 2
    assert_equal(MemoryStore.open(folder), store)


def test_two_who_append_in_turn_see_what_the_other_wrote(folder):
    one, other = MemoryStore.open(folder), MemoryStore.open(folder)
    one.append(NEWS.take(slice(0, 10)))
    assert other.append(NEWS).new == 10
    one.append(NEWS)
    assert_equal(one, other)
    assert_equal(MemoryStore.open(folder), one)
    one.compact()
    with pytest.raises(MemoryStoreError, match="at 2"):
        other.append(NEWS)


def test_a_full_disk_leaves_the_memory_as_it_was(folder, monkeypatch):
    store = MemoryStore.open(folder)
    store.append(NEWS.take(slice(0, 5)))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("leanrisk.graph.journal._write", full)
        with pytest.raises(OutputError, match="No space left"):
            store.append(NEWS)
    assert store.history.rows == 25
    assert MemoryStore.open(folder).torn == 0
    assert store.append(NEWS).new == 15


def test_a_journal_reads_back_what_was_written(tmp_path):
    file = tmp_path / "journal"
    end = append_batch(file, FIRST, 0)
    append_batch(file, NEWS.take(slice(0, 0)), end)
    read_back = read_journal(file, REMEMBERED)
    assert [batch.rows for batch in read_back.batches] == [20, 0]
    for name in ("id", "happened", "known", "outcome", "amount"):
        np.testing.assert_array_equal(getattr(read_back.batches[0], name), getattr(FIRST, name))


def test_a_snapshot_that_names_no_arrays_is_refused(tmp_path):
    MemoryStore.build(REMEMBERED, read(table(ROWS))).save(tmp_path)
    record = tmp_path / "v000001" / "memory.json"
    plain = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps({**plain, "files": {}}), encoding="utf-8")
    with pytest.raises(MemoryStoreError, match="every array"):
        MemoryStore.open(tmp_path)
    record.write_text(json.dumps({**plain, "files": {"../CURRENT": "x"}}), encoding="utf-8")
    with pytest.raises(MemoryStoreError, match="outside its folder"):
        MemoryStore.open(tmp_path)
