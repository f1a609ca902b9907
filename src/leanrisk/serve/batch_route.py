"""POST /score/batch: an Arrow stream or a Parquet file in, an Arrow stream out, in bounded memory."""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from typing import IO, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from leanrisk.core.errors import DataError
from leanrisk.serve.call import Answer, Call
from leanrisk.serve.follower import stopped
from leanrisk.serve.lineup import Seat
from leanrisk.serve.protocols import Block, BlockKept, LogUnavailable
from leanrisk.serve.reading import too_large
from leanrisk.serve.record_check import column_faults
from leanrisk.serve.refusal import Refusal
from leanrisk.serve.scoring_desk import ScoringDesk, checked_id
from leanrisk.serve.settings import Further

ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
BATCH_HEADER = b"x-batch-id"
_BLOCK_ROWS = 16_384
_IN_MEMORY = 4 << 20
_PIECE = 1 << 18
_THREADS = 2
_TOLD = pa.schema(
    {"decision_id": pa.string(), "probability": pa.float32(), "points": pa.float64(), "decision": pa.string()}
)
_AT_ONCE = 2
"""Batches that are scored at the same time; further ones wait, so that memory stays bounded."""


class BatchRoute:
    """Answers /score/batch; one seat scores the whole batch, and its rows are kept before it is answered.

    A decision's id is the batch's and the row's number: "BATCH:ROW".
    """

    def __init__(self, desk: ScoringDesk) -> None:
        self._desk, self._config = desk, desk.config
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, call: Call) -> Answer:
        """Return the answer to a call, a column of scores for each row; raises `Refusal`."""
        kind = call.header(b"content-type").partition(";")[0].strip().lower()
        if kind not in (ARROW, PARQUET):
            raise Refusal(415, "wrong-content-type", f"A batch is {ARROW} or {PARQUET}. Set Content-Type.")
        batch = checked_id(call.header(BATCH_HEADER)) or f"b{secrets.token_hex(12)}"
        seat = self._desk.seat()
        async with self._turn:
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as asked:
                await self._receive(call, asked)
                told: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
                try:
                    rows = await self._scored(call, seat, asked, told, kind, batch)
                except BaseException:
                    told.close()
                    raise
        headers = [
            (b"x-batch-id", batch.encode()),
            (b"x-snapshot", seat.snapshot.encode()),
            (b"x-rows", str(rows).encode()),
        ]
        return Answer(kind=ARROW.encode(), headers=headers, blocks=_pieces(told))

    async def _receive(self, call: Call, asked: IO[bytes]) -> None:
        size, most = 0, self._config.limits.batch_bytes
        while True:
            message = await call.receive()
            if message["type"] == "http.disconnect":
                raise Refusal(400, "gone", "The caller went away before the request was whole.")
            size += len(message.get("body", b""))
            if size > most:
                raise too_large(most)
            asked.write(message.get("body", b""))
            if not message.get("more_body"):
                break
        asked.seek(0)

    async def _scored(self, call: Call, seat: Seat, asked: IO[bytes], told: IO[bytes], kind: str, batch: str) -> int:
        rows, blocks = 0, _blocks(asked, kind)
        writer: Any = None
        keeping: asyncio.Task[None] | None = None
        try:
            while (block := await asyncio.to_thread(_next, blocks)) is not None:
                if rows + block.height > self._config.limits.batch_rows:
                    raise Refusal(
                        413, "too-many-rows", f"A batch has up to {self._config.limits.batch_rows:,} rows. Cut it up."
                    )
                table = await asyncio.to_thread(self._block, seat, block, batch, rows)
                # The log takes a block while the next one is scored; an answer leaves after the last is kept.
                if keeping is not None:
                    await keeping
                keeping = asyncio.create_task(self._keep(call, seat, block, table, batch, rows))
                if writer is None:
                    writer = pa.ipc.new_stream(told, table.schema)
                await asyncio.to_thread(writer.write_table, table)
                rows += block.height
            if keeping is not None:
                await keeping
            if writer is None:
                raise Refusal(422, "no-rows", "A batch has at least one row: this one has none.")
        finally:
            await stopped(keeping)
            if writer is not None:
                writer.close()
        await asyncio.to_thread(told.seek, 0)
        return rows

    def _block(self, seat: Seat, block: pl.DataFrame, batch: str, start: int) -> pa.Table:
        unknown = [name for name in block.columns if name not in seat.known]
        hidden = self._desk.hidden(seat)
        refused = unknown if self._config.unknown is Further.REFUSE else []
        lost = [name for name in self._config.required if name not in block.columns or block[name].null_count() > 0]
        try:
            if refused or lost:
                raise DataError([])
            probability = seat.scorer.many(block, threads=_THREADS)
        except DataError as error:
            faults = column_faults(error.faults, unknown=refused, lost=lost, sensitive=hidden)
            reason = f"{len(faults)} faults were found between the rows {start} and {start + block.height - 1}."
            raise Refusal(422, "faulty-table", reason, faults=faults) from error
        exact = probability.astype(np.float64)
        points, verdicts = self._config.points.of_all(exact), self._config.policy.of_all(exact)
        # Through polars: pyarrow's own reading of lists imports pandas where that is installed.
        told = pl.DataFrame({"probability": probability, "points": points, "decision": verdicts})
        ids = pl.format(f"{batch}:{{}}", pl.int_range(start, start + block.height)).alias("decision_id")
        table = told.select(ids, "probability", "points", "decision").to_arrow(compat_level=pl.CompatLevel.oldest())
        return table.cast(_TOLD.with_metadata({"snapshot": seat.snapshot}))

    async def _keep(self, call: Call, seat: Seat, block: pl.DataFrame, table: pa.Table, batch: str, start: int) -> None:
        kept = Block(
            batch,
            start,
            time.time(),
            seat.snapshot,
            call.caller.name,
            call.request,
            block,
            table,
            self._desk.privacy(seat),
        )
        try:
            await self._desk.log.block(kept)
        except BlockKept as error:
            raise Refusal(409, "repeated-batch", str(error)) from error
        except LogUnavailable as error:
            raise Refusal(503, "log-unavailable", str(error), headers={"retry-after": "1"}) from error
        counted = table.column("decision").value_counts()
        self._desk.count({entry["values"]: entry["counts"] for entry in counted.to_pylist()})


def _blocks(asked: IO[bytes], kind: str) -> Iterator[pl.DataFrame]:
    """Yield the rows in blocks of bounded size."""
    batches = pq.ParquetFile(asked).iter_batches(_BLOCK_ROWS) if kind == PARQUET else pa.ipc.open_stream(asked)
    for batch in batches:
        for start in range(0, batch.num_rows, _BLOCK_ROWS):
            frame = pl.from_arrow(pa.Table.from_batches([batch.slice(start, _BLOCK_ROWS)]))
            assert isinstance(frame, pl.DataFrame)
            yield frame


def _next(blocks: Iterator[pl.DataFrame]) -> pl.DataFrame | None:
    try:
        return next(blocks, None)
    except Refusal:
        raise
    except Exception as error:
        # Arrow and Polars raise errors of many kinds for bytes that are no table; none is the service's fault.
        what = json.dumps(f"{type(error).__name__}: {error}"[:200])
        raise Refusal(400, "not-a-table", f"A batch must be whole and readable: {what}.") from error


async def _pieces(told: IO[bytes]) -> AsyncIterator[bytes]:
    with told:
        while piece := await asyncio.to_thread(told.read, _PIECE):
            yield piece
