"""One category as a code: missing, levels that enough rows bear, and one for all the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from leanrisk.models.synthesis.number_code import FEWEST, Codes

OTHER = "(other)"
"""What is written for a level that too few rows bear to be kept."""
_MOST_LEVELS = 100


@dataclass(frozen=True)
class CategoryCode:
    """Code 0 is missing, then come `levels`, most frequent first; where `rare`, a last code stands for all others.

    `gaps`: whether values were missing.
    """

    name: str
    dtype: str
    levels: tuple[str, ...] = ()
    rare: bool = False
    gaps: bool = True

    @classmethod
    def fit(cls, name: str, values: pl.Series, *, dtype: str, every: bool = False) -> CategoryCode:
        """Return the code of these values (String); with `every`, levels of a single row are kept too."""
        counts = values.alias("level").drop_nulls().value_counts(name="rows")
        counts = counts.sort(["rows", "level"], descending=[True, False])
        floor = 1 if every else min(FEWEST, max(2, values.len() // 20))
        kept = counts.filter(pl.col("rows") >= floor).head(_MOST_LEVELS)["level"].to_list()
        return cls(name, dtype, tuple(kept), len(kept) < counts.height, values.null_count() > 0)

    @property
    def size(self) -> int:
        """Number of codes, the missing one included."""
        return 1 + len(self.levels) + self.rare

    def encode(self, values: pl.Series) -> Codes:
        """Return the code of each value, (rows,); a level that is not kept is the rare one, or missing without one."""
        known: dict[str | None, int] = {None: 0, **{level: 1 + place for place, level in enumerate(self.levels)}}
        default = self.size - 1 if self.rare else 0
        return np.asarray(values.replace_strict(known, default=default, return_dtype=pl.Int64).to_numpy())

    def decode(self, codes: Codes) -> pl.Series:
        """Return the levels of these codes, String."""
        levels = pl.Series([None, *self.levels, *([OTHER] if self.rare else [])], dtype=pl.String)
        return levels.gather(codes).alias(self.name)

    def to_dict(self) -> dict[str, Any]:
        """Return the code as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> CategoryCode:
        """Return the code that `to_dict` wrote."""
        return cls(**{**plain, "levels": tuple(map(str, plain["levels"]))})
