"""A small loan book for tests of incumbents, and the encoder that reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from leanrisk.core.inputs import CategoryField, Fields, NumericField
from leanrisk.features.encoder import Encoder
from leanrisk.models.incumbent import Reading

SECTORS = tuple(f"sector {letter}" for letter in "abcdefgh")


def small_fields() -> Fields:
    """Return the fields of `small_book`: three numbers, one of them with the special code -9, and two categories."""
    edges = tuple(float(edge) for edge in np.linspace(-2, 2, 9))
    numbers = (NumericField("income", edges), NumericField("debt", edges), NumericField("age", edges, (-9.0,)))
    return Fields(numbers, (CategoryField("sector", SECTORS), CategoryField("home", ("own", "rent"))))


def small_book(rows: int, *, seed: int, odd: bool = False, noise: bool = False) -> pl.DataFrame:
    """Return loans with gaps, a special code and outcomes that depend on three columns (none with `noise`).

    `odd` adds levels that no model has seen.
    """
    rng = np.random.default_rng(seed)
    income, debt, age = (rng.normal(size=rows).astype(np.float32) for _ in range(3))
    sector = rng.integers(0, len(SECTORS), size=rows)
    margin = -1.2 - 1.1 * income + 0.8 * debt * (debt > 0) + np.linspace(-1, 1, len(SECTORS))[sector]
    bad = rng.random(rows) < (0.25 if noise else 1 / (1 + np.exp(-margin)))
    income[rng.random(rows) < 0.1] = np.nan
    age[rng.random(rows) < 0.1] = -9.0
    names = [SECTORS[place] for place in sector]
    homes: list[str | None] = ["own", "rent", None]
    home = [homes[place] for place in rng.choice(3, size=rows, p=[0.5, 0.4, 0.1])]
    if odd:
        names[::7] = ["sector unknown to all"] * len(names[::7])
        home[::5] = [None] * len(home[::5])
    numbers = {"income": pl.Series(income).fill_nan(None), "debt": debt, "age": age}
    return pl.DataFrame({**numbers, "sector": names, "home": home, "bad": bad.astype(np.int8)})


def records_of(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as a service would receive them."""
    return frame.drop("bad").to_dicts()


ENCODER = Encoder(small_fields())
READING = Reading(ENCODER.inputs, ENCODER.record)
