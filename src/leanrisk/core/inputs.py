"""The arrays that models and the exported graph take, and the fields that say how to read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MISSING = 0
"""Category code of a null."""
UNSEEN = 1
"""Category code of a level that training did not hold."""
FIRST_LEVEL = 2
"""Category code of the first known level; the others follow in order."""


@dataclass(frozen=True)
class NumericField:
    """A numeric column: sorted quantile `edges` (float32, at least 2) and special `codes`, each a value of its own."""

    name: str
    edges: tuple[float, ...]
    codes: tuple[float, ...] = ()


@dataclass(frozen=True)
class CategoryField:
    """A category column: its known `levels`, most frequent first; level k has the code `FIRST_LEVEL + k`."""

    name: str
    levels: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of codes, the missing and the unseen one included."""
        return FIRST_LEVEL + len(self.levels)


@dataclass(frozen=True)
class Fields:
    """Every field a model reads, in the column order of `Inputs`."""

    numeric: tuple[NumericField, ...]
    category: tuple[CategoryField, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Field names: numeric first, then category, as in `Inputs`."""
        return (*(entry.name for entry in self.numeric), *(entry.name for entry in self.category))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values; floats survive the round trip exactly, no edges are left out."""
        return {
            "numeric": [
                {"name": f.name, **({"edges": list(f.edges)} if f.edges else {}), "codes": list(f.codes)}
                for f in self.numeric
            ],
            "category": [{"name": f.name, "levels": list(f.levels)} for f in self.category],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fields:
        """Return the fields that `to_dict` wrote."""
        return cls(
            numeric=tuple(
                NumericField(str(f["name"]), tuple(map(float, f.get("edges", ()))), tuple(map(float, f["codes"])))
                for f in values["numeric"]
            ),
            category=tuple(CategoryField(str(f["name"]), tuple(map(str, f["levels"]))) for f in values["category"]),
        )


@dataclass(frozen=True)
class Inputs:
    """Rows as a model takes them: `numeric` float32 (rows, F), NaN where missing; `category` int64 codes (rows, C)."""

    numeric: npt.NDArray[np.float32]
    category: npt.NDArray[np.int64]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.numeric.shape[0])

    def take(self, rows: npt.NDArray[Any] | slice) -> Inputs:
        """Return these rows (positions, a mask or a slice)."""
        return Inputs(self.numeric[rows], self.category[rows])

    def matrix(self) -> npt.NDArray[np.float32]:
        """Return one float32 matrix (rows, F + C), category codes as numbers; this copies."""
        return np.concatenate([self.numeric, self.category.astype(np.float32)], axis=1)


@dataclass(frozen=True)
class Lookups:
    """Rows as weighted look-ups in one embedding table: `index` int32 and `weight` float32, both (rows, 2 F + C).

    Numeric field f reads two neighbouring knots (columns 2 f and 2 f + 1) whose weights add up to one; a category reads
    one row of the table with weight one.
    """

    index: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.index.shape[0])

    def take(self, rows: npt.NDArray[Any] | slice) -> Lookups:
        """Return these rows (positions, a mask or a slice)."""
        return Lookups(self.index[rows], self.weight[rows])


@dataclass(frozen=True)
class TableLayout:
    """Where each field's rows stand in the embedding table.

    A numeric field owns, in order: one row for missing, one for each special code, one for each edge (its knots).
    A category field owns one row for each of its codes. `runs` says it in numbers, field by field: (rows that stand for
    themselves, knots in order).
    """

    starts: tuple[int, ...]
    size: int
    runs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, fields: Fields) -> TableLayout:
        """Return the layout of `fields`, numeric fields first, as in `Inputs`."""
        runs = [(1 + len(f.codes), len(f.edges)) for f in fields.numeric] + [(f.size, 0) for f in fields.category]
        starts = [0, *np.cumsum([single + knots for single, knots in runs]).tolist()]
        return cls(starts=tuple(starts[:-1]), size=starts[-1], runs=tuple(runs))
