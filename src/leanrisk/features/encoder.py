"""The encoder: fitted on the training part, it turns frames and single records into model inputs.

Its transform is numpy only and is the very code that serves. The exported graph repeats `lookups` operator by operator,
so this file is the tested reference of the graph's front end.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.config import configured
from leanrisk.core.dataset import Dataset, level_text
from leanrisk.core.errors import ConfigError, DataError, Fault
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
from leanrisk.features.edges import quantile_edges

_DAY = np.timedelta64(1, "D")


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
        time = schema.time if schema.time and dataset.frame[schema.time].dtype.is_temporal() else None
        draft = cls(Fields((), ()), dates, time)
        numeric = tuple(
            draft._fit_numeric(dataset.frame, name, schema[name].missing_codes, config.bins)
            for name in schema.features_of(Kind.NUMERIC, Kind.DATE)
        )
        category = tuple(_fit_category(dataset.frame[name], config) for name in schema.features_of(Kind.CATEGORY))
        return cls(Fields(numeric, category), dates, time)

    def _fit_numeric(self, frame: pl.DataFrame, name: str, codes: tuple[Any, ...], bins: int) -> NumericField:
        values = self._numbers(frame, name)
        special = np.unique(np.array([float(code) for code in codes if not isinstance(code, str)], dtype=np.float32))
        usual = values[np.isfinite(values) & ~np.isin(values, special)]
        return NumericField(name, quantile_edges(usual, bins=bins), tuple(float(code) for code in special))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that must be present to encode a row: the fields, and the decision time where dates need it."""
        extra = (self.time,) if self.time and self.dates else ()
        return (*self.fields.names, *extra)

    def inputs(self, frame: pl.DataFrame) -> Inputs:
        """Return the arrays for these rows; raises `DataError` naming every column that is missing."""
        absent = [name for name in self.columns if name not in frame.columns]
        if absent:
            raise DataError([_absent(name) for name in absent])
        numeric = np.empty((frame.height, len(self.fields.numeric)), dtype=np.float32)
        for place, entry in enumerate(self.fields.numeric):
            numeric[:, place] = self._numbers(frame, entry.name)
        category = np.empty((frame.height, len(self.fields.category)), dtype=np.int64)
        for place, category_field in enumerate(self.fields.category):
            category[:, place] = self._codes(frame[category_field.name], category_field.name)
        return Inputs(numeric, category)

    def record(self, record: Mapping[str, Any]) -> Inputs:
        """Return one row's arrays from a mapping of raw values; an absent key or None is missing.

        Raises `DataError` where a numeric field holds something that is not a number.
        """
        numeric = np.empty((1, len(self.fields.numeric)), dtype=np.float32)
        row = numeric[0]
        get = record.get
        try:
            for place, name in self._plain_numeric:
                value = get(name)
                row[place] = np.nan if value is None else value
            for place, name in self._date_numeric:
                row[place] = self._days(record, name)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(self._not_a_number(record)) from error
        category = np.empty((1, len(self.fields.category)), dtype=np.int64)
        codes = category[0]
        for place, (name, levels) in enumerate(self._levels.items()):
            value = get(name)
            codes[place] = MISSING if value is None else levels.get(_level(value), UNSEEN)
        return Inputs(numeric, category)

    def lookups(self, inputs: Inputs) -> Lookups:
        """Return where each row reads the embedding table and with which weight (`Lookups`).

        Between knots e_j <= x < e_(j+1) the weight of the upper one is (x - e_j) / (e_(j+1) - e_j), held at 0 and 1
        outside the range that training saw. float32 throughout, in the same order of operations as the graph.
        """
        fields, layout = self.fields, self.layout
        pairs = 2 * len(fields.numeric)
        index = np.empty((inputs.rows, pairs + len(fields.category)), dtype=np.int32)
        weight = np.ones(index.shape, dtype=np.float32)
        for place, entry in enumerate(fields.numeric):
            lower, share = _knots(entry, inputs.numeric[:, place])
            index[:, 2 * place] = layout.starts[place] + lower
            index[:, 2 * place + 1] = layout.starts[place] + lower + (lower > len(entry.codes))
            weight[:, 2 * place] = np.float32(1.0) - share
            weight[:, 2 * place + 1] = share
        starts = np.array(layout.starts[len(fields.numeric) :], dtype=np.int64)
        index[:, pairs:] = inputs.category + starts
        return Lookups(index, weight)

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
    def _plain_numeric(self) -> tuple[tuple[int, str], ...]:
        return tuple((k, f.name) for k, f in enumerate(self.fields.numeric) if f.name not in self.dates)

    @cached_property
    def _date_numeric(self) -> tuple[tuple[int, str], ...]:
        return tuple((k, f.name) for k, f in enumerate(self.fields.numeric) if f.name in self.dates)

    @cached_property
    def _levels(self) -> dict[str, dict[str, int]]:
        return {
            entry.name: {level: FIRST_LEVEL + place for place, level in enumerate(entry.levels)}
            for entry in self.fields.category
        }

    def _numbers(self, frame: pl.DataFrame, name: str) -> npt.NDArray[np.float32]:
        column = frame[name]
        if name in self.dates:
            days = _day_numbers(column)
            return (_day_numbers(frame[self.time]) - days if self.time else days).astype(np.float32)
        try:
            return column.cast(pl.Float32).fill_null(float("nan")).to_numpy()
        except pl.exceptions.PolarsError as error:
            raise DataError(_not_numeric(name, f"dtype {column.dtype}")) from error

    def _codes(self, column: pl.Series, name: str) -> npt.NDArray[np.int64]:
        levels = self._levels[name]
        codes = level_text(column).replace_strict(levels, default=UNSEEN, return_dtype=pl.Int64)
        return np.where(column.is_null().to_numpy(), MISSING, codes.fill_null(UNSEEN).to_numpy())

    def _days(self, record: Mapping[str, Any], name: str) -> float:
        days = _day_number(record.get(name))
        return _day_number(record.get(self.time)) - days if self.time else days

    def _not_a_number(self, record: Mapping[str, Any]) -> list[Fault]:
        faults = []
        for _, name in self._plain_numeric:
            value = record.get(name)
            try:
                np.float32(np.nan if value is None else value)
            except (TypeError, ValueError, OverflowError):
                faults.append(_not_numeric(name, repr(value)))
        for _, name in self._date_numeric:
            try:
                self._days(record, name)
            except (TypeError, ValueError):
                faults.append(_not_numeric(name, repr(record.get(name))))
        return faults


def encoder_config(values: Mapping[str, Any]) -> EncoderConfig:
    """Return the encoder settings of a recipe's [encoder] table."""
    return configured(EncoderConfig, values, where="recipe.encoder")


def _fit_category(column: pl.Series, config: EncoderConfig) -> CategoryField:
    counts = level_text(column).drop_nulls().value_counts().sort(["count", column.name], descending=[True, False])
    # A small table keeps every level: a fixed floor would leave it none.
    floor = min(config.min_level_rows, max(1, column.len() // 200))
    kept = counts.filter(pl.col("count") >= floor).head(config.levels)
    return CategoryField(column.name, tuple(kept[column.name].to_list()))


def _knots(
    entry: NumericField, values: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the field-relative row of the lower knot and the share of the upper one."""
    edges = np.array(entry.edges, dtype=np.float32)
    first = 1 + len(entry.codes)
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, edges.size - 2)
    inverse = np.float32(1.0) / (edges[1:] - edges[:-1])
    with np.errstate(over="ignore", invalid="ignore"):
        share = np.clip((values - edges[place]) * inverse[place], np.float32(0.0), np.float32(1.0))
    lower = place + first
    for code_place, code in enumerate(entry.codes):
        special = values == np.float32(code)
        lower[special] = 1 + code_place
        share[special] = 0.0
    empty = np.isnan(values)
    lower[empty] = 0
    share[empty] = 0.0
    return lower, share


def _day_numbers(column: pl.Series) -> npt.NDArray[np.float64]:
    if column.dtype == pl.String:
        column = column.str.to_datetime(strict=False)
    days = column.cast(pl.Datetime("us")).to_numpy()
    return np.where(np.isnat(days), np.nan, (days - np.datetime64(0, "us")) / _DAY)


def _day_number(value: object) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, str | dt.date):
        moment = value.replace(tzinfo=None) if isinstance(value, dt.datetime) else value
        return float((np.datetime64(moment, "us") - np.datetime64(0, "us")) / _DAY)
    raise TypeError(f"not a date: {value!r}")


def _level(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else str(value)


def _absent(name: str) -> Fault:
    return Fault(
        "column-missing", "the model needs this column and the table lacks it.", "Add it, null where unknown.", name
    )


def _not_numeric(name: str, found: str) -> Fault:
    return Fault("not-numeric", f"the model reads numbers here: found {found}.", "Send a number or null.", name)
