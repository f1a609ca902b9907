"""How large a packed table is once it is unpacked, told before anything is: a few kilobytes may stand for gigabytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from leanrisk.serve.refusal import Refusal

MOST_UNPACKED = 256 << 20
_HEADER, _BUFFERS, _COMPRESSION, _DATA = 2, 2, 3, 1


def check_stream(source: pa.Buffer, *, most: int = MOST_UNPACKED) -> None:
    """Raise `Refusal` (413) where a message of an Arrow stream unpacks to more than `most` bytes.

    Raises whatever Arrow raises, or `struct.error`, for bytes that are no stream. Columns that are not packed are read
    where they lie, and do not count.
    """
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(source)):
        if message.type in ("record batch", "dictionary") and message.body is not None:
            size = sum(_unpacked(memoryview(message.metadata), memoryview(message.body), message.type))
            if size > most:
                raise _too_large(size, most)


def check_file(file: pq.ParquetFile, rows: int, *, most: int = MOST_UNPACKED) -> None:
    """Raise `Refusal` (413) where `rows` rows of a Parquet file unpack to more than `most` bytes, by what it says."""
    for place in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(place)
        size = group.total_byte_size * min(rows, group.num_rows) // max(group.num_rows, 1)
        if size > most:
            raise _too_large(size, most)


def _unpacked(metadata: memoryview, body: memoryview, kind: str) -> Iterator[int]:
    """Yield the unpacked bytes of each packed buffer: the eight bytes before it say them."""
    batch = _table(metadata, _field(metadata, _root(metadata), _HEADER))
    if batch is not None and kind == "dictionary":
        batch = _table(metadata, _field(metadata, batch, _DATA))
    if batch is None or _field(metadata, batch, _COMPRESSION) is None:
        return
    buffers = _table(metadata, _field(metadata, batch, _BUFFERS))
    if buffers is None:
        return
    (count,) = struct.unpack_from("<I", metadata, buffers)
    for place in range(count):
        offset, length = struct.unpack_from("<qq", metadata, buffers + 4 + 16 * place)
        if length >= 8:
            (size,) = struct.unpack_from("<q", body, offset)
            yield max(size, 0)


def _root(metadata: memoryview) -> int:
    """Return where the outermost table of a flatbuffer lies."""
    return int(struct.unpack_from("<I", metadata, 0)[0])


def _table(metadata: memoryview, place: int | None) -> int | None:
    """Return where the table or vector lies that the field at `place` refers to."""
    return None if place is None else place + int(struct.unpack_from("<I", metadata, place)[0])


def _field(metadata: memoryview, table: int, number: int) -> int | None:
    """Return where a table's field lies, None where it has its default."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    (size,) = struct.unpack_from("<H", metadata, vtable)
    slot = 4 + 2 * number
    if slot + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", metadata, vtable + slot)
    return table + offset if offset else None


def _too_large(size: int, most: int) -> Refusal:
    return Refusal(
        413,
        "too-large",
        f"A piece of a batch unpacks to up to {most:,} bytes: this one says {size:,}. Cut it into record batches or "
        "row groups of fewer rows.",
    )
