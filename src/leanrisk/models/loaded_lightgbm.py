"""A LightGBM model that the bank brings as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import ModelError
from leanrisk.core.files import write_text
from leanrisk.models.column_reader import ColumnReader
from leanrisk.models.gbdt_served import FAST_NOTE, SingleRow, bare_route, frame_route
from leanrisk.models.incumbent import Record, RecordRoute, RowRoute
from leanrisk.models.lightgbm_text import ModelText, booster_from_text, read_model_facts
from leanrisk.models.model_file import read_model_text


@dataclass(frozen=True)
class LoadedLightGBM:
    """A LightGBM booster over the bank's own columns, in the order the model was trained on."""

    booster: lgb.Booster
    facts: ModelText
    features: tuple[str, ...]
    text: str
    threads: int = 2
    kind: str = "lightgbm"
    compiled_note: str = FAST_NOTE

    @property
    def size_bytes(self) -> int:
        """Bytes of the model text."""
        return len(self.text.encode())

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return the probability of bad (regression: the value) per row, shape (rows,)."""
        if frame.height == 0:
            return np.empty(0, dtype=np.float64)
        matrix = self._reader.matrix(frame)
        return np.asarray(self.booster.predict(matrix, num_threads=self.threads), dtype=np.float64)

    def usual(self) -> RecordRoute:
        """Return the route most banks serve: a record, a one-row pandas frame, `predict_proba`, one thread."""
        places = [self.facts.names.index(name) for name in self.facts.levels]
        ask = frame_route(self.booster, self.features, binary=self.facts.is_binary, categorical=places)
        return lambda record: ask(self.bare_row(record))

    def bare(self) -> RowRoute:
        """Return `Booster.predict` on a numpy row, one thread."""
        return bare_route(self.booster)

    def bare_row(self, record: Record) -> npt.NDArray[np.float64]:
        """Return the float64 array, shape (1, columns), that `bare` and `compiled` take for this record."""
        return self._reader.row(record)

    def compiled(self) -> RowRoute:
        """Return LightGBM's prepared single-row call; its scores equal `predict` exactly."""
        return SingleRow(self.booster)

    def save(self, folder: Path) -> None:
        """Write the text as it came to `model.txt` in `folder`."""
        write_text(folder / "model.txt", self.text)

    @cached_property
    def _reader(self) -> ColumnReader:
        renamed = dict(zip(self.facts.names, self.features, strict=True))
        return ColumnReader(self.features, {renamed[name]: levels for name, levels in self.facts.levels.items()})


def load_lightgbm(path: Path | str, *, features: Sequence[str] | None = None, threads: int = 2) -> LoadedLightGBM:
    """Return the model in LightGBM text at `path`.

    Pandas categorical columns are read by their names, from the model's `pandas_categorical` line; category columns
    that were trained as integers take integers. `features` renames the columns, in model order: LightGBM writes
    blanks in names as underscores, and names columns of a numpy matrix `Column_0`, `Column_1` ...
    Raises `ModelError` for a pickle, a JSON dump, a cut or altered text, or a model with several classes.
    """
    file = Path(path)
    text = read_model_text(file)
    if text.lstrip().startswith("{"):
        raise ModelError(
            f"A LightGBM model must be text: '{file}' is JSON, which LightGBM writes (`dump_model`) and cannot read "
            "back. Save the model with `booster.save_model('model.txt')`."
        )
    facts = read_model_facts(text, file)
    booster = booster_from_text(text, file)
    names = tuple(features) if features is not None else facts.names
    if len(names) != len(facts.names) or len(set(names)) != len(names):
        raise ModelError(
            f"'{file}' reads {len(facts.names)} columns: {len(names)} names were given, or two alike. Name each once."
        )
    return LoadedLightGBM(booster, facts, names, text, threads)
