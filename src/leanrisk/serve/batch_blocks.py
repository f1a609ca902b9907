"""The rows of a batch in blocks of bounded size, from an Arrow stream or a Parquet file."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from leanrisk.serve.batch_sizes import check_file, check_stream
from leanrisk.serve.refusal import MOST_FAULTS, Refusal

ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
BLOCK_ROWS = 16_384


def blocks_of(asked: IO[bytes], kind: str, *, sound: bool = False) -> Iterator[pa.Table]:
    """Yield a file's rows, `BLOCK_ROWS` at a time, for `frame_of`; raises whatever Arrow raises for other bytes.

    Columns of a kind that is not read are refused by name (`Refusal`, 422), and pieces that unpack to too much (413).
    `sound`: the file was read to its end before, so that nobody has to look into it again.
    """
    # Mapped, so that Arrow reads numbers where they lie.
    asked.flush()
    source = pa.py_buffer(mmap.mmap(asked.fileno(), 0, access=mmap.ACCESS_READ))
    batches: Iterable[pa.RecordBatch]
    if kind == PARQUET:
        file = pq.ParquetFile(pa.BufferReader(source))
        if not sound:
            check_file(file, BLOCK_ROWS)
        columns, batches = file.schema_arrow, file.iter_batches(BLOCK_ROWS)
    else:
        if not sound:
            check_stream(source)
        stream = pa.ipc.open_stream(pa.BufferReader(source))
        columns, batches = stream.schema, stream
    if not sound:
        _check_kinds(columns)
    yield from _together(batches)


def next_block(blocks: Iterator[pa.Table]) -> pa.Table | None:
    """Return the next block, None after the last; raises `Refusal` (400) for bytes that are no table."""
    with _whole():
        return next(blocks, None)


def frame_of(block: pa.Table, *, sound: bool = False) -> pl.DataFrame:
    """Return a block as a frame; raises `Refusal` (400) for bytes that are no table.

    Every offset, index and text in it is looked at before: Arrow trusts them as they come, and so does whoever reads
    them; a wrong one would end the process. `sound`: that was done before.
    """
    with _whole():
        if not sound:
            block.validate(full=True)
        frame = pl.from_arrow(block)
        assert isinstance(frame, pl.DataFrame)
        return frame.rechunk()


@contextmanager
def _whole() -> Iterator[None]:
    try:
        yield
    except Refusal:
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        # Arrow and Polars raise errors of many kinds for bytes that are no table; none is the service's fault.
        what = json.dumps(f"{type(error).__name__}: {error}"[:200])
        raise Refusal(400, "not-a-table", f"A batch must be whole and readable: {what}.") from error


def _check_kinds(columns: pa.Schema) -> None:
    wrong = [column for column in columns if not _readable(column.type)]
    if wrong:
        faults = [
            {
                "field": column.name[:80],
                "rule": "unread-kind",
                "message": f"no column is read that is {str(column.type)[:80]}",
                "way_out": "Send numbers, texts, dates, times or truth values.",
            }
            for column in wrong[:MOST_FAULTS]
        ]
        raise Refusal(422, "faulty-table", f"Columns of a kind that is not read: {len(wrong)}.", faults=faults)


def _readable(kind: pa.DataType) -> bool:
    of = pa.types
    if of.is_dictionary(kind):
        return _readable(kind.value_type)
    if of.is_list(kind) or of.is_large_list(kind) or of.is_fixed_size_list(kind) or of.is_struct(kind):
        # Some column that the model leaves alone may be one; where it reads one, it says so.
        return all(_readable(kind.field(place).type) for place in range(kind.num_fields))
    texts = of.is_string(kind) or of.is_large_string(kind) or of.is_string_view(kind)
    numbers = of.is_integer(kind) or of.is_floating(kind) or of.is_decimal128(kind) or of.is_boolean(kind)
    moments = of.is_date(kind) or of.is_time(kind) or of.is_timestamp(kind)
    return bool(texts or numbers or moments or of.is_binary(kind) or of.is_large_binary(kind) or of.is_null(kind))


def _together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield tables of `BLOCK_ROWS` rows: whoever sends many small batches is not scored a few rows at a time."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        start = 0
        while rows + batch.num_rows - start >= BLOCK_ROWS:
            taken = BLOCK_ROWS - rows
            yield pa.Table.from_batches([*waiting, batch.slice(start, taken)])
            start, waiting, rows = start + taken, [], 0
        if start < batch.num_rows:
            waiting.append(batch.slice(start))
            rows += batch.num_rows - start
    if waiting:
        yield pa.Table.from_batches(waiting)
