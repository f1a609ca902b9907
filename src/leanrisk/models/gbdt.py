"""A LightGBM model trained here: the usual incumbent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import ModelError
from leanrisk.core.files import write_json, write_text
from leanrisk.core.inputs import Fields, Inputs
from leanrisk.models.gbdt_served import FAST_NOTE, SingleRow, bare_route, frame_route
from leanrisk.models.incumbent import Reading, Record, RecordRoute, RowRoute
from leanrisk.models.lightgbm_text import booster_from_text
from leanrisk.models.model_file import json_facts, read_model_text

_TEXT, _FACTS = "model.txt", "gbdt.json"


class Objective(StrEnum):
    """What a model predicts: the probability of bad, or a value."""

    BINARY = "binary"
    REGRESSION = "regression"


@dataclass(frozen=True)
class Gbdt:
    """LightGBM trees over `Inputs`: numeric columns with NaN for missing, category codes split natively."""

    booster: lgb.Booster
    fields: Fields
    reading: Reading
    objective: Objective = Objective.BINARY
    threads: int = 2
    kind: str = "lightgbm"
    compiled_note: str = FAST_NOTE

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that the model was offered, numeric first."""
        return self.fields.names

    @cached_property
    def text(self) -> str:
        """The model in LightGBM's own text format."""
        return str(self.booster.model_to_string(num_iteration=-1))

    @property
    def size_bytes(self) -> int:
        """Bytes of the model text and of the facts beside it."""
        return len(self.text.encode()) + len(json.dumps(self._facts()).encode())

    @property
    def rounds(self) -> int:
        """Number of trees."""
        return int(self.booster.num_trees())

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return the probability of bad (regression: the value) per row of raw columns, shape (rows,)."""
        return self.score(self.reading.frame(frame))

    def score(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Return the probability of bad (regression: the value) per row, shape (rows,)."""
        return self._predicted(inputs, raw_score=False)

    def margin(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Return the log-odds of bad (regression: the value) per row, shape (rows,)."""
        return self._predicted(inputs, raw_score=True)

    def _predicted(self, inputs: Inputs, *, raw_score: bool) -> npt.NDArray[np.float64]:
        if inputs.rows == 0:
            return np.empty(0, dtype=np.float64)
        matrix = inputs.matrix()
        return np.asarray(self.booster.predict(matrix, raw_score=raw_score, num_threads=self.threads), dtype=np.float64)

    def contributions(self, inputs: Inputs) -> npt.NDArray[np.float64]:
        """Return exact TreeSHAP values in log-odds, shape (rows, columns + 1); the last column is the base value."""
        matrix = inputs.matrix()
        found = self.booster.predict(matrix, pred_contrib=True, num_threads=self.threads)
        return np.asarray(found, dtype=np.float64).reshape(inputs.rows, len(self.features) + 1)

    def importance(self) -> dict[str, float]:
        """Return the total gain of each column's splits, by column name."""
        gains = self.booster.feature_importance("gain")
        return {name: float(gain) for name, gain in zip(self.features, gains, strict=True)}

    def usual(self) -> RecordRoute:
        """Return the route most banks serve: a record, a one-row pandas frame, `predict_proba`, one thread."""
        ask = frame_route(self.booster, self.features, binary=self.objective is Objective.BINARY)
        return lambda record: ask(self.bare_row(record))

    def bare(self) -> RowRoute:
        """Return `Booster.predict` on a numpy row, one thread."""
        return bare_route(self.booster)

    def bare_row(self, record: Record) -> npt.NDArray[np.float32]:
        """Return the float32 array, shape (1, columns), that `bare` and `compiled` take for this record."""
        return self.reading.record(record).matrix()

    def compiled(self) -> RowRoute:
        """Return LightGBM's prepared single-row call; its scores equal `predict` exactly."""
        return SingleRow(self.booster)

    def save(self, folder: Path) -> None:
        """Write `model.txt` (LightGBM's own text) and `gbdt.json` (fields, objective) into `folder`."""
        write_text(folder / _TEXT, self.text)
        write_json(folder / _FACTS, self._facts())

    def _facts(self) -> dict[str, Any]:
        return {"format": 1, "objective": self.objective.value, "fields": self.fields.to_dict()}


def load_gbdt(folder: Path | str, reading: Reading, *, threads: int = 2) -> Gbdt:
    """Return the model that `Gbdt.save` wrote; raises `ModelError` where a file is missing, cut or altered."""
    place = Path(folder)
    text = read_model_text(place / _TEXT)
    facts = json_facts(place / _FACTS)
    try:
        fields, objective = Fields.from_dict(facts["fields"]), Objective(facts["objective"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"'{place / _FACTS}' is not what a saved model writes ({error!r}). Train it anew.") from error
    booster = booster_from_text(text, place / _TEXT)
    if booster.num_feature() != len(fields.names):
        raise ModelError(
            f"A saved model and its facts must agree: '{place / _TEXT}' has {booster.num_feature()} columns and "
            f"'{place / _FACTS}' {len(fields.names)}. Train it anew."
        )
    return Gbdt(booster, fields, reading, objective, threads)
