"""SMOTE-NC: new rows between a row and one of its neighbours; the simple remedy that a generator has to beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.seeding import generator
from leanrisk.models.synthesis.typed_columns import (
    is_number,
    level_column,
    levels_of,
    number_column,
    numbers_of,
    plain_dtype,
)

NEIGHBOURS = 5


def smote(rows: pl.DataFrame, count: int, *, seed: int, neighbours: int = NEIGHBOURS) -> pl.DataFrame:
    """Return `count` new rows like `rows`, all of one class: numbers between two rows, levels most neighbours have.

    Distances are Euclidean over standardised numbers, a differing level counts as their median spread; a missing number
    counts as the mean, and stays missing where the row from which one sets out misses it. Raises `ModelError` below two
    rows. Source: Chawla et al. (2002), "SMOTE: Synthetic Minority Over-sampling Technique", sections 4.2 and 6.1.
    """
    if count < 1:
        raise ConfigError(f"At least one row must be asked for: it is {count}. Give a number of 1 or more.")
    if rows.height < 2:
        raise ModelError(f"A row between two rows needs two of them: there is {rows.height}. Bring more bads.")
    types = {name: plain_dtype(rows[name]) for name in rows.columns}
    numeric = [name for name in rows.columns if is_number(types[name])]
    nominal = [name for name in rows.columns if name not in numeric]
    values = np.stack([numbers_of(rows[name]) for name in numeric], axis=1) if numeric else np.empty((rows.height, 0))
    levels = [levels_of(rows[name]) for name in nominal]
    codes = np.stack([one.rank("dense").fill_null(0).to_numpy() for one in levels], axis=1) if levels else None
    near = _neighbours(values, codes, min(neighbours, rows.height - 1))
    rng = generator(seed, "smote")
    base = rng.integers(rows.height, size=count)
    other = near[base, rng.integers(near.shape[1], size=count)]
    share = rng.random((count, 1))
    made = values[base] + share * np.nan_to_num(values[other] - values[base])
    columns = {name: number_column(name, made[:, place], types[name]) for place, name in enumerate(numeric)}
    for place, name in enumerate(nominal):
        assert codes is not None
        columns[name] = level_column(levels[place].gather(_commonest(codes[:, place], near)[base]), types[name])
    return pl.DataFrame({name: columns[name] for name in rows.columns})


def _neighbours(
    values: npt.NDArray[np.float64], codes: npt.NDArray[np.uint32] | None, count: int
) -> npt.NDArray[np.int64]:
    """Return the positions of each row's nearest others, (rows, count)."""
    known = np.isfinite(values)
    total = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, values, 0.0).sum(axis=0) / total
    rest = np.where(known, values - centre, 0.0)
    spread = np.sqrt((rest**2).sum(axis=0) / total)
    scaled = rest / np.where(spread > 0, spread, 1.0)
    squares = (scaled**2).sum(axis=1)
    distance = squares[:, None] + squares[None, :] - 2.0 * scaled @ scaled.T
    for place in range(0 if codes is None else codes.shape[1]):
        assert codes is not None
        distance += codes[:, place, None] != codes[None, :, place]
    np.fill_diagonal(distance, np.inf)
    return np.argpartition(distance, count - 1, axis=1)[:, :count].astype(np.int64)


def _commonest(codes: npt.NDArray[np.uint32], near: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return for each row the position of a neighbour whose level most of its neighbours have."""
    found = codes[near]
    votes = (found[:, :, None] == found[:, None, :]).sum(axis=2)
    return np.asarray(near[np.arange(near.shape[0]), votes.argmax(axis=1)])
