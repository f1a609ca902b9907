"""The model to beat, whoever made it: what the bench may ask of it, and how raw rows reach it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.inputs import Inputs

Record = Mapping[str, object]
"""One decision's raw fields, by column name; an absent key or None is missing."""
RecordRoute = Callable[[Record], float]
"""From a record to a probability of bad (regression: a value)."""
Row = npt.NDArray[np.float32] | npt.NDArray[np.float64]
"""One record as numbers, shape (1, columns), in the precision that the model was trained on."""
RowRoute = Callable[[Row], float]
"""From the array that `bare_row` makes to a probability of bad (regression: a value)."""


@dataclass(frozen=True)
class Reading:
    """How raw rows become a trained model's arrays: whole frames, and single records on the serving path.

    Both come from the encoder that was fitted on train (`Encoder.inputs`, `Encoder.record`); models sit on the
    encoder's layer and so are handed its functions.
    """

    frame: Callable[[pl.DataFrame], Inputs]
    record: Callable[[Record], Inputs]


@dataclass(frozen=True)
class OutOfFold:
    """Scores of training rows by models that did not see them: float32, shape (rows,), in the order of the rows.

    `margin` is the log-odds of bad (regression: the value), `score` the probability of bad (regression: the value).
    """

    margin: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]


class Incumbent(Protocol):
    """A model to beat. A route that it cannot offer is None; `compiled_note` says what `compiled` is, or why not."""

    @property
    def kind(self) -> str:
        """One of "lightgbm", "scorecard", "xgboost", "onnx", "scores"."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        ...

    @property
    def compiled_note(self) -> str:
        """What `compiled` is, or why it is None."""
        ...

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of everything needed to score; 0 where only scores are known."""
        ...

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return the probability of bad per row, shape (rows,); for a regression the predicted value."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model into `folder`, without pickle."""
        ...

    def usual(self) -> RecordRoute | None:
        """Return the route most banks serve: a record, a one-row pandas frame, `predict_proba`."""
        ...

    def bare(self) -> RowRoute | None:
        """Return the model's own one-row call on the array that `bare_row` makes, one thread."""
        ...

    def bare_row(self, record: Record) -> Row:
        """Return the array, shape (1, columns), that `bare` and `compiled` take for this record."""
        ...

    def compiled(self) -> RowRoute | None:
        """Return the fastest route whose scores equal `predict` to 1e-12, or None."""
        ...
