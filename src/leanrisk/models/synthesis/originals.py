"""Rows that generated ones are compared with, so that a memorised row is refused: in memory only, never in a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.seeding import generator
from leanrisk.models.synthesis.codec import Codec, Encoded

NEAR = 0.01
"""Mean distance over columns, in shares of a column's rows, below which a row is a copy or next to one."""
_TABLES, _COLUMNS, _CELLS = 6, 10, 4
_TRIED = 2000


@dataclass(frozen=True)
class _Table:
    """One look-up by some columns: sorted hashes of the rows' cells, and the rows in that order."""

    columns: npt.NDArray[np.int64]
    odd: npt.NDArray[np.uint64]
    hashes: npt.NDArray[np.uint64]
    order: npt.NDArray[np.int64]

    def candidates(self, rows: Encoded) -> npt.NDArray[np.int64]:
        """Return for each row an original in the same cells, or -1."""
        hashes = _hashes(rows, self.columns, self.odd)
        place = np.minimum(np.searchsorted(self.hashes, hashes), self.hashes.size - 1)
        return np.where(self.hashes[place] == hashes, self.order[place], -1)


class Originals:
    """The rows that a generator learned; `chance` is the share of real rows that lie as near to others of them.

    Candidates are found by several look-ups, each by the cells of some columns, and then measured over all columns.
    """

    def __init__(self, codec: Codec, rows: Encoded, *, seed: int, chance: float | None = None) -> None:
        self._first, self._rows = codec.first_modes, rows
        self._modes = np.maximum(1, np.array(codec.sizes) - self._first)
        rng = generator(seed, "originals")
        columns = len(codec.sizes)
        self._tables = [self._table(rng, columns) for _ in range(_TABLES)] if rows.rows else []
        self.chance = self._measured(codec, rng, seed) if chance is None else chance

    def distances(self, rows: Encoded) -> npt.NDArray[np.float64]:
        """Return the distance of each row to the nearest original that is found, (rows,); infinite where none is."""
        nearest = np.full(rows.rows, np.inf)
        for table in self._tables:
            found = table.candidates(rows)
            some = np.flatnonzero(found >= 0)
            nearest[some] = np.minimum(nearest[some], self._distance(rows.take(some), self._rows.take(found[some])))
        return nearest

    def memorised(self, rows: Encoded) -> npt.NDArray[np.bool_]:
        """Return which rows to refuse: the nearest ones, as many as lie near beyond what chance gives."""
        distances = self.distances(rows)
        near = np.flatnonzero(distances < NEAR)
        excess = near.size - round(self.chance * rows.rows)
        refused = np.zeros(rows.rows, dtype=np.bool_)
        if excess > 0:
            refused[near[np.argsort(distances[near], kind="stable")[:excess]]] = True
        return refused

    def _table(self, rng: np.random.Generator, columns: int) -> _Table:
        some = np.sort(rng.permutation(columns)[:_COLUMNS])
        odd = rng.integers(0, 2**63, size=some.size, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        hashes = _hashes(self._rows, some, odd)
        order = np.argsort(hashes, kind="stable")
        return _Table(some, odd, hashes[order], order)

    def _measured(self, codec: Codec, rng: np.random.Generator, seed: int) -> float:
        order = rng.permutation(self._rows.rows)
        tried = min(_TRIED, self._rows.rows // 4)
        if tried == 0:
            return 0.0
        others = Originals(codec, self._rows.take(order[tried:]), seed=seed, chance=0.0)
        return float((others.distances(self._rows.take(order[:tried])) < NEAR).mean())

    def _distance(self, left: Encoded, right: Encoded) -> npt.NDArray[np.float64]:
        both = (left.codes >= self._first) & (right.codes >= self._first)
        rank = np.abs((left.codes - right.codes) + (left.places - right.places)) / self._modes
        return np.asarray(np.where(both, rank, left.codes != right.codes).mean(axis=1), dtype=np.float64)


def _hashes(rows: Encoded, columns: npt.NDArray[np.int64], odd: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    cells = rows.codes[:, columns] * (_CELLS + 1) + (rows.places[:, columns] * _CELLS).astype(np.int64)
    mixed = (cells.astype(np.uint64) + np.uint64(1)) * odd
    mixed ^= mixed >> np.uint64(29)
    return np.asarray((mixed * odd).sum(axis=1, dtype=np.uint64))
