"""Raw frames and records as the matrix of a model that came from elsewhere and knows its columns by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import level_text
from leanrisk.core.errors import DataError, Fault
from leanrisk.models.incumbent import Record


@dataclass(frozen=True)
class ColumnReader:
    """Columns in the model's order, in float64, since a bank's splits may lie closer than float32 can tell.

    `levels` lists the values of category columns in code order.
    A missing value and a level that the model never saw become NaN, which is what these libraries take for either.
    """

    names: tuple[str, ...]
    levels: Mapping[str, Sequence[str]]

    def matrix(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return the float64 matrix (rows, columns); raises `DataError` naming every column absent or not numeric."""
        absent = [name for name in self.names if name not in frame]
        if absent:
            raise DataError([_fault("column-missing", name, "the model needs this column.") for name in absent])
        faults: list[Fault] = []
        matrix = np.empty((frame.height, len(self.names)), dtype=np.float64)
        for place, name in enumerate(self.names):
            column = frame[name]
            if name in self._codes:
                values = level_text(column).replace_strict(self._codes[name], default=None, return_dtype=pl.Float64)
            else:
                try:
                    values = column.cast(pl.Float64)
                except pl.exceptions.PolarsError:
                    faults.append(_fault("not-numeric", name, f"the model reads numbers here: dtype {column.dtype}."))
                    continue
            matrix[:, place] = values.fill_null(float("nan")).to_numpy()
        if faults:
            raise DataError(faults)
        return matrix

    def row(self, record: Record) -> npt.NDArray[np.float64]:
        """Return the float64 array (1, columns) of one record; raises `DataError` where a number is not one."""
        row = np.empty((1, len(self.names)), dtype=np.float64)
        first, codes = row[0], self._codes
        for place, name in enumerate(self.names):
            value = record.get(name)
            levels = codes.get(name)
            try:
                if value is None:
                    first[place] = np.nan
                elif levels is None:
                    first[place] = value
                else:
                    first[place] = levels.get(value if isinstance(value, str) else _level(value), np.nan)
            except (TypeError, ValueError, OverflowError) as error:
                fault = _fault("not-numeric", name, f"the model reads numbers here: found {value!r}.")
                raise DataError(fault) from error
        return row

    @cached_property
    def _codes(self) -> dict[str, dict[str, float]]:
        return {name: {level: float(code) for code, level in enumerate(levels)} for name, levels in self.levels.items()}


def _level(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _fault(code: str, name: str, what: str) -> Fault:
    return Fault(code, what, "Send a number or null; name columns as the model does.", name)
