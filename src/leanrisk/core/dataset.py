"""A table with its schema: checked once when it is built, trusted after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import SchemaError
from leanrisk.core.schema import Column, Kind, Role, Schema

_MODEL_ROLES = (Role.FEATURE, Role.PROTECTED, Role.MEMORY)
_LARGEST_WHOLE = 2.0**63
"""From here on a float does not fit an integer and keeps its own text."""


@dataclass(frozen=True)
class Dataset:
    """A Polars frame that holds at least the schema's columns, in the dtypes that `conform` gives them.

    Build it with `leanrisk.data.load`, which checks the contract; the constructor itself only checks that the columns
    are there. numeric: Float32 (null = missing); category, text: String; date, time: Date or Datetime (numeric for a
    time that counts, such as a year or a step). tables: edge tables of the schema's memory by name, as they were read.
    """

    frame: pl.DataFrame
    schema: Schema
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        there = frozenset(self.frame.columns)
        lost = [column.name for column in self.schema.columns if column.name not in there]
        if lost:
            raise SchemaError(f"A dataset holds every column of its schema: '{lost[0]}' is missing. Mend the schema.")

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.frame.height

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the feature columns, in schema order."""
        return self.schema.features

    @cached_property
    def labels(self) -> npt.NDArray[np.float32]:
        """Outcomes: 1.0 = bad, 0.0 = good, NaN = unlabelled; shape (rows,). Raises `SchemaError` without a target."""
        target = self.schema.target
        if target is None:
            raise SchemaError("Outcomes need a target column: the schema has none. Give a column the role 'target'.")
        return outcome_labels(self.frame[target], self.schema)

    @property
    def labelled(self) -> Dataset:
        """The rows whose outcome is known."""
        known = ~np.isnan(self.labels)
        return self if bool(known.all()) else self.where(known)

    def where(self, mask: npt.NDArray[np.bool_]) -> Dataset:
        """Return the rows where `mask` (shape (rows,)) is true."""
        return replace(self, frame=self.frame.filter(pl.Series(mask)))

    def take(self, rows: npt.NDArray[np.integer] | npt.NDArray[np.uint32]) -> Dataset:
        """Return the rows at these positions, in that order."""
        return replace(self, frame=self.frame[rows])

    def keeping(self, features: Iterable[str]) -> Dataset:
        """Return the same rows with only these features visible to models."""
        return replace(self, schema=self.schema.keeping(features))


def outcome_labels(target: pl.Series, schema: Schema) -> npt.NDArray[np.float32]:
    """Return 1.0 / 0.0 / NaN for bad / good / neither, by the schema's `positive` and `negative` values.

    Values are compared as text where the column is text and as numbers otherwise (booleans count as 0 and 1).
    Where both lists are empty the target is an amount, and its own values come back (float32, null = NaN).
    """
    if not schema.positive and not schema.negative:
        return target.cast(pl.Float32, strict=False).fill_null(float("nan")).to_numpy()
    bad = _member(target, schema.positive)
    good = _member(target, schema.negative) if schema.negative else target.is_not_null() & ~bad
    labels = np.full(target.len(), np.nan, dtype=np.float32)
    labels[good.to_numpy()] = 0.0
    labels[bad.to_numpy()] = 1.0
    return labels


def _member(target: pl.Series, values: tuple[str | int | float | bool, ...]) -> pl.Series:
    if target.dtype in (pl.String, pl.Categorical, pl.Enum):
        mask = target.cast(pl.String).is_in([str(value) for value in values])
    else:
        numbers = [float(value) for value in values if not isinstance(value, str)]
        mask = target.cast(pl.Float64).is_in(numbers)
    return mask.fill_null(False)


def conform(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return the schema's columns of `frame`, cast to the dtypes a `Dataset` promises; what does not cast becomes null.

    Missing codes stay as they are: the encoder gives each a value of its own.
    """
    # Not `select`: to plan a query over columns that are ready takes longer than most casts do.
    return pl.DataFrame([_conformed(frame[column.name], column) for column in schema.columns])


def level_text(column: pl.Series) -> pl.Series:
    """Return a category column as String, so that a level reads the same from every file: 3.0 and 3 are both "3".

    NaN is no level: it comes back as null.
    """
    if not column.dtype.is_float():
        return column.cast(pl.String)
    known = column.fill_nan(None)
    whole = (known == known.floor()) & (known.abs() < _LARGEST_WHOLE)
    return known.cast(pl.String).zip_with(~whole.fill_null(False), known.cast(pl.Int64, strict=False).cast(pl.String))


def _conformed(values: pl.Series, column: Column) -> pl.Series:
    if column.role not in _MODEL_ROLES:
        return values
    if column.kind is Kind.NUMERIC:
        return values.cast(pl.Float32, strict=False)
    return level_text(values) if column.kind in (Kind.CATEGORY, Kind.TEXT) else values
