"""POST /score/batch: an Arrow stream or a Parquet file in, an Arrow stream out, in bounded memory."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import numpy as np
import polars as pl
import pyarrow as pa

from leanrisk.core.errors import DataError
from leanrisk.serve.batch_blocks import ARROW, PARQUET, blocks_of, next_block
from leanrisk.serve.call import Answer, Call
from leanrisk.serve.follower import stopped
from leanrisk.serve.lineup import Seat
from leanrisk.serve.protocols import Block, BlockKept, LogUnavailable
from leanrisk.serve.reading import too_large
from leanrisk.serve.record_check import column_faults
from leanrisk.serve.refusal import Refusal
from leanrisk.serve.scoring_desk import ScoringDesk, checked_id
from leanrisk.serve.settings import Further

BATCH_HEADER = b"x-batch-id"
_IN_MEMORY = 4 << 20
_PIECE = 1 << 18
_THREADS = 2
"""Blocks that are scored at the same time, of all batches together."""
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
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="batch")

    async def __call__(self, call: Call) -> Answer:
        """Return the answer to a call, a column of scores for each row; raises `Refusal`."""
        kind = call.header(b"content-type").partition(";")[0].strip().lower()
        if kind not in (ARROW, PARQUET):
            raise Refusal(415, "wrong-content-type", f"A batch is {ARROW} or {PARQUET}. Set Content-Type.")
        batch = checked_id(call.header(BATCH_HEADER)) or f"b{secrets.token_hex(12)}"
        seat = self._desk.seat()
        async with self._turn:
            with tempfile.TemporaryFile(buffering=0) as asked:
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
        rows = 0
        writer: Any = None
        keeping: asyncio.Task[None] | None = None
        tables = self._tables(seat, blocks_of(asked, kind), batch)
        try:
            async for block, table in tables:
                # The log takes a block while the next ones are scored; an answer leaves after the last is kept.
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
            await tables.aclose()
            await stopped(keeping)
            if writer is not None:
                writer.close()
        await asyncio.to_thread(told.seek, 0)
        return rows

    async def _tables(
        self, seat: Seat, blocks: Iterator[pl.DataFrame], batch: str
    ) -> AsyncGenerator[tuple[pl.DataFrame, pa.Table]]:
        """Yield blocks with their answers, in order; while one is taken and one waits, others are scored."""
        ahead: deque[tuple[pl.DataFrame, asyncio.Future[pa.Table]]] = deque()
        loop, start = asyncio.get_running_loop(), 0
        block = await asyncio.to_thread(next_block, blocks)
        try:
            while block is not None or ahead:
                if block is None or len(ahead) > _THREADS:
                    scored, table = ahead.popleft()
                    yield scored, await table
                    continue
                if start + block.height > self._config.limits.batch_rows:
                    raise Refusal(
                        413, "too-many-rows", f"A batch has up to {self._config.limits.batch_rows:,} rows. Cut it up."
                    )
                ahead.append((block, loop.run_in_executor(self._pool, self._block, seat, block, batch, start)))
                start += block.height
                block = await asyncio.to_thread(next_block, blocks)
        finally:
            await asyncio.gather(*(table for _, table in ahead), return_exceptions=True)

    def _block(self, seat: Seat, block: pl.DataFrame, batch: str, start: int) -> pa.Table:
        unknown = [name for name in block.columns if name not in seat.known]
        hidden = self._desk.hidden(seat)
        refused = unknown if self._config.unknown is Further.REFUSE else []
        lost = [name for name in self._config.required if name not in block.columns or block[name].null_count() > 0]
        try:
            if refused or lost:
                raise DataError([])
            probability = seat.scorer.many(block, threads=1)
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
        self._desk.shadow_block(kept)
        counted = table.column("decision").value_counts()
        self._desk.count({entry["values"]: entry["counts"] for entry in counted.to_pylist()})


async def _pieces(told: IO[bytes]) -> AsyncIterator[bytes]:
    with told:
        while piece := await asyncio.to_thread(told.read, _PIECE):
            yield piece
