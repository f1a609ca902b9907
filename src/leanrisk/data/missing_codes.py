"""Codes that stand for "no value": 96 and 98 among counts, -7, -8 and -9 of bureau files, 365243 days."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.schema import Scalar

_HIGH = (
    96, 97, 98, 99, 996, 997, 998, 999, 9996, 9997, 9998, 9999, 99996, 99997, 99998, 99999, 999999, 9999999, 99999999,
    999999999, 365243,
)  # fmt: skip
_LOW = (-6, -7, -8, -9, -66, -77, -88, -99, -666, -777, -888, -999, -9999, -99999, -999999, -9999999, -99999999)
_WORDS = frozenset(
    {"?", "na", "n/a", "n.a.", "#n/a", "xna", "xap", "nan", "null", "none given", "missing", "unknown", "not available"}
)
_LEAST_COUNT = 3
_WIDE_GAP = 10.0
"""A code lies this many usual steps beyond the last real value; a long tail's own gaps are narrower."""


def missing_codes(column: pl.Series) -> tuple[Scalar, ...]:
    """Return the values of a numeric or text column that look like codes for "no value", ascending.

    A numeric value counts only if it is a known code, stands at least three times, and lies apart from the bulk:
    below an otherwise non-negative column, or above the last real value by ten usual steps.
    """
    if column.dtype == pl.String:
        levels = column.drop_nulls().unique().sort().to_list()
        return tuple(level for level in levels if level.strip().lower() in _WORDS)
    if not column.dtype.is_numeric():
        return ()
    counts = column.drop_nulls().value_counts().sort(column.name)
    values = counts[column.name].cast(pl.Float64).to_numpy()
    rows = counts["count"].to_numpy()
    keep = np.isfinite(values)
    return _low_codes(values[keep], rows[keep]) + _high_codes(values[keep], rows[keep])


def _low_codes(values: npt.NDArray[np.float64], rows: npt.NDArray[np.uint32]) -> tuple[Scalar, ...]:
    below = values < 0
    if not below.any() or not np.isin(values[below], _LOW).all() or not (~below).any():
        return ()
    return tuple(int(value) for value in values[below]) if rows[below].sum() >= _LEAST_COUNT else ()


def _high_codes(values: npt.NDArray[np.float64], rows: npt.NDArray[np.uint32]) -> tuple[Scalar, ...]:
    first = values.size
    while first > 0 and values[first - 1] in _HIGH:
        first -= 1
    real = values[:first]
    if first == values.size or real.size < 2 or rows[first:].sum() < _LEAST_COUNT:
        return ()
    usual_step = float(np.median(np.diff(real[-max(10, real.size // 2) :])))
    apart = values[first] - real[-1] > _WIDE_GAP * usual_step
    return tuple(int(value) for value in values[first:]) if apart else ()
