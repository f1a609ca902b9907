"""What a scikit-learn estimator is handed, as a frame with a schema: arrays by position, tables by name and dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import DataError, Fault
from leanrisk.core.schema import Column, Kind, Role, Scalar, Schema
from leanrisk.data.load import load
from leanrisk.data.read import to_frame

_HOMES = ("pandas", "polars", "pyarrow")


def is_table(X: Any) -> bool:
    """Return whether `X` has columns with names and types of their own; anything else is read as an array."""
    # scipy's dictionary of keys is a mapping too, but a sparse matrix, which is refused as an array.
    is_columns = isinstance(X, Mapping) and not hasattr(X, "shape")
    return is_columns or type(X).__module__.partition(".")[0] in _HOMES


def is_pandas(X: Any) -> bool:
    """Return whether `X` is a pandas table."""
    return type(X).__module__.partition(".")[0] == "pandas" and hasattr(X, "columns")


def table_schema(frame: pl.DataFrame, X: Any, *, positive: tuple[Scalar, ...], note: str = "") -> Schema:
    """Return the schema of a training table, its target column (with this `note`) last, under a name of its own.

    Numbers and booleans are numeric; text, Categorical, Enum and pandas' `category` are categories, whatever they
    hold; dates are dates. Raises `DataError` naming every column of another type.
    """
    marked = {str(name) for name in X.columns if str(X[name].dtype) == "category"} if is_pandas(X) else set()
    kinds = {name: Kind.CATEGORY if name in marked else _kind(dtype) for name, dtype in frame.schema.items()}
    faults = [_unreadable(name, frame.schema[name]) for name, kind in kinds.items() if kind is None]
    if faults:
        raise DataError(faults)
    target = "target"
    while target in frame.columns:
        target += "_"
    columns = [Column(name, kind) for name, kind in kinds.items() if kind is not None]
    return Schema((*columns, Column(target, Kind.NUMERIC, Role.TARGET, note=note)), positive=positive)


def training_rows(frame: pl.DataFrame, schema: Schema, outcome: npt.NDArray[Any]) -> Dataset:
    """Return the checked rows with their outcomes; raises `DataError` with every fault of the table at once."""
    return load(frame.with_columns(pl.Series(schema.target, outcome)), schema, labelled=False)


def scoring_rows(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return the checked rows to score, their columns taken by position; raises `DataError` with every fault."""
    return load(named(frame, schema.features), schema, labelled=False).frame


def named(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return the same columns under these names."""
    return frame.rename(dict(zip(frame.columns, names, strict=True)))


def array_frame(values: npt.NDArray[np.float32]) -> pl.DataFrame:
    """Return a validated array of shape (rows, columns) as a frame with columns x0, x1, ..."""
    return to_frame(values)


def _kind(dtype: pl.DataType) -> Kind | None:
    if dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
        return Kind.NUMERIC
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return Kind.CATEGORY
    return Kind.DATE if dtype in (pl.Date, pl.Datetime) else None


def _unreadable(name: str, dtype: pl.DataType) -> Fault:
    return Fault(
        "column-unreadable",
        f"a feature is a number, a category or a date: this column holds {dtype}.",
        "Convert it, or leave it out.",
        name,
    )
