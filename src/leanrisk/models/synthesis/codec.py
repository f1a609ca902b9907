"""Rows of mixed types as codes and places, and back: what a generator learns and what it draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.config import configured
from leanrisk.core.constraints import Constraints
from leanrisk.core.errors import DataError, Fault
from leanrisk.models.synthesis.category_code import CategoryCode
from leanrisk.models.synthesis.number_code import NumberCode
from leanrisk.models.synthesis.rules import kept, reduced, restored
from leanrisk.models.synthesis.typed_columns import (
    has_code,
    is_number,
    level_column,
    levels_of,
    number_column,
    numbers_of,
    plain_dtype,
)

Code = NumberCode | CategoryCode


@dataclass(frozen=True)
class Encoded:
    """Rows as a generator sees them: `codes` int64 and `places` float32 in [0, 1], both (rows, columns).

    A category's place is always 0.5, as is that of a number that stands in no mode.
    """

    codes: npt.NDArray[np.int64]
    places: npt.NDArray[np.float32]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.codes.shape[0])

    def take(self, rows: npt.NDArray[Any] | slice) -> Encoded:
        """Return these rows (positions, a mask or a slice)."""
        return Encoded(self.codes[rows], self.places[rows])


@dataclass(frozen=True)
class Codec:
    """How each learned column is coded, in order; `columns` are all columns of the table with their types.

    It holds quantiles that are means of several rows, and levels and values that several rows share; no row.
    """

    codes: tuple[Code, ...]
    columns: Mapping[str, str]
    rules: Constraints

    @classmethod
    def fit(cls, frame: pl.DataFrame, *, rules: Constraints | None = None, every: Iterable[str] = ()) -> Codec:
        """Return the codec of these rows; `every` names columns of which each value is kept (conditions).

        Raises `DataError` for a table without rows or with a type that has no code, and for rules that it breaks.
        """
        rules, all_of = rules or Constraints(), frozenset(every)
        _check(frame, rules)
        columns = {name: plain_dtype(frame[name]) for name in frame.columns}
        learned = reduced({name: numbers_of(frame[name]) for name in frame.columns if is_number(columns[name])}, rules)
        codes: list[Code] = []
        for name, dtype in columns.items():
            if not is_number(dtype):
                codes.append(CategoryCode.fit(name, levels_of(frame[name]), dtype=dtype, every=name in all_of))
            elif name in learned:
                limits = _limits(name, dtype, rules)
                codes.append(NumberCode.fit(name, learned[name], dtype=dtype, every=name in all_of, **limits))
        return cls(tuple(codes), columns, rules)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the learned columns, in order."""
        return tuple(code.name for code in self.codes)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each learned column."""
        return tuple(code.size for code in self.codes)

    @cached_property
    def first_modes(self) -> npt.NDArray[np.int64]:
        """The first code of each learned column that has a place, (columns,); its size where none has."""
        return np.array([1 + len(c.atoms) if isinstance(c, NumberCode) else c.size for c in self.codes], dtype=np.int64)

    def encode(self, frame: pl.DataFrame) -> Encoded:
        """Return these rows as codes and places; raises `DataError` naming each column that is missing."""
        lost = [name for name in self.columns if name not in frame.columns]
        if lost:
            raise DataError([Fault("column-missing", "the generator needs it.", "Add it.", name) for name in lost])
        numbers = {name: numbers_of(frame[name]) for name, dtype in self.columns.items() if is_number(dtype)}
        learned = reduced(numbers, self.rules)
        shape = frame.height, len(self.codes)
        found = Encoded(np.zeros(shape, dtype=np.int64), np.full(shape, 0.5, dtype=np.float32))
        for place, code in enumerate(self.codes):
            if isinstance(code, NumberCode):
                found.codes[:, place], found.places[:, place] = code.encode(learned[code.name])
            else:
                found.codes[:, place] = code.encode(levels_of(frame[code.name]))
        return found

    def decode(self, rows: Encoded) -> tuple[pl.DataFrame, npt.NDArray[np.bool_]]:
        """Return the table of these rows, and which of them keep to every rule."""
        numbers: dict[str, npt.NDArray[np.float64]] = {}
        levels: dict[str, pl.Series] = {}
        for place, code in enumerate(self.codes):
            if isinstance(code, NumberCode):
                numbers[code.name] = code.decode(rows.codes[:, place], rows.places[:, place].astype(np.float64))
            else:
                levels[code.name] = code.decode(rows.codes[:, place])
        numbers = restored(numbers, self.rules)
        table = {
            name: number_column(name, numbers[name], dtype) if is_number(dtype) else level_column(levels[name], dtype)
            for name, dtype in self.columns.items()
        }
        good = kept(numbers, self.rules) if numbers else np.ones(rows.rows, dtype=np.bool_)
        return pl.DataFrame(table), good

    def keeping_rules(self, rules: Constraints) -> Codec:
        """Return the codec with other rules; only ranges may differ."""
        return replace(self, rules=rules)

    def to_dict(self) -> dict[str, Any]:
        """Return the codec as plain JSON values."""
        codes = [{"kind": "number" if isinstance(c, NumberCode) else "category", **c.to_dict()} for c in self.codes]
        return {"codes": codes, "columns": dict(self.columns), "rules": self.rules.to_dict()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Codec:
        """Return the codec that `to_dict` wrote."""
        codes: list[Code] = []
        for entry in plain["codes"]:
            rest = {key: value for key, value in entry.items() if key != "kind"}
            codes.append(NumberCode.from_dict(rest) if entry["kind"] == "number" else CategoryCode.from_dict(rest))
        rules = configured(Constraints, plain["rules"], where="rules")
        return cls(tuple(codes), {str(name): str(dtype) for name, dtype in plain["columns"].items()}, rules)


def _check(frame: pl.DataFrame, rules: Constraints) -> None:
    if not frame.height or not frame.width:
        raise DataError(Fault("no-rows", "a generator learns from rows: the table has none.", "Bring some."))
    faults = [
        Fault(
            "no-code", f"its type {dtype} is no number, date, text or truth value.", "Convert it, or leave it out.", n
        )
        for n, dtype in frame.schema.items()
        if not has_code(dtype)
    ]
    faults += [
        Fault("constraint-column", "a rule of [constraints] needs it as a number or a date.", "Correct the rule.", name)
        for name in rules.columns
        if name not in frame.columns or not is_number(plain_dtype(frame[name]))
    ]
    if faults:
        raise DataError(faults)


def _limits(name: str, dtype: str, rules: Constraints) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if name not in rules.sources:
        for entry in rules.ranges:
            if entry.column == name:
                limits |= {"least": entry.least, "most": entry.most}
    if name in rules.whole or dtype == "Date" or "Int" in dtype:
        limits["decimals"] = 0
    return limits
