"""What generated rows may be asked for: values of some columns, as rows together had them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import ConfigError
from leanrisk.models.synthesis.codec import Codec, Encoded
from leanrisk.models.synthesis.number_code import FEWEST, Codes, NumberCode

Asked = Mapping[str, Any]
_MOST_SHOWN = 8


@dataclass(frozen=True)
class Conditions:
    """Combinations of codes of the condition columns (combinations, columns), and how many rows had each."""

    names: tuple[str, ...]
    combinations: Codes
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, names: tuple[str, ...], codec: Codec, rows: Encoded) -> Conditions:
        """Return the combinations that these rows have."""
        columns = [codec.names.index(name) for name in names]
        combinations, counts = np.unique(rows.codes[:, columns], axis=0, return_counts=True)
        return cls(names, combinations, counts.astype(np.int64))

    def asked(self, wanted: Asked, codec: Codec) -> tuple[Codes, npt.NDArray[np.float64]]:
        """Return combinations with the wanted values, and their shares; other columns are as the rows have them.

        A combination that no row had, of values that some had, is made. Raises `ConfigError` for a column that is no
        condition or a value that no row had, or fewer than five.
        """
        fixed = {self._column(name): self._code(name, value, codec) for name, value in wanted.items()}
        if not self.names:
            return np.empty((1, 0), dtype=np.int64), np.ones(1)
        inside = np.ones(len(self.combinations), dtype=np.bool_)
        for column, code in fixed.items():
            inside &= self.combinations[:, column] == code
        if inside.any():
            return self.combinations[inside], self.counts[inside] / self.counts[inside].sum()
        made = self.combinations.copy()
        for column, code in fixed.items():
            made[:, column] = code
        return made, self.counts / self.counts.sum()

    def _column(self, name: str) -> int:
        if name in self.names:
            return self.names.index(name)
        known = ", ".join(self.names) or "none"
        raise ConfigError(
            f"A generator can be asked for the columns that it was conditioned on: '{name}' is none of them ({known}). "
            "Name it in condition_columns when it learns."
        )

    def _code(self, name: str, value: Any, codec: Codec) -> int:
        place = codec.names.index(name)
        code = codec.codes[place]
        found: int | None = None
        if isinstance(code, NumberCode):
            number = _number(value)
            found = None if number is None else code.known_code(number)
        elif str(value) in code.levels:
            found = 1 + code.levels.index(str(value))
        elif code.dtype == "Boolean" and str(value).lower() in code.levels:
            found = 1 + code.levels.index(str(value).lower())
        rows = 0
        if found is not None:
            rows = int(self.counts[self.combinations[:, self._column(name)] == found].sum())
            if rows >= FEWEST:
                return found
        if rows:
            raise ConfigError(
                f"A class cannot be told from its rows where there are fewer than {FEWEST}: '{name}' = {value!r} has "
                f"{rows}. Bring more of them."
            )
        raise ConfigError(
            f"A condition is a value that some row had: no row has '{name}' = {value!r}. Known are {_told(code)}. Ask "
            "for one of them."
        )


def _number(value: Any) -> float | None:
    if isinstance(value, str) and "-" in value[1:]:
        try:
            return float(pl.Series([value]).str.to_date().cast(pl.Int32)[0])
        except pl.exceptions.PolarsError:
            return None
    try:
        return float(pl.Series([value]).cast(pl.Int32)[0]) if hasattr(value, "isoformat") else float(value)
    except (TypeError, ValueError):
        return None


def _told(code: Any) -> str:
    if isinstance(code, NumberCode):
        atoms = ", ".join(f"{value:g}" for value in code.atoms[:_MOST_SHOWN])
        spread = f"numbers from {code.knots[0]:g} to {code.knots[-1]:g}" if code.knots else ""
        return " and ".join(filter(None, (atoms, spread))) or "none"
    more = ", ..." if len(code.levels) > _MOST_SHOWN else ""
    return ", ".join(code.levels[:_MOST_SHOWN]) + more or "none"
