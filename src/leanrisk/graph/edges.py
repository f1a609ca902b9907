"""Edges as rows: who, to whom, from when on it is known, until when it holds, and how much it weighs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.edge_table import EdgeKind, EdgeTable
from leanrisk.core.errors import DataError, Fault
from leanrisk.graph.events import NEVER, Floats, moments
from leanrisk.graph.history import Places
from leanrisk.graph.keys import MISSING_KEY, Keys, entity_keys

_THING = np.uint64(0x9E3779B97F4A7C15)
"""Turns the key of a shared thing into one that no entity of the same name has."""


@dataclass(frozen=True)
class Edges:
    """Edges of one table in the order of arrival, every array of shape (n,), no two alike and none to itself.

    `source` and `target` are keys as `entity_keys` gives them. An edge counts for moments t with known < t <= until,
    both in days since 1970-01-01 or in the unit of a decision time that counts; `until` is infinite where no end is
    told. `amount` is 0 where there is none.
    """

    source: Keys
    target: Keys
    known: Floats
    until: Floats
    amount: Floats

    @property
    def rows(self) -> int:
        """Number of edges."""
        return int(self.source.size)

    @property
    def digest(self) -> str:
        """SHA-256 over all values, 64 hex digits; their order counts."""
        sums = sha256()
        for values in self.arrays().values():
            sums.update(np.ascontiguousarray(values).tobytes())
        return sums.hexdigest()

    def take(self, rows: npt.NDArray[Any] | slice) -> Edges:
        """Return these edges (positions, a mask or a slice)."""
        return Edges(**{name: values[rows] for name, values in self.arrays().items()})

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the columns by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Edges:
        """Return the edges that gave `arrays`; raises `KeyError` for one that is missing."""
        return cls(**{entry.name: arrays[entry.name] for entry in fields(cls)})

    @classmethod
    def none(cls) -> Edges:
        """Return no edges at all."""
        keys, numbers = np.empty(0, dtype=np.uint64), np.empty(0)
        return cls(keys, keys, numbers, numbers, numbers)


@dataclass(frozen=True)
class AbsorbedEdges:
    """What a batch of edges brought: `new` ones, ends told of known ones (`ended`), and `duplicates`.

    `late` ones were known before what the store had absorbed already: they count from now on.
    """

    edges: str
    new: int
    ended: int
    duplicates: int
    late: int

    def told(self) -> str:
        """Return the figures as a sentence for a person."""
        late = f" {self.late:,} of them came late: what was scored before is not rewritten." if self.late else ""
        return (
            f"edges {self.edges}: {self.new:,} new, {self.ended:,} ends of known ones, "
            f"{self.duplicates:,} duplicates.{late}"
        )

    def noted(self) -> dict[str, Any]:
        """Return the figures by name, for a record."""
        return asdict(self)


def edges_of(frame: pl.DataFrame, table: EdgeTable, *, counts: bool) -> Edges:
    """Return the edges in a table: each once, without those that lead back to where they start.

    `counts`: whether decision times are numbers that count, as the table's own times must be then. A date counts from
    the end of its day on, since nobody knows its hour. Raises `DataError` with every fault at once: columns that are
    missing, ends without a name, times that cannot be read or that run backwards, amounts below 0 or infinite.
    """
    lost = [name for name in table.columns if name not in frame.columns]
    if lost:
        raise DataError([_absent(name, table) for name in lost])
    faults = [*_endless(frame, table), *_timeless(frame, table, counts), *_unweighed(frame, table)]
    if faults:
        raise DataError(faults)
    known = _closing(frame[table.time])
    until = _closing(frame[table.until]) if table.until else np.full(frame.height, NEVER)
    until = np.where(np.isnan(until), NEVER, until)
    backwards = int((until < known).sum())
    if backwards:
        raise DataError([_backwards(table, backwards)])
    amount = frame[table.amount].cast(pl.Float64).fill_null(0.0).to_numpy() if table.amount else np.zeros(frame.height)
    source, target = entity_keys(frame, [table.source]), entity_keys(frame, [table.target])
    apart = source != target
    if table.kind is EdgeKind.SHARED:
        target, apart = thing_keys(target), np.ones(frame.height, dtype=np.bool_)
    return merged_edges(Edges.none(), Edges(source, target, known, until, amount).take(apart))[0]


def thing_keys(keys: Keys) -> Keys:
    """Return keys of shared things that no entity of the same name has; never `MISSING_KEY`."""
    mixed = (keys ^ _THING) * np.uint64(0xBF58476D1CE4E5B9)
    return np.where(mixed == MISSING_KEY, np.uint64(1), mixed)


def merged_edges(edges: Edges, more: Edges) -> tuple[Edges, Places, Places]:
    """Return the edges with those of `more` that are not among them, the rows of these, and the rows that ended.

    Two edges are one where ends, time and amount are alike. An end is filled in where none was told so far; one that
    was told stays.
    """
    plain = ("source", "target", "known", "amount")
    both = {name: np.concatenate([values, more.arrays()[name]]) for name, values in edges.arrays().items()}
    order = np.lexsort([np.arange(both["source"].size), *(both[name] for name in plain)])
    same = np.ones(max(order.size - 1, 0), dtype=np.bool_)
    for name in plain:
        same &= both[name][order][1:] == both[name][order][:-1]
    begins = np.flatnonzero(np.concatenate([[True], ~same])) if order.size else np.empty(0, dtype=np.int64)
    # Rows of one edge stand together, the earliest first: it is the one that stays.
    first = order[begins]
    group = np.repeat(np.arange(begins.size), np.diff(np.append(begins, order.size)))
    told = np.isfinite(both["until"][order])
    until = both["until"].copy()
    # Of several ends the one that was told first: groups are walked backwards, so that it is written last.
    rows = np.flatnonzero(told)[::-1]
    until[first[group[rows]]] = both["until"][order[rows]]
    ended = first[(first < edges.rows) & np.isfinite(until[first])]
    ended = np.sort(ended[~np.isfinite(edges.until[ended])])
    kept = np.sort(first)
    result = Edges(**{**{name: both[name][kept] for name in plain}, "until": until[kept]})
    return result, np.arange(edges.rows, kept.size), ended


def _closing(column: pl.Series) -> Floats:
    """Return times as `moments` does; a date is the last moment of its day."""
    at = moments(column)
    return np.nextafter(at + 1.0, -np.inf) if column.dtype == pl.Date else at


def _endless(frame: pl.DataFrame, table: EdgeTable) -> list[Fault]:
    faults = []
    for name in (table.source, table.target):
        empty = int((entity_keys(frame, [name]) == MISSING_KEY).sum())
        if empty:
            message = f"an edge has two ends: {empty:,} rows of '{table.name}' name none here."
            faults.append(Fault("edge-without-end", message, "Remove those rows, or fill them in.", name))
    return faults


def _timeless(frame: pl.DataFrame, table: EdgeTable, counts: bool) -> list[Fault]:
    faults = []
    for name in filter(None, (table.time, table.until)):
        column = frame[name]
        empty = column.null_count() + (int(column.is_nan().sum()) if column.dtype.is_float() else 0)
        if empty == column.len() and name == table.until:
            continue
        if column.dtype.is_numeric() != counts or not (column.dtype.is_temporal() or column.dtype.is_numeric()):
            wanted = "numbers, as the decision time is" if counts else "dates, as the decision time is"
            message = f"times of edges '{table.name}' are {wanted}: the column holds {column.dtype}."
            faults.append(Fault("not-a-time", message, "Convert it, or name another column.", name))
        elif empty and name == table.time:
            message = f"an edge counts from its time on: {empty:,} rows of '{table.name}' have none."
            faults.append(Fault("undated", message, "Remove those rows, or fill their times.", name))
        elif column.dtype.is_float() and column.is_infinite().any():
            message = f"times of edges '{table.name}' are finite: some are not."
            faults.append(Fault("not-a-time", message, "Leave an end that is not known empty.", name))
    return faults


def _unweighed(frame: pl.DataFrame, table: EdgeTable) -> list[Fault]:
    if not table.amount:
        return []
    column = frame[table.amount]
    if not column.dtype.is_numeric():
        message = f"amounts of edges '{table.name}' are numbers: the column holds {column.dtype}."
        return [Fault("not-an-amount", message, "Convert it, or name another column.", table.amount)]
    values = column.cast(pl.Float64).drop_nulls()
    wrong = int((~values.is_finite() | (values < 0)).sum())
    if not wrong:
        return []
    message = f"amounts of edges '{table.name}' are finite and not negative: {wrong:,} are not."
    return [Fault("not-an-amount", message, "Correct those rows; leave an unknown amount empty.", table.amount)]


def _absent(name: str, table: EdgeTable) -> Fault:
    message = f"the schema names this column of edges '{table.name}' and the table lacks it."
    return Fault("column-missing", message, "Add it, or correct [memory] in the schema.", name)


def _backwards(table: EdgeTable, count: int) -> Fault:
    message = f"an edge ends no earlier than it is known: {count:,} rows of '{table.name}' do."
    return Fault("edge-ends-early", message, "Correct those rows.", table.until)
