"""POST /score/batch: an Arrow stream or a Parquet file in, an Arrow stream out, in bounded memory."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import IO, Any, TypeVar

import numpy as np
import polars as pl
import pyarrow as pa

from leanrisk.core.errors import DataError, Fault
from leanrisk.serve.batch_blocks import ARROW, PARQUET, blocks_of, frame_of, next_block
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
_Done = TypeVar("_Done")
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
            try:
                with tempfile.TemporaryFile() as asked:
                    await self._receive(call, asked)
                    rows = await self._checked(seat, blocks_of(asked, kind))
                    told = await self._answered(call, seat, blocks_of(asked, kind, sound=True), batch)
            except OSError as error:
                reason = f"A batch needs room on the disk while it is scored: there is none ({error.strerror})."
                raise Refusal(503, "no-room", reason, headers={"retry-after": "10"}) from error
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

    async def _checked(self, seat: Seat, blocks: Iterator[pa.Table]) -> int:
        """Return the number of rows; raises `Refusal` for what is wrong before any row is scored, let alone kept."""
        rows = 0
        async with aclosing(self._in_order(blocks, partial(self._check, seat))) as checked:
            async for _, count in checked:
                rows += count
        if not rows:
            raise Refusal(422, "no-rows", "A batch has at least one row: this one has none.")
        return rows

    async def _answered(self, call: Call, seat: Seat, blocks: Iterator[pa.Table], batch: str) -> IO[bytes]:
        """Return a file with the answers of all rows, after all of them are kept."""
        told: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        keeping: asyncio.Task[None] | None = None
        try:
            with pa.ipc.new_stream(told, _TOLD.with_metadata({"snapshot": seat.snapshot})) as writer:
                async with aclosing(self._in_order(blocks, partial(self._scored, seat, batch))) as scored:
                    async for start, (block, table) in scored:
                        # The log takes a block while the next ones are scored; an answer leaves after all are kept.
                        if keeping is not None:
                            await keeping
                        keeping = asyncio.create_task(self._keep(call, seat, block, table, batch, start))
                        await asyncio.to_thread(writer.write_table, table)
                if keeping is not None:
                    await keeping
            await asyncio.to_thread(told.seek, 0)
        except BaseException:
            await stopped(keeping)
            told.close()
            raise
        return told

    async def _in_order(
        self, blocks: Iterator[pa.Table], work: Callable[[pa.Table, int], _Done]
    ) -> AsyncGenerator[tuple[int, _Done]]:
        """Yield each block's first row's number and what `work` makes of the two; meanwhile it works on the next ones.

        Raises `Refusal` beyond as many rows as a batch may have.
        """
        ahead: deque[tuple[int, asyncio.Future[_Done]]] = deque()
        loop, start, most = asyncio.get_running_loop(), 0, self._config.limits.batch_rows
        block = await asyncio.to_thread(next_block, blocks)
        try:
            while block is not None or ahead:
                if block is None or len(ahead) > _THREADS:
                    place, done = ahead.popleft()
                    yield place, await done
                    continue
                if start + block.num_rows > most:
                    raise Refusal(413, "too-many-rows", f"A batch has up to {most:,} rows. Cut it up.")
                ahead.append((start, loop.run_in_executor(self._pool, work, block, start)))
                start += block.num_rows
                block = await asyncio.to_thread(next_block, blocks)
        finally:
            await asyncio.gather(*(done for _, done in ahead), return_exceptions=True)

    def _check(self, seat: Seat, table: pa.Table, start: int) -> int:
        """Return the number of rows; raises `Refusal` with what is wrong."""
        block = frame_of(table)
        unknown = [name for name in block.columns if name not in seat.known]
        refused = unknown if self._config.unknown is Further.REFUSE else []
        lost = [name for name in self._config.required if name not in block.columns or block[name].null_count() > 0]
        found: Sequence[Fault] = ()
        try:
            seat.scorer.check(block)
        except DataError as error:
            found = error.faults
        if found or refused or lost:
            raise _faulty(
                column_faults(found, unknown=refused, lost=lost, sensitive=self._desk.hidden(seat)), start, block.height
            )
        return block.height

    def _scored(self, seat: Seat, batch: str, table: pa.Table, start: int) -> tuple[pl.DataFrame, pa.Table]:
        """Return the rows, and what is told of each."""
        block = frame_of(table, sound=True)
        try:
            probability = seat.scorer.many(block, threads=1, checked=True)
        except DataError as error:
            # What only shows while a row is read, such as a decision time that the memory lacks.
            hidden = self._desk.hidden(seat)
            raise _faulty(
                column_faults(error.faults, unknown=(), lost=(), sensitive=hidden), start, block.height
            ) from None
        exact = probability.astype(np.float64)
        points, verdicts = self._config.points.of_all(exact), self._config.policy.of_all(exact)
        # Through polars: pyarrow's own reading of lists imports pandas where that is installed.
        told = pl.DataFrame({"probability": probability, "points": points, "decision": verdicts})
        ids = pl.format(f"{batch}:{{}}", pl.int_range(start, start + block.height)).alias("decision_id")
        answers = told.select(ids, "probability", "points", "decision").to_arrow(compat_level=pl.CompatLevel.oldest())
        return block, answers.cast(_TOLD.with_metadata({"snapshot": seat.snapshot}))

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


def _faulty(faults: list[dict[str, Any]], start: int, rows: int) -> Refusal:
    reason = f"{len(faults)} faults were found between the rows {start} and {start + rows - 1}."
    return Refusal(422, "faulty-table", reason, faults=faults)


async def _pieces(told: IO[bytes]) -> AsyncIterator[bytes]:
    with told:
        while piece := await asyncio.to_thread(told.read, _PIECE):
            yield piece
