"""Scores that the bank brings instead of a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import DataError, Fault, ModelError
from leanrisk.core.files import write_json
from leanrisk.models.incumbent import Record, RecordRoute, RowRoute
from leanrisk.models.model_file import json_facts

_FILE = "scores.json"


@dataclass(frozen=True)
class ScoreColumn:
    """A column of scores as an incumbent: it ranks as the scores do, and after `fit` it gives probabilities.

    `higher_is` says what a high score means: "worse" (a probability of bad) or "better" (points of a scorecard).
    `slope` and `intercept` are the fitted log-odds of bad per unit of score. Unfitted scores must lie in [0, 1].
    """

    name: str
    higher_is: Literal["worse", "better"] = "worse"
    slope: float | None = None
    intercept: float = 0.0
    kind: str = "scores"
    compiled_note: str = "A column of scores has no model to ask, so there is no latency to measure."

    def __post_init__(self) -> None:
        if self.higher_is not in ("worse", "better"):
            raise ModelError(f"A score's `higher_is` must be 'worse' or 'better': it is '{self.higher_is}'.")

    @property
    def features(self) -> tuple[str, ...]:
        """The score column itself."""
        return (self.name,)

    @property
    def size_bytes(self) -> int:
        """0: there is no model."""
        return 0

    def fit(self, frame: pl.DataFrame, labels: npt.NDArray[np.floating[Any]]) -> ScoreColumn:
        """Return the same scores mapped to probabilities by a logistic curve fitted to `labels` (1 = bad, 0 = good).

        Platt (1999), "Probabilistic outputs for support vector machines", with its smoothed targets.
        Raises `ModelError` for labels of one outcome, constant scores, or scores that rank the other way round.
        """
        scores = self._values(frame)
        flags = np.asarray(labels, dtype=np.float64)
        bads = float((flags == 1).sum())
        if flags.shape != scores.shape or not set(np.unique(flags)) == {0.0, 1.0}:
            raise ModelError("Labels must be 1 (bad) or 0 (good), one per row, with both outcomes. Mend the target.")
        middle, spread = float(scores.mean()), float(scores.std())
        if spread == 0:
            raise ModelError(f"Scores must differ: column '{self.name}' holds {middle:g} only. Bring another column.")
        targets = np.where(flags == 1, (bads + 1) / (bads + 2), 1 / (flags.size - bads + 2))
        slope, intercept = _platt((scores - middle) / spread, targets)
        if (slope > 0) != (self.higher_is == "worse"):
            raise ModelError(
                f"Column '{self.name}' is declared as higher = {self.higher_is}, but its rows say the opposite "
                "(a higher score goes with the other outcome). Correct `higher_is`, or the target's bad value."
            )
        return replace(self, slope=slope / spread, intercept=intercept - slope * middle / spread)

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        """Return the probability of bad per row, shape (rows,).

        Raises `DataError` for a missing column, nulls or text, `ModelError` for unfitted scores outside [0, 1].
        """
        scores = self._values(frame)
        if self.slope is not None:
            return np.asarray(1.0 / (1.0 + np.exp(-(self.slope * scores + self.intercept))), dtype=np.float64)
        if scores.size and not (scores.min() >= 0 and scores.max() <= 1):
            raise ModelError(
                f"Scores outside [0, 1] are ranks, not probabilities: column '{self.name}' holds {scores.min():g} to "
                f"{scores.max():g}. Fit them to outcomes first."
            )
        return scores if self.higher_is == "worse" else 1.0 - scores

    def usual(self) -> RecordRoute | None:
        """Return None: see `compiled_note`."""
        return None

    def bare(self) -> RowRoute | None:
        """Return None: see `compiled_note`."""
        return None

    def bare_row(self, record: Record) -> npt.NDArray[np.float32]:
        """Return the score of the record, shape (1, 1)."""
        return self._values(pl.DataFrame({self.name: [record.get(self.name)]})).astype(np.float32).reshape(1, 1)

    def compiled(self) -> RowRoute | None:
        """Return None: see `compiled_note`."""
        return None

    def save(self, folder: Path) -> None:
        """Write `scores.json` into `folder`: the column and its fitted curve."""
        facts = {"format": 1, "name": self.name, "higher_is": self.higher_is}
        write_json(folder / _FILE, {**facts, "slope": self.slope, "intercept": self.intercept})

    def _values(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        if self.name not in frame:
            raise DataError(Fault("column-missing", "the scores are missing.", "Add the score column.", self.name))
        column = frame[self.name]
        if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
            raise DataError(
                Fault("not-numeric", f"scores must be numbers: dtype {column.dtype}.", "Cast the column.", self.name)
            )
        values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        absent = int((~np.isfinite(values)).sum())
        if absent:
            raise DataError(
                Fault("score-missing", f"{absent} rows have no finite score.", "Leave out these rows.", self.name)
            )
        return values


def load_scores(folder: Path | str) -> ScoreColumn:
    """Return the score column that `ScoreColumn.save` wrote; raises `ModelError` where the file is cut or altered."""
    path = Path(folder) / _FILE
    facts = json_facts(path)
    try:
        slope = None if facts["slope"] is None else float(facts["slope"])
        return ScoreColumn(str(facts["name"]), facts["higher_is"], slope, float(facts["intercept"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"'{path}' is not what saved scores write ({error!r}). Fit them anew.") from error


def _platt(scores: npt.NDArray[np.float64], targets: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and intercept by Newton's method (Lin, Lin and Weng, 2007), step halved until the loss falls."""
    design = np.stack([scores, np.ones_like(scores)], axis=1)
    beta = np.array([0.0, np.log(targets.mean() / (1 - targets.mean()))])

    def loss(at: npt.NDArray[np.float64]) -> float:
        margin = design @ at
        return float((np.logaddexp(0.0, margin) - targets * margin).sum())

    now = loss(beta)
    for _ in range(100):
        chance = 1.0 / (1.0 + np.exp(-(design @ beta)))
        gradient = design.T @ (chance - targets)
        hessian = (design * (chance * (1 - chance))[:, None]).T @ design + 1e-10 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        share = 1.0
        while share > 1e-10 and loss(beta - share * step) > now:
            share /= 2
        beta = beta - share * step
        before, now = now, loss(beta)
        if before - now <= 1e-12 * abs(before):
            break
    return float(beta[0]), float(beta[1])
