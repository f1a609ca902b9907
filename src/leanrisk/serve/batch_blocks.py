"""The rows of a batch in blocks of bounded size, from an Arrow stream or a Parquet file."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator
from typing import IO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from leanrisk.serve.refusal import Refusal

ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
BLOCK_ROWS = 16_384


def blocks_of(asked: IO[bytes], kind: str) -> Iterator[pl.DataFrame]:
    """Yield a file's rows, `BLOCK_ROWS` at a time; raises whatever Arrow and Polars raise for other bytes."""
    # Mapped, so that Arrow reads numbers where they lie.
    asked.flush()
    source = pa.BufferReader(pa.py_buffer(mmap.mmap(asked.fileno(), 0, access=mmap.ACCESS_READ)))
    batches = pq.ParquetFile(source).iter_batches(BLOCK_ROWS) if kind == PARQUET else pa.ipc.open_stream(source)
    for table in _together(batches):
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        yield frame.rechunk()


def next_block(blocks: Iterator[pl.DataFrame]) -> pl.DataFrame | None:
    """Return the next block, None after the last; raises `Refusal` (400) for bytes that are no table."""
    try:
        return next(blocks, None)
    except Refusal:
        raise
    except Exception as error:
        # Arrow and Polars raise errors of many kinds for bytes that are no table; none is the service's fault.
        what = json.dumps(f"{type(error).__name__}: {error}"[:200])
        raise Refusal(400, "not-a-table", f"A batch must be whole and readable: {what}.") from error


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
