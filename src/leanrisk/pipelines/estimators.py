"""Lean models as scikit-learn estimators, for notebooks and pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, check_X_y, validate_data

from leanrisk.core.errors import ConfigError
from leanrisk.core.schema import Schema
from leanrisk.core.version import __version__
from leanrisk.data.read import to_frame
from leanrisk.pipelines.estimator_table import (
    array_frame,
    is_pandas,
    is_table,
    scoring_rows,
    table_schema,
    training_rows,
)
from leanrisk.pipelines.lean_fit import Effort, lean_fit, parts_to_teach_and_calibrate
from leanrisk.registry.bundle import Bundle, write_bundle
from leanrisk.registry.reference import reference_rows
from leanrisk.techniques.graph_model import GraphModel

_LEAST_OF_A_CLASS = 2
"""A row to learn from and another to stop by; the teacher's two folds need as many."""


class _LeanEstimator(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: their parameters, how they read tables, and how they are deployed."""

    model_: GraphModel
    schema_: Schema

    def __init__(
        self,
        *,
        preset: str = "swift",
        trials: int = 10,
        folds: int = 3,
        copies: int = 3,
        epochs: int = 20,
        threads: int = 1,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.preset = preset
        self.trials = trials
        self.folds = folds
        self.copies = copies
        self.epochs = epochs
        self.threads = threads
        self.random_state = random_state

    def to_bundle(self, folder: Path | str) -> Bundle:
        """Write the model to `folder` as a bundle and return it; its scores have the bits that this object gives.

        The bundle takes raw columns by name (x0, x1, ... where `fit` was given an array) and gives the probability of
        the second of `classes_`, or the amount; its card says which. A bundle that stood in `folder` is replaced;
        raises `OutputError` where that is not possible.
        """
        check_is_fitted(self)
        facts = {"leanrisk": __version__, "scenario": type(self).__name__, "seed": self._seed, "lineage": ["distill"]}
        return write_bundle(
            Path(folder),
            graph=self.model_.graph,
            encoder=self.model_.scoring_encoder,
            schema=self.schema_,
            reference=reference_rows(self.model_.encoder),
            card=self._card(),
            facts=facts,
            training=self.model_.save,
        )

    def _card(self) -> dict[str, Any]:
        return {"features": list(self.model_.features), "taught": self.model_.facts}

    def _effort(self) -> Effort:
        return Effort(self.preset, self.trials, self.folds, self.copies, self.epochs, self.threads)

    def _draw_seed(self) -> int:
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _training_table(self, X: Any, y: Any, *, amounts: bool) -> tuple[pl.DataFrame, npt.NDArray[Any]]:
        """Return the rows as a frame and the outcomes as scikit-learn checks them; raises its `ValueError`."""
        if not is_table(X):
            values, outcome = validate_data(
                self, X, y, dtype=np.float32, ensure_all_finite="allow-nan", ensure_min_samples=2, y_numeric=amounts
            )
            return array_frame(values), outcome
        frame = to_frame(X)
        validate_data(self, X if is_pandas(X) else frame, y, skip_check_array=True)
        # scikit-learn checks outcomes only together with rows; the rows themselves may hold categories.
        rows = np.zeros((frame.height, frame.width))
        _, outcome = check_X_y(rows, y, ensure_min_samples=2, y_numeric=amounts, estimator=self)
        return frame, outcome

    def _scored(self, X: Any) -> npt.NDArray[np.float32]:
        """Return the graph's answers for these rows, float32 (rows,)."""
        check_is_fitted(self)
        if is_table(X):
            frame = to_frame(X)
            validate_data(self, X if is_pandas(X) else frame, reset=False, skip_check_array=True)
        else:
            frame = array_frame(validate_data(self, X, reset=False, dtype=np.float32, ensure_all_finite="allow-nan"))
        if frame.height == 0:
            raise ValueError(f"Found array with 0 sample(s) while a minimum of 1 is required by {type(self).__name__}.")
        return self.model_.score(self.model_.encoder.inputs(scoring_rows(frame, self.schema_)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags


class LeanRiskClassifier(ClassifierMixin, _LeanEstimator):  # type: ignore[misc]
    """A lean network taught by a LightGBM: two classes, calibrated probabilities, deployable with `to_bundle`.

    Takes numpy, pandas, polars and Arrow; in a table, text and categorical columns are categories and NaN or null is
    missing. A part of the rows (`valid_share`) is held out and only calibrates.

    `preset`: "swift", "tiny" or "base" (see the guide). `trials`, `folds`: the teacher's search. `copies`: perturbed
    copies of the rows that the teacher gives its opinion on. `epochs`: the most that the network is taught. `threads`:
    of every library used. `random_state`: equal ones give equal predictions; the default is fixed.

    Few rows get a shorter search (one trial for every 200 rows: fewer could not tell trials apart), more copies (up to
    4,000 rows in all) and smaller batches. A class of two rows leaves none to hold out; then the taught rows calibrate
    too, and probabilities come out too sure.

    Fitted: `classes_` (the second one is what `predict_proba` gives the probability of), `n_features_in_`,
    `feature_names_in_` (where columns have names), `model_`, `schema_`.
    """

    classes_: npt.NDArray[Any]

    def __init__(
        self,
        *,
        preset: str = "swift",
        trials: int = 10,
        folds: int = 3,
        copies: int = 3,
        epochs: int = 20,
        valid_share: float = 0.2,
        threads: int = 1,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        super().__init__(
            preset=preset,
            trials=trials,
            folds=folds,
            copies=copies,
            epochs=epochs,
            threads=threads,
            random_state=random_state,
        )
        self.valid_share = valid_share

    def fit(self, X: Any, y: Any) -> LeanRiskClassifier:
        """Return the estimator, taught on X of shape (rows, columns) with the two labels in y.

        Raises `ValueError` for anything but two classes with at least 2 rows each, as scikit-learn asks;
        `DataError` for a table with infinities or columns that no model reads, `ConfigError` for a bad parameter.
        """
        if not 0 < self.valid_share < 1:
            raise ConfigError(f"valid_share must lie in (0, 1): it is {self.valid_share}. Choose for example 0.2.")
        frame, y = self._training_table(X, y, amounts=False)
        self.classes_, outcome = _two_classes(y)
        self._seed = self._draw_seed()
        self.schema_ = table_schema(frame, X, positive=(1,), note=f"1 stands for class {self.classes_[1]}")
        rows = training_rows(frame, self.schema_, outcome)
        taught, valid = parts_to_teach_and_calibrate(rows, self.valid_share, seed=self._seed)
        self.model_ = lean_fit(taught, valid, effort=self._effort(), objective="binary", seed=self._seed)
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the probabilities of both classes, float64 (rows, 2), in the order of `classes_`."""
        second = self._scored(X).astype(np.float64)
        return np.stack([1.0 - second, second], axis=1)

    def decision_function(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the log-odds of the second class, (rows,): above 0 where `predict` gives it."""
        chance = self._scored(X).astype(np.float64)
        # A float32 probability can round to 0 or 1; its odds stay finite.
        held = np.clip(chance, np.finfo(np.float32).tiny, 1.0 - 2.0**-25)
        return np.asarray(np.log(held) - np.log1p(-held), dtype=np.float64)

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the likelier label of each row, (rows,)."""
        likelier = self._scored(X) > np.float32(0.5)
        return np.asarray(self.classes_[likelier.astype(np.intp)])

    def _card(self) -> dict[str, Any]:
        names = [str(label) for label in self.classes_]
        return {**super()._card(), "classes": names, "probability_of": names[1]}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class LeanRiskRegressor(RegressorMixin, _LeanEstimator):  # type: ignore[misc]
    """A lean network taught by a LightGBM: an amount per row, deployable with `to_bundle`.

    Parameters, accepted tables and fitted attributes are those of `LeanRiskClassifier`, without classes and without a
    held-out part: an amount needs no calibration.
    """

    def fit(self, X: Any, y: Any) -> LeanRiskRegressor:
        """Return the estimator, taught on X of shape (rows, columns) with the finite amounts in y.

        Raises `ValueError` as scikit-learn asks, `DataError` for a table with infinities or columns that no model
        reads, `ConfigError` for a bad parameter.
        """
        frame, amounts = self._training_table(X, y, amounts=True)
        self._seed = self._draw_seed()
        self.schema_ = table_schema(frame, X, positive=())
        rows = training_rows(frame, self.schema_, amounts)
        self.model_ = lean_fit(rows, rows, effort=self._effort(), objective="regression", seed=self._seed)
        return self

    def predict(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the amount of each row, float64 (rows,)."""
        return self._scored(X).astype(np.float64)


def _two_classes(y: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Return the two labels in order and each row's place among them, as 0.0 and 1.0."""
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y", raise_unknown=True)
    if kind != "binary":
        raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
    classes, places, counts = np.unique(y, return_inverse=True, return_counts=True)
    if classes.size < 2:
        raise ValueError(f"A classifier must see two classes: y holds only one class, {classes[0]!r}. Bring the other.")
    if counts.min() < _LEAST_OF_A_CLASS:
        raise ValueError(
            f"Each class needs at least {_LEAST_OF_A_CLASS} rows: class {classes[counts.argmin()]!r} has "
            f"{counts.min()}. Bring more rows of it."
        )
    return classes, places.astype(np.float64)
