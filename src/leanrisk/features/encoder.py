"""The encoder: fitted on the training part, it turns frames and single records into model inputs.

Its transform is numpy only and is the very code that serves. The exported graph repeats `lookups` operator by operator,
so this file is the tested reference of the graph's front end.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

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
from leanrisk.features.days import day_number, day_numbers
from leanrisk.features.edges import quantile_edges
from leanrisk.features.knots import knot_and_share

_NAN = float("nan")
_LARGEST_WHOLE = 2.0**63


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
        values = self._numbers(frame, name)
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
        numeric = np.empty((frame.height, len(self.fields.numeric)), dtype=np.float32)
        category = np.empty((frame.height, len(self.fields.category)), dtype=np.int64)
        faults: list[Fault] = []
        for place, number_field in enumerate(self.fields.numeric):
            try:
                numeric[:, place] = self._numbers(frame, number_field.name)
            except DataError as error:
                faults.extend(error.faults)
        for place, (name, levels) in enumerate(self._levels.items()):
            try:
                category[:, place] = _codes(frame[name], levels)
            except DataError as error:
                faults.extend(error.faults)
        if faults:
            raise DataError(faults)
        return Inputs(numeric, category)

    def record(self, record: Mapping[str, Any]) -> Inputs:
        """Return one row's arrays from a mapping of raw values; an absent key or None is missing.

        Gives the bits that `inputs` gives for the same row. Raises `DataError` where a numeric field holds something
        that is not a number, a date field something that is not a date.
        """
        get = record.get
        try:
            # An array of C floats refuses text, which numpy would read as a number, and needs no type per value.
            numbers = [_NAN if (value := get(name)) is None else value for name in self._number_names]
            for place, name in self._date_places:
                numbers.insert(place, self._days(record, name))
            numeric = np.asarray(array("f", numbers))
            codes = [
                levels.get(value if type(value := get(name)) is str or value is None else _level(value), UNSEEN)
                for name, levels in self._levels.items()
            ]
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(self._record_faults(record)) from error
        return Inputs(numeric[None], np.array([codes], dtype=np.int64))

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
    def _number_names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.fields.numeric if entry.name not in self.dates)

    @cached_property
    def _date_places(self) -> tuple[tuple[int, str], ...]:
        return tuple((place, f.name) for place, f in enumerate(self.fields.numeric) if f.name in self.dates)

    @cached_property
    def _levels(self) -> dict[str, dict[str | None, int]]:
        return {
            entry.name: {None: MISSING, **{level: FIRST_LEVEL + place for place, level in enumerate(entry.levels)}}
            for entry in self.fields.category
        }

    def _numbers(self, frame: pl.DataFrame, name: str) -> npt.NDArray[np.float32]:
        column = frame[name]
        if name in self.dates:
            days = _days_of(column)
            return (_days_of(frame[self.time]) - days if self.time else days).astype(np.float32)
        number = column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)
        if not number and column.null_count() < column.len():
            raise DataError(_not_numeric(name, column.drop_nulls()[0]))
        return column.cast(pl.Float32).fill_null(_NAN).to_numpy()

    def _days(self, record: Mapping[str, Any], name: str) -> float:
        days = day_number(record.get(name))
        return day_number(record.get(self.time)) - days if self.time else days

    def _record_faults(self, record: Mapping[str, Any]) -> list[Fault]:
        """Return a fault for every value of `record` that its field cannot take."""
        dates = [name for _, name in self._date_places]
        checks: list[tuple[Iterable[str], Callable[[Any], object], Callable[[str, object], Fault]]] = [
            (self._number_names, _number, _not_numeric),
            ([*dates, self.time] if dates and self.time else dates, day_number, _not_a_date),
            (self._levels, _level, _not_a_level),
        ]
        faults = []
        for names, check, fault in checks:
            for name in names:
                try:
                    check(record.get(name))
                except (TypeError, ValueError, OverflowError):
                    faults.append(fault(name, record.get(name)))
        return faults


def _fit_category(column: pl.Series, config: EncoderConfig) -> CategoryField:
    levels = level_text(column).alias("level").drop_nulls()
    counts = levels.value_counts(name="rows").sort(["rows", "level"], descending=[True, False])
    # A small table keeps every level: a fixed floor would leave it none.
    floor = min(config.min_level_rows, max(1, column.len() // 200))
    kept = counts.filter(pl.col("rows") >= floor).head(config.levels)
    return CategoryField(column.name, tuple(kept["level"].to_list()))


def _codes(column: pl.Series, levels: dict[str | None, int]) -> npt.NDArray[np.int64]:
    try:
        text = level_text(column)
    except pl.exceptions.PolarsError as error:
        raise DataError(_not_a_level(column.name, column.drop_nulls()[0])) from error
    return text.replace_strict(levels, default=UNSEEN, return_dtype=pl.Int64).to_numpy()


def _days_of(column: pl.Series) -> npt.NDArray[np.float64]:
    try:
        return day_numbers(column)
    except (TypeError, ValueError) as error:
        raise DataError(_not_a_date(column.name, column.drop_nulls()[0])) from error


def _number(value: Any) -> float:
    return array("f", [_NAN if value is None else value])[0]


def _level(value: object) -> str | None:
    """Return one value's level as `core.dataset.level_text` reads it; the common kinds without a detour."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_WHOLE):
        return str(int(value))
    try:
        text: str | None = level_text(pl.Series([value], strict=True))[0]
    except pl.exceptions.PolarsError as error:
        raise TypeError(f"not a level: {value!r}") from error
    return text


def _absent(name: str) -> Fault:
    return Fault(
        "column-missing", "the model needs this column and the table lacks it.", "Add it, null where unknown.", name
    )


def _not_numeric(name: str, value: object) -> Fault:
    return Fault("not-numeric", f"the model reads numbers here: found {value!r}.", "Send a number or null.", name)


def _not_a_date(name: str, value: object) -> Fault:
    return Fault("not-a-date", f"the model reads dates here: found {value!r}.", "Send YYYY-MM-DD or null.", name)


def _not_a_level(name: str, value: object) -> Fault:
    return Fault("not-a-level", f"the model reads one level here: found {value!r}.", "Send text or null.", name)
