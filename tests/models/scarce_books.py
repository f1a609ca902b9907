"""Books of few bads: six numbers of which four tell them, a region, a day, and a column that nothing reads."""

import numpy as np
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.schema import Column, Kind, Role, Schema

NUMBERS = tuple(f"x{place}" for place in range(6))


def schema() -> Schema:
    return Schema(
        (
            *(Column(name, Kind.NUMERIC) for name in NUMBERS),
            Column("region", Kind.CATEGORY),
            Column("day", Kind.DATE, Role.TIME),
            Column("note", Kind.CATEGORY, Role.IGNORED),
            Column("bad", Kind.NUMERIC, Role.TARGET),
        )
    )


def book(rows: int, bads: int, *, seed: int, signal: float = 1.3) -> Dataset:
    rng = np.random.default_rng(seed)
    bad = rng.permutation(rows) < bads
    frame = pl.DataFrame(
        {
            **{name: rng.normal(size=rows) + signal * bad * (place < 4) for place, name in enumerate(NUMBERS)},
            "region": np.where(rng.random(rows) < 0.3, "south", "north"),
            "day": pl.Series(np.datetime64("2024-01-01") + rng.integers(0, 300, rows)).cast(pl.Date),
            "note": ["n"] * rows,
            "bad": bad.astype(np.int8),
        }
    )
    return Dataset(frame.with_columns(pl.col(NUMBERS).cast(pl.Float32)), schema())
