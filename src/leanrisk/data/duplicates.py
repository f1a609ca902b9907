"""Columns and rows that are in a table twice."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

_Signature = tuple[str, int, int, float]


def duplicate_columns(columns: Sequence[pl.Series]) -> dict[str, str]:
    """Return {column: earlier column} for each column that equals an earlier one, whatever the width of its type.

    Constant columns are left out: they have a finding of their own.
    """
    seen: dict[_Signature, list[pl.Series]] = {}
    twins: dict[str, str] = {}
    for column in columns:
        plain = _plain(column)
        if plain is None:
            continue
        alike = seen.setdefault(_signature(plain), [])
        twin = next((earlier for earlier in alike if earlier.equals(plain, null_equal=True)), None)
        if twin is None:
            alike.append(plain)
        else:
            twins[column.name] = twin.name
    return twins


def duplicate_rows(frame: pl.DataFrame) -> int:
    """Return how many rows repeat an earlier row in every column; 0 where a column's type has no equality."""
    comparable = [name for name, dtype in frame.schema.items() if not dtype.is_nested() and dtype != pl.Object]
    if not comparable or len(comparable) < frame.width:
        return 0
    return frame.height - frame.n_unique()


def _plain(column: pl.Series) -> pl.Series | None:
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        plain = column.cast(pl.Float64)
    elif column.dtype == pl.String or column.dtype.is_temporal():
        plain = column
    else:
        return None
    return plain if plain.n_unique() > 1 else None


def _signature(column: pl.Series) -> _Signature:
    total = float(column.sum()) if column.dtype == pl.Float64 else 0.0
    return str(column.dtype), column.null_count(), column.n_unique(), total
