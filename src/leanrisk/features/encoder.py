"""The encoder: fitted on the training part, it turns frames and single records into model inputs.

Its transform is numpy only and is the very code that serves. The exported graph repeats `lookups` operator by operator,
so this file is the tested reference of the graph's front end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset, level_text
from leanrisk.core.errors import ConfigError, DataError, Fault, ModelError
from leanrisk.core.inputs import (
    FIRST_LEVEL,
    MISSING,
    UNSEEN,
    CategoryField,
    Fields,
    Inputs,
    Lookups,
    NumericField,
    TableLayout,
)
from leanrisk.core.schema import Kind
from leanrisk.features.days import day_numbers
from leanrisk.features.edges import quantile_edges
from leanrisk.features.knots import knot_and_share
from leanrisk.features.record import RecordWriter, not_a_date, not_a_level, not_numeric

_Number = TypeVar("_Number", np.float32, np.int64)


@dataclass(frozen=True)
class EncoderConfig:
    """How finely fields are read: quantile `bins` per numeric field, `levels` kept per category, rows a level needs."""

    bins: int = 48
    levels: int = 200
    min_level_rows: int = 20

    def __post_init__(self) -> None:
        if not 2 <= self.bins <= 255:
            raise ConfigError(f"encoder.bins must lie in 2..255: it is {self.bins}. Choose another number.")
        if self.levels < 1 or self.min_level_rows < 1:
            raise ConfigError("encoder.levels and encoder.min_level_rows must be at least 1. Raise them.")


@dataclass(frozen=True)
class Encoder:
    """Turns rows into `Inputs` (what the graph takes) and `Inputs` into `Lookups` (what the network reads).

    `dates` are the names of numeric fields that hold dates: they are read as days before the decision time, or as days
    since 1970-01-01 where the schema has no decision time.
    """

    fields: Fields
    dates: tuple[str, ...] = ()
    time: str | None = None

    @classmethod
    def fit(cls, dataset: Dataset, config: EncoderConfig | None = None) -> Encoder:
        """Return an encoder that knows the quantiles and levels of `dataset`, and nothing of any other row."""
        config = config or EncoderConfig()
        schema = dataset.schema
        dates = schema.features_of(Kind.DATE)
        time = schema.time
        if time is not None and dataset.frame[time].dtype not in (pl.Date, pl.Datetime):
            time = None
        draft = cls(Fields((), ()), dates, time)
        numeric = tuple(
            draft._fit_numeric(dataset.frame, name, schema[name].missing_codes, config.bins)
            for name in schema.features_of(Kind.NUMERIC, Kind.DATE)
        )
        category = tuple(_fit_category(dataset.frame[name], config) for name in schema.features_of(Kind.CATEGORY))
        return cls(Fields(numeric, category), dates, time)

    def _fit_numeric(self, frame: pl.DataFrame, name: str, codes: tuple[Any, ...], bins: int) -> NumericField:
        values = self._numbers(frame, name).to_numpy()
        numbers = [float(code) for code in codes if not isinstance(code, str)]
        special = np.unique(np.array([number for number in numbers if not math.isnan(number)], dtype=np.float32))
        usual = values[np.isfinite(values) & ~np.isin(values, special)]
        return NumericField(name, quantile_edges(usual, bins=bins), tuple(float(code) for code in special))

    def keeping(self, names: Iterable[str]) -> Encoder:
        """Return the encoder of these fields alone, in the order that they have here; each is read as before."""
        kept = frozenset(names)
        fields = Fields(
            tuple(entry for entry in self.fields.numeric if entry.name in kept),
            tuple(entry for entry in self.fields.category if entry.name in kept),
        )
        return Encoder(fields, tuple(name for name in self.dates if name in kept), self.time)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that must be present to encode a row: the fields, and the decision time where dates need it."""
        extra = (self.time,) if self.time and self.dates else ()
        return (*self.fields.names, *extra)

    def inputs(self, frame: pl.DataFrame) -> Inputs:
        """Return the arrays for these rows; raises `DataError` naming each column that is missing or ill-typed."""
        absent = [name for name in self.columns if name not in frame.columns]
        if absent:
            raise DataError([_absent(name) for name in absent])
        numbers: list[pl.Series] = []
        codes: list[pl.Series] = []
        faults: list[Fault] = []
        for entry in self.fields.numeric:
            try:
                numbers.append(self._numbers(frame, entry.name))
            except DataError as error:
                faults.extend(error.faults)
        for name, levels in self._levels.items():
            try:
                codes.append(_codes(frame[name], levels))
            except DataError as error:
                faults.extend(error.faults)
        if faults:
            raise DataError(faults)
        return Inputs(_by_row(numbers, frame.height, np.float32), _by_row(codes, frame.height, np.int64))

    def record(self, record: Mapping[str, Any]) -> Inputs:
        """Return one row's arrays from a mapping of raw values; an absent key or None is missing.

        Gives the bits that `inputs` gives for the same row. Raises `DataError` where a numeric field holds something
        that is not a number, a date field something that is not a date.
        """
        row = Inputs(
            np.empty((1, len(self.fields.numeric)), dtype=np.float32),
            np.empty((1, len(self.fields.category)), dtype=np.int64),
        )
        self._writer.write(record, row)
        return row

    def writer(self, told: Sequence[str] = ()) -> RecordWriter:
        """Return what writes records into rows that stand ready; `told` names fields that come beside the record."""
        return RecordWriter(self.fields, self.dates, self.time, told)

    def lookups(self, inputs: Inputs) -> Lookups:
        """Return where each row reads the embedding table and with which weight (`Lookups`).

        float32 throughout, in the same order of operations as the graph; see `features.knots` for the formula.
        """
        fields, layout = self.fields, self.layout
        if not self.has_edges:
            raise ModelError(
                "Look-ups need the edges of every field: this encoder came with a packed graph, which keeps them. Use "
                "the encoder of the bundle's training folder."
            )
        pairs = 2 * len(fields.numeric)
        index = np.empty((inputs.rows, pairs + len(fields.category)), dtype=np.int32)
        weight = np.empty(index.shape, dtype=np.float32)
        columns = np.ascontiguousarray(inputs.numeric.T)
        for place, entry in enumerate(fields.numeric):
            lower, share = knot_and_share(entry, columns[place])
            # Missing and special rows stand alone: their upper look-up repeats the lower one.
            upper = lower + (lower > len(entry.codes))
            index[:, 2 * place] = lower + layout.starts[place]
            index[:, 2 * place + 1] = upper + layout.starts[place]
            weight[:, 2 * place] = np.float32(1.0) - share
            weight[:, 2 * place + 1] = share
        index[:, pairs:] = inputs.category + np.array(layout.starts[len(fields.numeric) :], dtype=np.int64)
        weight[:, pairs:] = 1.0
        return Lookups(index, weight)

    def without_edges(self) -> Encoder:
        """Return the encoder as a graph needs it that holds the edges: it gives `Inputs`, but no `Lookups`."""
        numeric = tuple(replace(entry, edges=()) for entry in self.fields.numeric)
        return replace(self, fields=Fields(numeric, self.fields.category))

    @property
    def has_edges(self) -> bool:
        """Whether every numeric field has its edges, so that look-ups can be told."""
        return all(entry.edges for entry in self.fields.numeric)

    @cached_property
    def layout(self) -> TableLayout:
        """Where each field's rows stand in the embedding table."""
        return TableLayout.of(self.fields)

    def to_dict(self) -> dict[str, Any]:
        """Return the encoder as plain JSON values that `from_dict` reads back to an equal encoder."""
        return {"fields": self.fields.to_dict(), "dates": list(self.dates), "time": self.time}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Encoder:
        """Return the encoder that `to_dict` wrote."""
        time = values.get("time")
        return cls(
            Fields.from_dict(values["fields"]), tuple(map(str, values["dates"])), None if time is None else str(time)
        )

    @cached_property
    def _writer(self) -> RecordWriter:
        return self.writer()

    @cached_property
    def _levels(self) -> dict[str, pl.Enum]:
        return {entry.name: pl.Enum(entry.levels) for entry in self.fields.category}

    def _numbers(self, frame: pl.DataFrame, name: str) -> pl.Series:
        column = frame[name]
        if name in self.dates:
            days = _days_of(column)
            return pl.Series(name, (_days_of(frame[self.time]) - days if self.time else days).astype(np.float32))
        number = column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)
        if not number and column.null_count() < column.len():
            raise DataError(not_numeric(name, column.drop_nulls()[0]))
        return column.cast(pl.Float32)


def _fit_category(column: pl.Series, config: EncoderConfig) -> CategoryField:
    levels = level_text(column).alias("level").drop_nulls()
    counts = levels.value_counts(name="rows").sort(["rows", "level"], descending=[True, False])
    # A small table keeps every level: a fixed floor would leave it none.
    floor = min(config.min_level_rows, max(1, column.len() // 200))
    kept = counts.filter(pl.col("rows") >= floor).head(config.levels)
    return CategoryField(column.name, tuple(kept["level"].to_list()))


def _by_row(columns: Sequence[pl.Series], rows: int, dtype: type[_Number]) -> npt.NDArray[_Number]:
    """Return columns side by side, a null number as NaN, by blocks of rows: to write whole columns is far slower."""
    if not columns:
        return np.empty((rows, 0), dtype=dtype)
    return pl.DataFrame(columns).to_numpy(order="c", writable=True)


def _codes(column: pl.Series, levels: pl.Enum) -> pl.Series:
    try:
        text = level_text(column)
    except pl.exceptions.PolarsError as error:
        raise DataError(not_a_level(column.name, column.drop_nulls()[0])) from error
    codes = (text.cast(levels, strict=False).to_physical().cast(pl.Int64) + FIRST_LEVEL).fill_null(UNSEEN)
    return codes.set(text.is_null(), MISSING) if text.null_count() else codes


def _days_of(column: pl.Series) -> npt.NDArray[np.float64]:
    try:
        return day_numbers(column)
    except (TypeError, ValueError) as error:
        raise DataError(not_a_date(column.name, column.drop_nulls()[0])) from error


def _absent(name: str) -> Fault:
    return Fault(
        "column-missing", "the model needs this column and the table lacks it.", "Add it, null where unknown.", name
    )
