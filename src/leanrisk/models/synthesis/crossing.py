"""Rows near those that there are: a row with a few columns of another one, and numbers moved a little."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from leanrisk.core.constraints import Constraints
from leanrisk.core.seeding import generator
from leanrisk.models.synthesis.codec import Codec, Encoded

_SWAPPED = 0.1
_MOVED = 0.15
_ROUNDS = 20


@dataclass(frozen=True)
class Crossing:
    """Rows that are crossed with each other; rules of the codec are kept."""

    codec: Codec
    rows: Encoded

    @classmethod
    def of(cls, frame: pl.DataFrame, *, rules: Constraints | None = None) -> Crossing:
        """Return what crosses these rows; raises `DataError` for a table that cannot be coded."""
        codec = Codec.fit(frame, rules=rules)
        return cls(codec, codec.encode(frame))

    def drawn(self, count: int, *, seed: int) -> pl.DataFrame:
        """Return up to `count` new rows: fewer only where next to none keeps to the rules."""
        rng = generator(seed, "crossing")
        parts, left = [], count
        for _ in range(_ROUNDS):
            frame, good = self.codec.decode(self._crossed(left, rng))
            parts.append(frame if good.all() else frame.filter(pl.Series(good)))
            left -= parts[-1].height
            if left <= 0:
                break
        return pl.concat(parts)

    def _crossed(self, count: int, rng: np.random.Generator) -> Encoded:
        one, other = (self.rows.take(rng.integers(self.rows.rows, size=count)) for _ in range(2))
        swapped = rng.random(one.codes.shape) < _SWAPPED
        moved = one.places + _MOVED * rng.standard_normal(one.places.shape, dtype=np.float32)
        places = np.where(swapped, other.places, np.clip(moved, 0.0, 1.0))
        return Encoded(np.where(swapped, other.codes, one.codes), places)
