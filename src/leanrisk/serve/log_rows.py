"""What the log keeps of a decision: rows for the table, and the same rows as frames for the write-ahead file."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from leanrisk.records.decisions import KeptBlock, KeptDecision
from leanrisk.serve.protocols import Block, Decision
from leanrisk.serve.record_privacy import Keeper

Row = KeptDecision | KeptBlock
_DECISION, _BLOCK = b"D", b"B"
_LENGTHS = struct.Struct("<II")
_encode = json.JSONEncoder(separators=(",", ":")).encode


def rows_of(what: Sequence[Decision] | Block, keeper: Keeper) -> list[Row]:
    """Return what is kept of decisions or of a block, without fields that may not be."""
    if isinstance(what, Block):
        asked = _arrow(keeper.kept_rows(what.rows, what.privacy))
        head = (what.batch, what.start, what.told.num_rows, what.moment, what.snapshot, what.caller, what.request)
        return [KeptBlock(*head, asked, _arrow(what.told))]
    return [_row(decision, keeper) for decision in what]


def key_of(row: Row) -> tuple[str, Any]:
    """Return what a row may be there once by: (id, alias) of a decision, (batch, start) of a block."""
    return (row.batch, row.start) if isinstance(row, KeptBlock) else (row.id, row.alias)


def _row(made: Decision, keeper: Keeper) -> KeptDecision:
    record = _encode(keeper.kept(made.record, made.privacy))
    named = (made.id, made.alias, made.moment, made.snapshot, made.caller, made.request)
    return KeptDecision(*named, record, made.probability, made.points, made.decision)


def answer_of(made: Decision, row: KeptDecision) -> Decision:
    """Return the decision as it was answered before, for a repeated id."""
    return replace(
        made,
        moment=row.moment,
        snapshot=row.snapshot,
        caller=row.caller,
        request=row.request,
        probability=row.probability,
        points=row.points,
        decision=row.decision,
    )


def body_of(row: Row) -> bytes:
    """Return a row as the body of a frame."""
    if isinstance(row, KeptDecision):
        return _DECISION + _encode(row).encode()
    head = _encode(row[:7]).encode()
    return b"".join((_BLOCK, _LENGTHS.pack(len(head), len(row.asked)), head, row.asked, row.told))


def row_of(body: bytes) -> Row:
    """Return the row that `body_of` wrote."""
    if body[:1] == _DECISION:
        return KeptDecision(*json.loads(body[1:]))
    head, asked = _LENGTHS.unpack(body[1 : 1 + _LENGTHS.size])
    start = 1 + _LENGTHS.size
    middle, end = start + head, start + head + asked
    batch, first, rows, moment, snapshot, caller, request = json.loads(body[start:middle])
    return KeptBlock(batch, first, rows, moment, snapshot, caller, request, body[middle:end], body[end:])


def _arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue()
