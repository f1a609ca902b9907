"""What happened, row by row: when, when its outcome became known, and which nodes of the graph it touches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import level_text, outcome_labels
from leanrisk.core.errors import DataError, Fault
from leanrisk.core.memory import Entity, Memory
from leanrisk.core.schema import Role, Schema
from leanrisk.graph.keys import MISSING_KEY, Keys, code_texts, entity_keys, text_key

_DAY = 86_400_000_000
NEVER = np.inf
"""When an outcome is known that is not known yet, and may never be."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Events:
    """Events in no particular order, every array of shape (n,).

    `id` names an event, so that the same one twice counts once. `happened` and `known` (when the outcome was known,
    `NEVER` where it is not) are float64 in days since 1970-01-01, or in the unit of a decision time that counts.
    `outcome` is 1 for bad, 0 for good, NaN where unknown. `keys` holds a key for each entity level, `ends` the keys of
    source and target for each link.
    """

    id: Keys
    happened: Floats
    known: Floats
    outcome: npt.NDArray[np.float32]
    amount: npt.NDArray[np.float32]
    keys: Mapping[str, Keys]
    ends: Mapping[str, tuple[Keys, Keys]]

    @property
    def rows(self) -> int:
        """Number of events."""
        return int(self.id.size)

    @property
    def digest(self) -> str:
        """SHA-256 over what is known of the events, 64 hex digits; their order counts."""
        sums = sha256()
        for values in (self.id, self.happened, self.known, self.outcome, self.amount):
            sums.update(np.ascontiguousarray(values).tobytes())
        return sums.hexdigest()

    def take(self, rows: npt.NDArray[Any] | slice) -> Events:
        """Return these events (positions, a mask or a slice)."""
        return Events(
            self.id[rows],
            self.happened[rows],
            self.known[rows],
            self.outcome[rows],
            self.amount[rows],
            keys={name: values[rows] for name, values in self.keys.items()},
            ends={name: (source[rows], target[rows]) for name, (source, target) in self.ends.items()},
        )

    @classmethod
    def joined(cls, *parts: Events) -> Events:
        """Return all events of the parts, the first part's first."""
        return cls(
            id=np.concatenate([part.id for part in parts]),
            happened=np.concatenate([part.happened for part in parts]),
            known=np.concatenate([part.known for part in parts]),
            outcome=np.concatenate([part.outcome for part in parts]),
            amount=np.concatenate([part.amount for part in parts]),
            keys={name: np.concatenate([part.keys[name] for part in parts]) for name in parts[0].keys},
            ends={
                name: (
                    np.concatenate([part.ends[name][0] for part in parts]),
                    np.concatenate([part.ends[name][1] for part in parts]),
                )
                for name in parts[0].ends
            },
        )


def events_of(frame: pl.DataFrame, schema: Schema, memory: Memory) -> Events:
    """Return the events that rows of a table are, under its schema.

    Raises `DataError` naming each column that is missing, and a decision time that is null or no time at all.
    """
    _check_columns(frame, schema, memory)
    frame = _without_codes(frame, schema, memory)
    happened = moments(frame[str(schema.time)])
    if np.isnan(happened).any():
        raise DataError([_undated(str(schema.time), int(np.isnan(happened).sum()))])
    outcome = _outcomes(frame, schema)
    return Events(
        _ids(frame, schema, memory),
        happened,
        _known(frame, memory, happened, outcome, timed=isinstance(frame[str(schema.time)].dtype, pl.Datetime)),
        outcome,
        _amounts(frame, memory),
        keys={level: keys for entity in memory.entities for level, keys in _levels(frame, entity)},
        ends={
            link.name: (entity_keys(frame, [link.source]), entity_keys(frame, [link.target])) for link in memory.links
        },
    )


def moments(column: pl.Series) -> Floats:
    """Return a column of dates, datetimes or numbers as days (or its own unit), float64, NaN where null.

    Raises `DataError` for anything else.
    """
    if column.dtype.is_temporal():
        ticks = column.cast(pl.Datetime("us")).cast(pl.Int64)
        days = (ticks // _DAY).cast(pl.Float64) + (ticks % _DAY) / _DAY
        return days.fill_null(np.nan).to_numpy()
    if column.dtype.is_numeric() or column.null_count() == column.len():
        return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    message = f"a memory reads times here: the column holds {column.dtype}."
    raise DataError([Fault("not-a-time", message, "Convert it to dates or numbers.", column.name)])


def _outcomes(frame: pl.DataFrame, schema: Schema) -> npt.NDArray[np.float32]:
    target = schema.target
    if target is None or target not in frame.columns or not schema.positive:
        return np.full(frame.height, np.nan, dtype=np.float32)
    return outcome_labels(frame[target], schema)


def _amounts(frame: pl.DataFrame, memory: Memory) -> npt.NDArray[np.float32]:
    if not memory.amount:
        return np.zeros(frame.height, dtype=np.float32)
    amount = frame[memory.amount].cast(pl.Float32, strict=False).fill_null(0.0).to_numpy()
    # One infinite amount would make every later sum infinite.
    return np.where(np.isfinite(amount), amount, np.float32(0.0))


def _known(
    frame: pl.DataFrame, memory: Memory, happened: Floats, outcome: npt.NDArray[np.float32], *, timed: bool
) -> Floats:
    known = happened + np.where(outcome == 1, memory.delay, memory.maturity)
    if memory.known and memory.known in frame.columns:
        told = moments(frame[memory.known])
        if frame[memory.known].dtype == pl.Date and timed:
            # All that is known is the day: beside decisions by the hour it was known for sure when the day was over.
            told = told + 1.0
        # Nobody knows an outcome before there is a decision: such a date is an error of the file.
        known = np.where(np.isnan(told), known, np.maximum(told, happened))
    if memory.whole_cohorts:
        known = np.maximum(known, happened + memory.maturity)
    return np.where(np.isfinite(outcome), known, NEVER)


def _levels(frame: pl.DataFrame, entity: Entity) -> list[tuple[str, Keys]]:
    sizes = (None, *entity.prefixes)
    return [
        (level, entity_keys(frame, entity.columns, size=size)) for level, size in zip(entity.levels, sizes, strict=True)
    ]


def _ids(frame: pl.DataFrame, schema: Schema, memory: Memory) -> Keys:
    name = schema.single(Role.ID)
    told = name is not None and name in frame.columns
    ids = entity_keys(frame, [str(name)]) if told else np.zeros(frame.height, dtype=np.uint64)
    nameless = np.flatnonzero(ids == MISSING_KEY)
    if nameless.size:
        ids = ids.copy()
        ids[nameless] = _content_ids(frame[nameless], schema, memory)
    return ids


def _content_ids(frame: pl.DataFrame, schema: Schema, memory: Memory) -> Keys:
    # Without ids a row is told by what the memory reads of it, and rows alike in that by their order.
    texts = [level_text(frame[name]).fill_null("\0") for name in dict.fromkeys([*memory.columns, str(schema.time)])]
    texts += [level_text(frame[memory.amount]).fill_null("\0")] if memory.amount else []
    alike = pl.DataFrame({"text": pl.select(pl.concat_str(texts, separator="\x1f")).to_series()})
    numbered = alike.select(pl.col("text") + "\x1f" + pl.int_range(pl.len()).over("text").cast(pl.String)).to_series()
    return np.fromiter(map(text_key, numbered), dtype=np.uint64, count=frame.height)


def _without_codes(frame: pl.DataFrame, schema: Schema, memory: Memory) -> pl.DataFrame:
    """Return the table with null where a code stands for "no value": nobody is named by it."""
    coded = {name: code_texts(schema[name].missing_codes) for name in memory.columns if schema[name].missing_codes}
    texts = {name: level_text(frame[name]) for name in coded}
    return frame.with_columns(
        values.set(values.is_in(coded[name]).fill_null(False), None).alias(name) for name, values in texts.items()
    )


def _check_columns(frame: pl.DataFrame, schema: Schema, memory: Memory) -> None:
    needed = [*memory.columns, str(schema.time), *([memory.amount] if memory.amount else [])]
    lost = [name for name in dict.fromkeys(needed) if name not in frame.columns]
    if lost:
        raise DataError([_absent(name) for name in lost])


def _absent(name: str) -> Fault:
    return Fault(
        "column-missing", "the memory needs this column and the table lacks it.", "Add it, null where unknown.", name
    )


def _undated(name: str, count: int) -> Fault:
    message = f"a memory answers as of the decision: {count:,} rows have no decision time."
    return Fault("undated", message, "Remove those rows, or fill their times.", name)
