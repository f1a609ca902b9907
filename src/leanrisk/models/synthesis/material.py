"""Rows ready for a network: their free columns, their conditions, and batches in which rare conditions are seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leanrisk.models.synthesis.codec import Encoded
from leanrisk.models.synthesis.layout import Layout


@dataclass(frozen=True)
class Shape:
    """Layouts of the free columns and of the condition columns."""

    free: Layout
    told: Layout


@dataclass(frozen=True)
class Material:
    """Encoded rows: codes and places of the free columns, codes of the condition columns."""

    shape: Shape
    free: Encoded
    told: npt.NDArray[np.int64]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.free.rows

    def chances(self, power: float) -> npt.NDArray[np.float64] | None:
        """Return each row's chance to be drawn: a condition's grows with its count to this power; None where alike."""
        if not self.told.shape[1] or power == 1.0:
            return None
        _, place, counts = np.unique(self.told, axis=0, return_inverse=True, return_counts=True)
        weight = counts.astype(np.float64) ** (power - 1.0)
        chances = weight[place.ravel()]
        return np.asarray(chances / chances.sum())

    def batch(self, rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Return codes one-hot, ranks of numbers, and conditions one-hot of these rows."""
        part, free = self.free.take(rows), self.shape.free
        return free.one_hot(part.codes), free.ranks(part.codes, part.places), self.shape.told.one_hot(self.told[rows])

    def places(self, rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return the places of these rows' numbers, and 1 where one stands in a mode, both (rows, columns)."""
        part, free = self.free.take(rows), self.shape.free
        inside = (part.codes >= free.first) & (free.modes > 0)
        return torch.from_numpy(part.places), torch.from_numpy(inside.astype(np.float32))


class Batches:
    """Draws the rows of batches for as long as they are asked for; equal generators draw equal batches."""

    def __init__(self, material: Material, size: int, power: float, rng: np.random.Generator) -> None:
        self._rows, self._rng = material.rows, rng
        self._size = min(size, max(2, material.rows))
        chances = material.chances(power)
        self._upto = None if chances is None else np.cumsum(chances)

    def next(self) -> npt.NDArray[np.int64]:
        """Return the positions of the next batch's rows, drawn with replacement."""
        if self._upto is None:
            return self._rng.integers(self._rows, size=self._size)
        places = np.searchsorted(self._upto, self._rng.random(self._size) * self._upto[-1])
        return np.asarray(np.minimum(places, self._rows - 1))
