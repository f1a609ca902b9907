"""Teachers beside the incumbent: anything with `predict_proba`, and columns of scores; what they said is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ModelError
from leanrisk.core.files import replacing, writable_folder
from leanrisk.features.encoder import Encoder
from leanrisk.models.hint import checked_hints
from leanrisk.models.incumbent import RecordRoute

Floats = npt.NDArray[np.float64]

_TOLD_APART = 10
"""Fewer rows may well be given the same."""


@dataclass(frozen=True)
class Teaching:
    """A plugged teacher as it stands after a fit: probabilities of bad for raw rows, checked."""

    name: str
    model: Any
    encoder: Encoder
    kind: str = "plugged"

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return self.encoder.fields.names

    @property
    def size_bytes(self) -> int:
        """0: a teacher is never served."""
        return 0

    def predict(self, frame: pl.DataFrame) -> Floats:
        """Return the probability of bad per row, shape (rows,); raises `ModelError` as `checked_opinion` does."""
        if frame.height == 0:
            return np.empty(0)
        return checked_opinion(self.model.predict_proba(self.encoder.inputs(frame).matrix()), frame.height, self.name)

    def usual(self) -> RecordRoute | None:
        """Return None: a teacher is never served."""
        return None


@dataclass(frozen=True)
class PluggedTeacher:
    """An object with `predict_proba`, and where it can be fitted, with `fit` and `get_params` as scikit-learn has them.

    It is given a float32 matrix (rows, columns): numbers with NaN for missing, then category codes. One that can be
    fitted is fitted anew, a clone for each fold, so that its opinions are out of fold; one that cannot is asked as it
    is, and must not have learned from these rows. `represent(frame)`, if it has one, gives hidden states for hints; it
    is asked of the object as it is, since states of models fitted anew would have no axes in common.
    """

    name: str
    model: Any

    def __post_init__(self) -> None:
        if not callable(getattr(self.model, "predict_proba", None)):
            raise ModelError(
                f"A teacher is asked by predict_proba: '{self.name}' has none. Bring a classifier, or its scores as a "
                "column of the data."
            )

    @property
    def shows_states(self) -> bool:
        """Whether it has `represent`: hidden states, which a hint may use."""
        return callable(getattr(self.model, "represent", None))

    def states(self, frame: pl.DataFrame) -> npt.NDArray[np.float32]:
        """Return its hidden states of raw rows, float32 (rows, width), as it is; raises as `checked_hints` does."""
        return checked_hints(self.model.represent(frame), frame.height, self.name)

    @property
    def identity(self) -> str:
        """What tells one teacher from another: its class, and its parameters where it names them."""
        kind = type(self.model)
        told = self.model.get_params() if callable(getattr(self.model, "get_params", None)) else {}
        return f"{self.name}:{kind.__module__}.{kind.__qualname__}:{json.dumps(told, sort_keys=True, default=str)}"

    def taught(self, rows: Dataset, encoder: Encoder) -> Teaching:
        """Return the teacher fitted on these rows, or as it is where it cannot be fitted."""
        if not (callable(getattr(self.model, "fit", None)) and callable(getattr(self.model, "get_params", None))):
            return Teaching(self.name, self.model, encoder)
        from sklearn.base import clone

        fresh = clone(self.model)
        fresh.fit(encoder.inputs(rows.frame).matrix(), rows.labels.astype(np.int64))
        return Teaching(self.name, fresh, encoder)


def plugged(teachers: Mapping[str, Any] | Sequence[Any]) -> tuple[PluggedTeacher, ...]:
    """Return the teachers by name; those of a plain sequence are named by their class and place."""
    if isinstance(teachers, Mapping):
        return tuple(PluggedTeacher(str(name), model) for name, model in teachers.items())
    return tuple(PluggedTeacher(f"{type(model).__name__} {place}", model) for place, model in enumerate(teachers, 1))


def frame_digest(frame: pl.DataFrame) -> str:
    """Return a SHA-256 over the names and values of all columns, what a memory knew included; row order counts."""
    digest = hashlib.sha256("\0".join(f"{name}:{dtype}" for name, dtype in frame.schema.items()).encode())
    digest.update(np.ascontiguousarray(frame.hash_rows(seed=0).to_numpy()).tobytes())
    return digest.hexdigest()


def checked_opinion(values: Any, rows: int, name: str) -> Floats:
    """Return probabilities of bad, float64 (rows,), from what `predict_proba` gave: (rows, 2), (rows, 1) or (rows,).

    Raises `ModelError`, naming the teacher, for scores that do not align with the rows, are not finite, lie outside
    [0, 1], or are the same for every one of ten rows or more: nothing can be learned from those.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim == 2 and found.shape[1] in (1, 2):
        found = found[:, -1]
    if found.shape != (rows,):
        raise ModelError(
            f"A teacher gives one score per row: '{name}' gave an array {np.shape(values)} for {rows} rows. Give the "
            "probability of bad of each, in the order of the rows."
        )
    if not np.isfinite(found).all():
        lost = int((~np.isfinite(found)).sum())
        raise ModelError(f"A teacher's scores must be finite: {lost} of {rows} of '{name}' are not. Mend the teacher.")
    if found.min() < 0 or found.max() > 1:
        raise ModelError(
            f"A teacher's scores are probabilities: '{name}' gave {found.min():g} to {found.max():g}. Bring other "
            "scores as a column, which is fitted to the outcomes."
        )
    if rows >= _TOLD_APART and found.min() == found.max():
        raise ModelError(
            f"A teacher must tell rows apart: '{name}' gave {found[0]:g} for all {rows}. Leave it out, or mend it."
        )
    return found


@dataclass(frozen=True)
class OpinionCache:
    """Opinions on disk, each under the SHA-256 of who gave it and of the rows that it is on.

    A second student, or a run that was cut and resumed, reads them instead of asking again.
    """

    folder: Path

    @cached_property
    def _place(self) -> Path:
        return writable_folder(self.folder)

    def kept(self, key: Sequence[str], rows: int) -> npt.NDArray[np.float32] | None:
        """Return the float32 opinions on `rows` rows that were put here under `key`, None where there are none."""
        file = self._file(key)
        if not file.is_file():
            return None
        found: npt.NDArray[np.float32] = np.fromfile(file, dtype="<f4")
        # A file of another length was cut while it was written by something else than this class: ask again.
        return found if found.shape == (rows,) else None

    def put(self, key: Sequence[str], opinions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Keep the opinions under `key` and return them."""
        with replacing(self._file(key)) as part:
            part.write_bytes(np.ascontiguousarray(opinions, dtype="<f4").tobytes())
        return opinions

    def through(
        self, key: Sequence[str], rows: int, ask: Callable[[], npt.NDArray[np.float32]]
    ) -> npt.NDArray[np.float32]:
        """Return what is kept under `key`, or what `ask` says, which is kept from then on."""
        found = self.kept(key, rows)
        return self.put(key, ask()) if found is None else found

    def _file(self, key: Sequence[str]) -> Path:
        return self._place / f"{hashlib.sha256(json.dumps(list(key)).encode()).hexdigest()}.f32"
