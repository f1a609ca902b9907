"""An XGBoost model that the bank brings as JSON or UBJSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.files import replacing
from leanrisk.models.column_reader import ColumnReader
from leanrisk.models.incumbent import Record, RecordRoute, RowRoute
from leanrisk.models.model_file import checked_path

_PROBABILITY = frozenset({"binary:logistic", "reg:logistic"})
_VALUE = frozenset(
    {"reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:gamma", "reg:tweedie", "count:poisson"}
)


@dataclass(frozen=True)
class LoadedXGBoost:
    """An XGBoost booster over numeric columns, in the order the model was trained on."""

    booster: Any
    features: tuple[str, ...]
    raw: bytes
    suffix: str
    binary: bool = True
    kind: str = "xgboost"
    compiled_note: str = "XGBoost has no prepared single-row call; `bare` (inplace_predict) is its fastest exact route."

    @property
    def size_bytes(self) -> int:
        """Bytes of the model file."""
        return len(self.raw)

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return the probability of bad (regression: the value) per row, shape (rows,)."""
        if frame.height == 0:
            return np.empty(0, dtype=np.float64)
        matrix = self._reader.matrix(frame)
        return np.asarray(self.booster.inplace_predict(matrix, validate_features=False), dtype=np.float64)

    def usual(self) -> RecordRoute:
        """Return the route most banks serve: a record, a one-row pandas frame, `predict_proba`, one thread."""
        import pandas as pd
        import xgboost as xgb

        estimator = xgb.XGBClassifier(n_jobs=1) if self.binary else xgb.XGBRegressor(n_jobs=1)
        estimator.load_model(bytearray(self.raw))
        columns = pd.Index(list(self.features))

        def score(record: Record) -> float:
            frame = pd.DataFrame(self.bare_row(record), columns=columns)
            return float(estimator.predict_proba(frame)[0, 1] if self.binary else estimator.predict(frame)[0])

        if self.booster.feature_names is not None:
            columns = pd.Index(self.booster.feature_names)
        return score

    def bare(self) -> RowRoute:
        """Return `inplace_predict` on a numpy row, one thread."""
        single = self.booster.copy()
        single.set_param({"nthread": 1})
        return lambda row: float(single.inplace_predict(row, validate_features=False)[0])

    def bare_row(self, record: Record) -> npt.NDArray[np.float64]:
        """Return the float64 array, shape (1, columns), that `bare` takes for this record."""
        return self._reader.row(record)

    def compiled(self) -> RowRoute | None:
        """Return None: see `compiled_note`."""
        return None

    def save(self, folder: Path) -> None:
        """Write the model as it came to `model.json` or `model.ubj` in `folder`."""
        with replacing(folder / f"model{self.suffix}") as part:
            part.write_bytes(self.raw)

    @cached_property
    def _reader(self) -> ColumnReader:
        return ColumnReader(self.features, {})


def load_xgboost(path: Path | str, *, features: Sequence[str] | None = None) -> LoadedXGBoost:
    """Return the model in XGBoost's JSON (.json) or UBJSON (.ubj) at `path`.

    `features` names its columns in model order; needed where the model was trained on a bare matrix.
    Raises `ModelError` for a pickle, a cut file, several classes or categorical columns, `ConfigError` where xgboost is
    not installed.
    """
    try:
        import xgboost as xgb
    except ImportError as error:
        raise ConfigError(
            f"An XGBoost model needs xgboost: it is missing ({error}). Run in a checkout: pip install '.[xgboost]'."
        ) from error
    file = checked_path(path)
    raw = file.read_bytes()
    suffix = file.suffix.lower()
    if suffix == ".json":
        _check_json(raw, file)
    try:
        booster = xgb.Booster()
        booster.load_model(bytearray(raw))
        objective = str(json.loads(booster.save_config())["learner"]["objective"]["name"])
    except (xgb.core.XGBoostError, ValueError, KeyError) as error:
        raise ModelError(f"XGBoost cannot read '{file}' ({_first_line(error)}). Save the model again.") from error
    if objective not in _PROBABILITY | _VALUE:
        raise ModelError(
            f"An incumbent's objective must be one of {', '.join(sorted(_PROBABILITY | _VALUE))}: '{file}' has "
            f"'{objective}'. Bring its scores as a column instead."
        )
    names = _names(booster, features, file)
    return LoadedXGBoost(booster, names, raw, suffix, objective in _PROBABILITY)


def _names(booster: Any, features: Sequence[str] | None, file: Path) -> tuple[str, ...]:
    if "c" in (booster.feature_types or ()):
        raise ModelError(
            f"'{file}' has categorical columns, which are not supported. Bring its scores as a column instead."
        )
    names = tuple(features if features is not None else booster.feature_names or ())
    width = int(booster.num_features())
    if len(names) != width or len(set(names)) != len(names):
        raise ModelError(
            f"'{file}' reads {width} columns and {len(set(names))} distinct names are known. Give all as `features`, "
            "in the model's order."
        )
    return names


def _check_json(raw: bytes, file: Path) -> None:
    try:
        model = json.loads(raw)
    except ValueError as error:
        raise ModelError(f"'{file}' must be whole JSON: it is not ({error}). Save the model again.") from error
    if isinstance(model, dict) and "tree_info" in model:
        raise ModelError(
            f"'{file}' is a LightGBM dump, which LightGBM cannot read back. Save that model with "
            "`booster.save_model('model.txt')`."
        )
    if not isinstance(model, dict) or "learner" not in model:
        raise ModelError(f"'{file}' is JSON, but no XGBoost model: it has no 'learner'. Use `booster.save_model`.")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
