"""One record of raw fields into a row of arrays that stand ready: the encoder's path for a single decision."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import getitem, itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import level_text
from leanrisk.core.errors import DataError, Fault
from leanrisk.core.inputs import FIRST_LEVEL, MISSING, UNSEEN, Fields, Inputs
from leanrisk.features.days import day_number

_NAN = float("nan")
_LARGEST_WHOLE = 2.0**63
_SET = b"\x01"


class Levels(dict[str | None, int]):
    """Codes of one field's levels by text; a text that training did not hold is unseen, whatever is no text is asked.

    Raises `KeyError` for what is neither text nor None.
    """

    def __missing__(self, value: object) -> int:
        if type(value) is str:
            return UNSEEN
        raise KeyError(value)


class RecordWriter:
    """Writes records into rows of `Inputs`, the bits that `Encoder.inputs` gives; one writer serves many threads.

    `told` names numbers that are not read from the record: they come beside it, in that order (what a memory knows).
    """

    def __init__(
        self, fields: Fields, dates: Sequence[str] = (), time: str | None = None, told: Sequence[str] = ()
    ) -> None:
        known = {name: place for place, name in enumerate(told)}
        names = [entry.name for entry in fields.numeric]
        self._names, self._time = names, time
        self._dates = [(place, name) for place, name in enumerate(names) if name in dates and name not in known]
        own = {name for _, name in self._dates} | known.keys()
        # A field that is filled in later reads a key that every record lacks: its place holds NaN until then.
        self._read = tuple(name for name in names if name not in own)
        self._places = [place for place, name in enumerate(names) if name not in own]
        self._whole = len(self._places) == len(names)
        # Where told numbers go, and which of them.
        self._into = np.array([place for place, name in enumerate(names) if name in known], dtype=np.int64)
        self._from = np.array([known[name] for name in names if name in known], dtype=np.int64)
        self._levels = {
            entry.name: Levels({None: MISSING} | {text: FIRST_LEVEL + rank for rank, text in enumerate(entry.levels)})
            for entry in fields.category
        }
        self._tables = list(self._levels.values())
        self._numbers_of, self._texts_of = _getter(self._read), _getter(tuple(self._levels))
        self._pack_numbers: Callable[..., None] = struct.Struct(f"{len(names)}f").pack_into
        self._pack_codes: Callable[..., None] = struct.Struct(f"{len(self._levels)}q").pack_into

    def plain(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a dict as it is, and a copy of any other mapping's entries; raises `DataError` for anything else.

        What lies would otherwise tell each reader something else.
        """
        return record if type(record) is dict else _copied(record)

    def write(self, record: Mapping[str, Any], row: Inputs, told: npt.NDArray[np.float32] | None = None) -> None:
        """Write `record` into the first row of `row`; an absent key or None is missing.

        Raises `DataError` naming every field that holds what it cannot take, or for what is no mapping.
        """
        record = self.plain(record)
        try:
            self._write_quickly(record, row)
        except (KeyError, TypeError, ValueError, OverflowError, struct.error):
            # An absent field, a level that is no text, a number too large for 32 bits, or a fault: told apart slowly.
            self._write_slowly(record, row)
        if told is not None and self._into.size:
            row.numeric[0, self._into] = told[self._from]

    def infinite(self, row: Inputs) -> list[Fault]:
        """Return a fault for every number of the first row that is infinite."""
        # Looking for one set byte takes half the time of numpy's `any`.
        if _SET not in np.isinf(row.numeric[0]).tobytes():
            return []
        return [_infinite(name) for name, wrong in zip(self._names, np.isinf(row.numeric[0]), strict=True) if wrong]

    def _write_quickly(self, record: Mapping[str, Any], row: Inputs) -> None:
        # C floats refuse text, which numpy would read as a number, and need no type per value.
        numbers = [_NAN if value is None else value for value in self._numbers_of(record)]
        if not self._whole:
            numbers = self._spread(record, numbers)
        codes = map(getitem, self._tables, self._texts_of(record))
        self._pack_codes(row.category, 0, *codes)
        self._pack_numbers(row.numeric, 0, *numbers)

    def _write_slowly(self, record: Mapping[str, Any], row: Inputs) -> None:
        get = record.get
        try:
            numbers = [_NAN if (value := get(name)) is None else value for name in self._read]
            numeric = array("f", numbers if self._whole else self._spread(record, numbers))
            codes = [levels.get(_level(get(name)), UNSEEN) for name, levels in self._levels.items()]
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(self._faults(record)) from error
        if len(numeric):
            row.numeric[0] = np.asarray(numeric)
        row.category[0] = codes

    def _spread(self, record: Mapping[str, Any], numbers: list[float]) -> list[float]:
        """Return the numbers of all fields: what was read, days of dates, and NaN for what is told later."""
        spread = [_NAN] * len(self._names)
        for place, number in zip(self._places, numbers, strict=True):
            spread[place] = number
        if self._dates:
            get = record.get
            decided = day_number(get(self._time)) if self._time else None
            for place, name in self._dates:
                days = day_number(get(name))
                spread[place] = days if decided is None else decided - days
        return spread

    def _faults(self, record: Mapping[str, Any]) -> list[Fault]:
        """Return a fault for every value of `record` that its field cannot take."""
        dates = [name for _, name in self._dates]
        checks: list[tuple[Iterable[str], Callable[[Any], object], Callable[[str, object], Fault]]] = [
            (self._read, _number, not_numeric),
            ([*dates, self._time] if dates and self._time else dates, day_number, not_a_date),
            (self._levels, _level, not_a_level),
        ]
        faults = []
        for names, check, fault in checks:
            for name in names:
                try:
                    check(record.get(name))
                except (TypeError, ValueError, OverflowError):
                    faults.append(fault(name, record.get(name)))
        return faults


def _copied(record: object) -> dict[str, Any]:
    try:
        if isinstance(record, Mapping):
            return {name: record[name] for name in record}
    except Exception as error:
        raise DataError([_unreadable(f"a {type(record).__name__} fails as it is read: {error!r}")]) from error
    raise DataError([_unreadable(f"found a {type(record).__name__}")])


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function from a record to its values under these names, which raises `KeyError` where one is absent."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda record: tuple(record[name] for name in names)


def _number(value: Any) -> float:
    return array("f", [_NAN if value is None else value])[0]


def _level(value: object) -> str | None:
    """Return one value's level as `core.dataset.level_text` reads it; the common kinds without a detour."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_WHOLE):
        return str(int(value))
    if isinstance(value, Mapping | Sequence | set | frozenset | np.ndarray | pl.Series):
        raise TypeError(f"not a level: {value!r}")
    try:
        text: str | None = level_text(pl.Series([value], strict=True))[0]
    except pl.exceptions.PolarsError as error:
        raise TypeError(f"not a level: {value!r}") from error
    return text


def not_numeric(name: str, value: object) -> Fault:
    """Return the fault of a number's field that holds something else."""
    return Fault("not-numeric", f"the model reads numbers here: found {_shown(value)}.", "Send a number or null.", name)


def not_a_date(name: str, value: object) -> Fault:
    """Return the fault of a date's field that holds something else."""
    return Fault("not-a-date", f"the model reads dates here: found {_shown(value)}.", "Send YYYY-MM-DD or null.", name)


def not_a_level(name: str, value: object) -> Fault:
    """Return the fault of a category's field that holds no level."""
    return Fault("not-a-level", f"the model reads one level here: found {_shown(value)}.", "Send text or null.", name)


def _infinite(name: str) -> Fault:
    message = "a value must be a finite number that 32 bits hold: this one is infinite."
    return Fault("infinite", message, "Send null where there is no value.", name)


def _unreadable(what: str) -> Fault:
    return Fault("not-a-record", f"a record is a mapping of field names to values: {what}.", "Send a dict.")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
