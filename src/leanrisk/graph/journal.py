"""Batches of events in one file that only grows, each whole or not there at all."""

from __future__ import annotations

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from leanrisk.core.errors import MemoryStoreError
from leanrisk.core.memory import Memory
from leanrisk.graph.edges import Edges
from leanrisk.graph.events import Events
from leanrisk.graph.history import History

_MARK = b"LRMB"
_HEAD = struct.Struct("<4sQI")
"""Mark, length of the block and its CRC-32; the CRC-32 of these follows, so that a damaged length is no lost tail."""
_CHECK = struct.Struct("<I")
_EDGES = "edges."
"""What the columns of a batch of edges begin with, before the name of their table."""
_HEAD_BYTES = _HEAD.size + _CHECK.size


@dataclass(frozen=True)
class EdgeBatch:
    """Edges of one table that came together."""

    name: str
    edges: Edges

    @property
    def rows(self) -> int:
        """Number of edges."""
        return self.edges.rows


Batch = Events | EdgeBatch


@dataclass(frozen=True)
class Journal:
    """What a journal holds: its batches, where the last whole one ends, and how many bytes behind that are torn."""

    batches: tuple[Batch, ...] = ()
    end: int = 0
    torn: int = 0

    @property
    def rows(self) -> int:
        """Number of events and edges in all batches."""
        return sum(batch.rows for batch in self.batches)


def read_journal(file: Path, memory: Memory) -> Journal:
    """Return the batches in `file`, none where it does not exist.

    A block that a crash cut short was never confirmed to anybody: it is left out and counted as torn. Raises
    `MemoryStoreError` for a block that is there and not what was written.
    """
    if not file.exists():
        return Journal()
    data = file.read_bytes()
    batches: list[Batch] = []
    place = 0
    while place < len(data):
        length = _length(data, place, file)
        if length is None or place + _HEAD_BYTES + length > len(data):
            break
        block = data[place + _HEAD_BYTES : place + _HEAD_BYTES + length]
        if zlib.crc32(block) != _HEAD.unpack_from(data, place)[2]:
            raise _damaged(file, place)
        batches.append(_batch(block, memory, file, place))
        place += _HEAD_BYTES + length
    return Journal(tuple(batches), place, len(data) - place)


def append_batch(file: Path, events: Batch, end: int) -> int:
    """Write a batch behind byte `end` of `file` and return where it ends; it is on disk then.

    What stood behind `end` is dropped. Raises `OSError` where the disk refuses, and leaves the batches before whole.
    """
    block = _block(events)
    head = _HEAD.pack(_MARK, len(block), zlib.crc32(block))
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(handle, end)
        try:
            _write(handle, head + _CHECK.pack(zlib.crc32(head)) + block, end)
            os.fsync(handle)
            if not end:
                # The file may be new: a power cut must not lose its name either.
                _flush_folder(file.parent)
        except OSError:
            os.ftruncate(handle, end)
            raise
    finally:
        os.close(handle)
    return end + _HEAD_BYTES + len(block)


def _flush_folder(folder: Path) -> None:
    # Windows opens no folders; it keeps names by itself.
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write(handle: int, data: bytes, place: int) -> None:
    os.lseek(handle, place, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _length(data: bytes, place: int, file: Path) -> int | None:
    """Return the length of the block at `place`, None where not even its head was written."""
    head = data[place : place + _HEAD_BYTES]
    # A file system may have made a file longer before it crashed, and fills what was not written with zeros.
    if len(head) < _HEAD_BYTES or not any(data[place:]):
        return None
    mark, length, _ = _HEAD.unpack_from(head)
    if mark != _MARK or _CHECK.unpack_from(head, _HEAD.size)[0] != zlib.crc32(head[: _HEAD.size]):
        raise _damaged(file, place)
    return int(length)


def _block(batch: Batch) -> bytes:
    buffer = io.BytesIO()
    if isinstance(batch, EdgeBatch):
        arrays = {f"{_EDGES}{batch.name}.{name}": values for name, values in batch.edges.arrays().items()}
    else:
        arrays = History(batch).arrays()
    pl.DataFrame(arrays).write_ipc(buffer)
    return buffer.getvalue()


def _batch(block: bytes, memory: Memory, file: Path, place: int) -> Batch:
    try:
        frame = pl.read_ipc(io.BytesIO(block))
        arrays = {name: frame[name].to_numpy() for name in frame.columns}
        for table in memory.edges:
            own = f"{_EDGES}{table.name}."
            parts = {name.removeprefix(own): values for name, values in arrays.items() if name.startswith(own)}
            if parts:
                return EdgeBatch(table.name, Edges.of(parts))
        return History.of(memory, arrays).events
    except (pl.exceptions.PolarsError, KeyError) as error:
        raise _damaged(file, place) from error


def _damaged(file: Path, place: int) -> MemoryStoreError:
    return MemoryStoreError(
        f"A memory's journal holds what was written: '{file}' does not, from byte {place} on. Restore it from a copy, "
        "or open an earlier version with MemoryStore.open(folder, version=...)."
    )
