"""New rows in a stream: drawn block by block, memorised and rule-breaking ones refused and counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from leanrisk.core.errors import ConfigError
from leanrisk.core.seeding import generator
from leanrisk.models.synthesis.codec import Encoded
from leanrisk.models.synthesis.conditions import Asked
from leanrisk.models.synthesis.originals import Originals
from leanrisk.models.synthesis.row_generator import Learned

BLOCK = 8192
_LEAST_KEPT = 0.005
_PATIENCE = 4


@dataclass
class Refused:
    """How many drawn rows were refused: copies of originals, and breakers of a rule."""

    memorised: int = 0
    breaking: int = 0


class Sampling:
    """Draws rows of a generator that meet the wanted values; equal seeds draw equal rows, however they are taken.

    `originals`: the rows that it learned, so that near copies of them are refused; None where they are not at hand.
    """

    def __init__(
        self, learned: Learned, wanted: Asked | None = None, *, seed: int, originals: Originals | None = None
    ) -> None:
        self._learned, self._seed, self._originals = learned, seed, originals
        self._combinations, self._shares = learned.conditions.asked(wanted or {}, learned.codec)
        self.refused = Refused()

    def frames(self, rows: int) -> Iterator[pl.DataFrame]:
        """Yield tables of up to `BLOCK` rows until there are `rows`.

        Raises `ConfigError` for a number of rows below 1, and where next to no row keeps to the rules.
        """
        if rows < 1:
            raise ConfigError(f"At least one row must be asked for: it is {rows}. Give a number of 1 or more.")
        left, drawn, kept = rows, 0, 0
        for block in range(2**31):
            frame = self._block(block)
            drawn, kept = drawn + BLOCK, kept + frame.height
            if block >= _PATIENCE and kept < _LEAST_KEPT * drawn:
                raise ConfigError(
                    f"Rows must be able to keep to the rules: {kept} of {drawn:,} drawn ones did "
                    f"({self.refused.breaking:,} broke one, {self.refused.memorised:,} were copies). Loosen the ranges "
                    "of [constraints]."
                )
            if frame.height:
                yield frame.head(left)
            left -= min(left, frame.height)
            if not left:
                return

    def _block(self, number: int) -> pl.DataFrame:
        rng = generator(self._seed, "sampling", str(number))
        some = rng.choice(len(self._shares), size=BLOCK, p=self._shares)
        rows: Encoded = self._learned.drawn(self._combinations[some], rng)
        if self._originals is not None:
            copies = self._originals.memorised(rows)
            self.refused.memorised += int(copies.sum())
            rows = rows.take(~copies)
        frame, good = self._learned.codec.decode(rows)
        if good.all():
            return frame
        self.refused.breaking += int((~good).sum())
        return frame.filter(pl.Series(good))


def sampled(
    learned: Learned, rows: int, wanted: Asked | None = None, *, seed: int, originals: Originals | None = None
) -> pl.DataFrame:
    """Return `rows` new rows as one table; raises as `Sampling` does."""
    return pl.concat(list(Sampling(learned, wanted, seed=seed, originals=originals).frames(rows)))


def originals_of(learned: Learned, frame: pl.DataFrame, *, seed: int) -> Originals:
    """Return what generated rows are compared with: the rows of `frame`, which the generator learned."""
    return Originals(learned.codec, learned.codec.encode(frame), seed=seed)
