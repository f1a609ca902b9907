"""What a text or image network learns from: batches by row number, outcomes, and a teacher's opinions and states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from leanrisk.core.errors import ModelError

Floats = npt.NDArray[np.float32]
Inputs = Mapping[str, Tensor]


class Batches(Protocol):
    """Rows that a network reads, handed out by their numbers."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        ...

    def take(self, chosen: Tensor) -> Inputs:
        """Return what the network reads for these rows (int64 numbers), by the names of its arguments."""
        ...


@runtime_checkable
class Arranging(Protocol):
    """Batches that say which rows go well together: texts of like length need little padding."""

    def arranged(self, order: Tensor, batch: int) -> Tensor:
        """Return the row numbers of `order` in another order, to be cut into batches of `batch`."""
        ...


@dataclass(frozen=True)
class TensorBatches:
    """Batches out of whole tensors, whose first dimension is the rows."""

    tensors: Inputs

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in self.tensors.items()}
        if len(set(lengths.values())) != 1:
            raise ModelError(f"The inputs of a network must have the same rows: they have {lengths}. Align them.")

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.tensors.values())))

    def take(self, chosen: Tensor) -> Inputs:
        """Return these rows of every tensor."""
        return {name: values[chosen] for name, values in self.tensors.items()}


@dataclass(frozen=True)
class PairLesson:
    """Rows to learn from.

    labels: (rows,), class numbers or 0/1; where floating, NaN = unknown. teacher: its logits, (rows,) for one binary
    outcome or (rows, classes), None to learn from the labels alone. hints: its pooled states, (rows, width), or None.
    Raises `ModelError` for opinions that are constant, not finite, or not aligned with the rows.
    """

    batches: Batches
    labels: Tensor
    teacher: Floats | None = None
    hints: Floats | None = None

    def __post_init__(self) -> None:
        rows = self.batches.rows
        if rows == 0:
            raise ModelError("A lesson needs rows: it has none. Add some.")
        if self.labels.shape != (rows,):
            raise ModelError(
                f"labels must align with the rows: shape {tuple(self.labels.shape)} against {rows} rows. Give one each."
            )
        for name, values in (("The teacher's logits", self.teacher), ("The teacher's states", self.hints)):
            if values is not None:
                _check_opinions(name, values, rows)
        if self.hints is not None and self.hints.ndim != 2:
            raise ModelError(f"The teacher's states must be (rows, width): they are {self.hints.shape}. Pool them.")
        if self.teacher is None and self.labels.is_floating_point() and bool(self.labels.isnan().all()):
            raise ModelError("A lesson needs a teacher's opinions or known outcomes: it has neither. Add some.")


def _check_opinions(name: str, values: Floats, rows: int) -> None:
    if values.ndim not in (1, 2) or len(values) != rows:
        raise ModelError(
            f"{name} must align with the rows: shape {values.shape} against {rows} rows. Ask the teacher again."
        )
    if not np.isfinite(values).all():
        raise ModelError(f"{name} must be finite: some are NaN or infinite. Leave those rows out.")
    if rows > 1 and bool((values == values[0]).all()):
        raise ModelError(
            f"{name} must tell rows apart: they are the same for all {rows} rows. Train the teacher, or do without it."
        )
