"""Whatever stops a writer, and wherever: what was acknowledged is there, and what was damaged is refused."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import MemoryStoreError
from leanrisk.graph.journal import append_batch, read_journal
from leanrisk.graph.store import MemoryStore
from tests.graph.test_persist import FIRST, NEWS
from tests.graph.test_store import REMEMBERED

ROOT = Path(__file__).parents[2]
# Appends one event after another and acknowledges each by a line, until it is killed.
WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from leanrisk.graph.store import MemoryStore
from tests.graph.test_persist import NEWS
store = MemoryStore.open(Path(sys.argv[1]))
first, one = int(sys.argv[2]), NEWS.take(slice(0, 1))
for number in range(first, first + 1_000_000):
    store.append(replace(one, id=np.array([number], dtype=np.uint64)))
    print(number, flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A memory of the first events, saved."""
    MemoryStore.build(REMEMBERED, FIRST).save(tmp_path / "memory")
    return tmp_path / "memory"


def test_a_journal_cut_off_at_any_byte_of_its_last_batch_keeps_the_batches_before(tmp_path):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    begin = append_batch(whole, NEWS.take(slice(0, 5)), 0)
    end = append_batch(whole, NEWS.take(slice(5, 6)), begin)
    data = whole.read_bytes()
    assert len(data) == end
    for cut in range(begin, end):
        torn.write_bytes(data[:cut])
        found = read_journal(torn, REMEMBERED)
        assert ([batch.rows for batch in found.batches], found.end, found.torn) == ([5], begin, cut - begin)
    torn.write_bytes(data)
    assert [batch.rows for batch in read_journal(torn, REMEMBERED).batches] == [5, 1]


def test_a_flipped_bit_in_any_byte_of_a_journal_is_refused_by_its_name(tmp_path):
    file = tmp_path / "v000001.log"
    end = append_batch(file, NEWS.take(slice(0, 1)), 0)
    append_batch(file, NEWS.take(slice(1, 2)), end)
    data = bytearray(file.read_bytes())
    for place in range(len(data)):
        data[place] ^= 1 << place % 8
        file.write_bytes(data)
        data[place] ^= 1 << place % 8
        with pytest.raises(MemoryStoreError, match=rf"v000001\.log.*byte {0 if place < end else end} on"):
            read_journal(file, REMEMBERED)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_flipped_bit_in_any_array_of_a_snapshot_is_refused_by_its_name(tmp_path_factory, data):
    place = tmp_path_factory.mktemp("memory")
    MemoryStore.build(REMEMBERED, FIRST).save(place)
    file = data.draw(st.sampled_from(sorted((place / "v000001").glob("*.npy"))))
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    with pytest.raises(MemoryStoreError) as refused:
        MemoryStore.open(place)
    assert str(file) in str(refused.value)


def _output(writer):
    assert writer.stdout is not None
    return writer.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither this signal nor the lock")
@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_what_a_killed_writer_acknowledged_is_there(folder, acknowledged):
    with _writer(folder, 1_000) as writer:
        told = [int(_output(writer).readline()) for _ in range(acknowledged)]
        writer.send_signal(signal.SIGKILL)
        told += [int(line) for line in _output(writer).read().split("\n")[:-1]]
    store = MemoryStore.open(folder)
    # At most the one in hand is there beyond them: it was on disk, but nobody had been told.
    extra = store.history.rows - FIRST.rows - len(told)
    assert extra in (0, 1)
    np.testing.assert_array_equal(store.history.id[FIRST.rows :], np.arange(1_000, 1_000 + len(told) + extra))
    assert store.append(NEWS).new == NEWS.rows
    assert MemoryStore.open(folder).history.rows == store.history.rows


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither this signal nor the lock")
def test_two_processes_that_append_at_once_lose_nothing(folder):
    with _writer(folder, 1_000) as one, _writer(folder, 1_000_000) as other:
        both = (one, other)
        told = [int(_output(writer).readline()) for _ in range(20) for writer in both]
        for writer in both:
            writer.send_signal(signal.SIGKILL)
        for writer in both:
            told += [int(line) for line in _output(writer).read().split("\n")[:-1]]
    ids = MemoryStore.open(folder).history.id
    assert np.unique(ids).size == ids.size
    assert np.isin(told, ids).all()
    assert ids.size - FIRST.rows - len(told) <= 2


def _writer(folder: Path, first: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(first)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
