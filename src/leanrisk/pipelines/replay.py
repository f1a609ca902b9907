"""Rows of earlier rounds that a bundle keeps for training: what a refresh replays and compares new rows with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from leanrisk.core.dataset import Dataset, conform
from leanrisk.core.errors import BundleError
from leanrisk.core.files import replacing
from leanrisk.core.schema import Role, Schema
from leanrisk.core.seeding import generator

_FILE = "replay.parquet"
_KEPT = (Role.FEATURE, Role.TARGET, Role.TIME)


def save_replay(folder: Path, rows: Dataset, *, keep: int, seed: int) -> None:
    """Write a random sample of `keep` rows into a bundle's training folder: features, outcome, decision time.

    No id and no protected column is written that the model does not read. With `keep` 0 there is no file.
    """
    if not keep or not rows.rows:
        return
    chosen = generator(seed, "kept").choice(rows.rows, size=min(keep, rows.rows), replace=False)
    names = [column.name for column in rows.schema.columns if column.role in _KEPT]
    with replacing(folder / _FILE) as part:
        rows.take(np.sort(chosen)).frame.select(names).write_parquet(part, compression="zstd")


def load_replay(folder: Path, schema: Schema) -> Dataset | None:
    """Return the rows that `save_replay` wrote, None where there are none; columns not kept are null.

    Raises `BundleError` where the file is damaged or its columns are not the schema's.
    """
    path = folder / _FILE
    if not path.is_file():
        return None
    try:
        kept = pl.read_parquet(path)
        absent = [column.name for column in schema.columns if column.name not in kept.columns]
        frame = kept.with_columns(pl.lit(None).alias(name) for name in absent)
        return Dataset(conform(frame, schema), schema)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BundleError(
            f"A bundle's kept rows must be readable: '{path}' is not ({error}). Restore the bundle from its source."
        ) from error
