"""From a file or a frame to a checked `Dataset`."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from leanrisk.core.dataset import Dataset, conform
from leanrisk.core.errors import DataError
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data.contract import check
from leanrisk.data.dates import parsed_dates
from leanrisk.data.read import read_table, to_frame

_DATED = (Role.FEATURE, Role.PROTECTED, Role.TIME, Role.OUTCOME_TIME)


def load(source: Path | str | pl.DataFrame, schema: Schema, *, labelled: bool = True, checked: bool = False) -> Dataset:
    """Return the table at `source` as a `Dataset`, checked against `schema` and cast to its kinds.

    Raises `DataError` with every fault at once. Extra columns are dropped and the order is the schema's. With
    `labelled=False`, columns that only training needs may be absent; they come as nulls. `checked`: `check` found no
    fault in it before, and does not look again.
    """
    frame = read_table(source) if isinstance(source, Path | str) else to_frame(source)
    faults = () if checked else check(frame, schema, labelled=labelled)
    if faults:
        raise DataError(faults)
    known = None if schema.memory is None else schema.memory.known
    there = frozenset(frame.columns)
    readable = [
        _readable(frame[column.name], column, dated=column.role in _DATED or column.name == known)
        if column.name in there
        else pl.Series(column.name, [None], dtype=pl.Null).new_from_index(0, frame.height)
        for column in schema.columns
    ]
    return Dataset(conform(pl.DataFrame(readable), schema), schema)


def _readable(values: pl.Series, column: Column, *, dated: bool) -> pl.Series:
    if values.dtype == pl.String:
        if column.kind is Kind.DATE and dated:
            dates = parsed_dates(values)
            return values.cast(pl.Date, strict=False) if dates is None else dates
        if column.kind is Kind.NUMERIC and column.role in (Role.FEATURE, Role.PROTECTED):
            return values.str.strip_chars()
    return values
