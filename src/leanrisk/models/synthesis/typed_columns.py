"""Columns of a table as numbers or as text, and back to the type that they had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

_DTYPES: Mapping[str, Any] = {
    dtype.__name__: dtype
    for dtype in (
        *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
        *(pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Date, pl.Datetime),
    )
}
_DAY_US = 86_400_000_000


def has_code(dtype: pl.DataType) -> bool:
    """Return whether columns of this type can be coded."""
    return dtype.base_type().__name__ in {*_DTYPES, "Categorical", "Enum", "Null"}


def plain_dtype(values: pl.Series) -> str:
    """Return the name of the type that a generated column has."""
    name = values.dtype.base_type().__name__
    if name in ("Categorical", "Enum"):
        return "String"
    # Nothing but nulls: a number that is always missing.
    return "Float64" if name == "Null" else name


def is_number(dtype: str) -> bool:
    """Return whether a column of this type is a number or a date."""
    return dtype not in ("String", "Boolean")


def numbers_of(values: pl.Series) -> npt.NDArray[np.float64]:
    """Return a number or a date (days since 1970-01-01) as float64 (rows,), NaN where missing."""
    if values.dtype == pl.Date:
        values = values.cast(pl.Int32)
    elif values.dtype == pl.Datetime:
        values = values.cast(pl.Datetime("us")).cast(pl.Int64)
        return np.asarray(values.cast(pl.Float64).fill_null(float("nan")).to_numpy()) / _DAY_US
    return np.asarray(values.cast(pl.Float64).fill_null(float("nan")).to_numpy())


def levels_of(values: pl.Series) -> pl.Series:
    """Return a text or a truth value as String."""
    return values.cast(pl.String)


def number_column(name: str, values: npt.NDArray[np.float64], dtype: str) -> pl.Series:
    """Return float64 values (rows,) as a column of this type; what does not fit it becomes null."""
    series = pl.Series(name, values).fill_nan(None)
    if dtype == "Datetime":
        return (series * _DAY_US).round().cast(pl.Int64).cast(pl.Datetime("us"))
    if dtype == "Date":
        return series.round().cast(pl.Int32).cast(pl.Date)
    whole = series.round() if "Int" in dtype else series
    return whole.cast(_DTYPES[dtype], strict=False)


def level_column(values: pl.Series, dtype: str) -> pl.Series:
    """Return levels as a column of this type."""
    return values if dtype == "String" else values == "true"
