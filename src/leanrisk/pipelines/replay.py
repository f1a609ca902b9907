"""Rows of earlier rounds that a bundle keeps for training: what a refresh replays and compares new rows with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from leanrisk.core.dataset import Dataset, conform
from leanrisk.core.errors import BundleError, DataError, Fault
from leanrisk.core.files import replacing
from leanrisk.core.schema import Role, Schema
from leanrisk.core.seeding import generator
from leanrisk.data.read import read_table

REPLAY = "replay.parquet"
"""File of the kept rows in a bundle's training folder."""

_KEPT = (Role.FEATURE, Role.TARGET, Role.TIME)
_TAUGHT = (*_KEPT, Role.OUTCOME_TIME)


def save_replay(folder: Path, rows: Dataset, *, keep: int, seed: int) -> None:
    """Write a random sample of `keep` rows into a bundle's training folder: features, outcome, decision time.

    No id and no protected column is written that the model does not read. With `keep` 0 there is no file.
    """
    if not keep or not rows.rows:
        return
    chosen = generator(seed, "kept").choice(rows.rows, size=min(keep, rows.rows), replace=False)
    with replacing(folder / REPLAY) as part:
        rows.take(np.sort(chosen)).frame.select(_names(rows.schema, _KEPT)).write_parquet(part, compression="zstd")


def load_replay(folder: Path, schema: Schema) -> Dataset | None:
    """Return the rows that `save_replay` wrote, None where there are none; columns not kept are null.

    Raises `BundleError` where the file is damaged or its columns are not the schema's.
    """
    path = folder / REPLAY
    if not path.exists():
        return None
    try:
        kept = read_table(path)
    except DataError as error:
        raise BundleError(f"A bundle's kept rows must be readable: {error} Restore the bundle.") from error
    names = _names(schema, _KEPT)
    if set(kept.columns) != set(names):
        other = sorted(set(kept.columns) ^ set(names))
        raise BundleError(
            f"A bundle's kept rows have the columns of its schema: '{path}' differs in '{other[0]}'. Restore the "
            "bundle from its source."
        )
    absent = [column.name for column in schema.columns if column.name not in kept.columns]
    frame = kept.with_columns(pl.lit(None).alias(name) for name in absent)
    return Dataset(conform(frame, schema), schema)


def alongside(older: Dataset, new: Dataset) -> Dataset:
    """Return the older rows in the dtypes of the new ones, so that both can be taught, without rows that stand in both.

    A row stands in both where its id does, or, without ids, its features, outcome and time. Columns that no lesson
    reads are null. Raises `DataError` where a column cannot be read as it is in the new rows.
    """
    taught, types = set(_names(new.schema, _TAUGHT)), new.frame.schema
    columns = {
        name: _carried(older.frame[name], dtype)
        if name in taught
        else pl.Series(name, [None] * older.rows, dtype=dtype)
        for name, dtype in types.items()
    }
    lost = [name for name, values in columns.items() if values is None]
    if not lost:
        aligned = replace(older, frame=pl.DataFrame(columns))
        if np.array_equal(aligned.labels, older.labels, equal_nan=True):
            return aligned.where(~_among(older, aligned, new))
        lost = [str(new.schema.target)]
    raise DataError([_retyped(name, older.frame[name].dtype, types[name]) for name in lost])


def _carried(values: pl.Series, dtype: pl.DataType) -> pl.Series | None:
    """Return the values in another dtype, None where one of them does not go over."""
    try:
        cast = values.cast(dtype, strict=False)
    except pl.exceptions.PolarsError:
        return None
    return None if cast.null_count() > values.null_count() else cast


def _among(older: Dataset, aligned: Dataset, new: Dataset) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return a mask of the older rows that are among the new ones too, shape (rows,)."""
    key = new.schema.single(Role.ID)
    if key is not None and not older.frame[key].is_null().all():
        known = new.frame[key].cast(pl.String).drop_nulls()
        return older.frame[key].cast(pl.String).is_in(known.implode()).fill_null(False).to_numpy()
    names = _names(new.schema, _KEPT)
    rows = (side.frame.select(names).hash_rows(seed=0) for side in (aligned, new))
    ours, theirs = rows
    return ours.is_in(theirs.implode()).to_numpy()


def _names(schema: Schema, roles: tuple[Role, ...]) -> list[str]:
    return [column.name for column in schema.columns if column.role in roles]


def _retyped(name: str, before: pl.DataType, now: pl.DataType) -> Fault:
    return Fault(
        "column-retyped",
        f"the older rows hold {before}, the new ones {now}, and the values do not carry over.",
        "Write it as in the older rows, or bring older rows that are written alike with --replay.",
        name,
    )
