"""The loss that teaches networks, by its derivatives: what trees and scorecards learn from opinions and outcomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError
from leanrisk.models.lesson import TaughtRows
from leanrisk.models.training_config import TrainingConfig

Floats = npt.NDArray[np.float64]

_EDGE = 1e-6


@dataclass(frozen=True)
class SoftLoss:
    """`distillation_loss` row by row, or in a regression `regression_distillation_loss`: value, slope and curvature.

    A row without an opinion, or whose outcome is unknown, counts by what is left. `teacher_weight` and `label_weight`
    are those of the two parts, `temperature` the teacher's.
    """

    temperature: float
    teacher_weight: float
    label_weight: float
    regression: bool = False

    @classmethod
    def of(cls, training: TrainingConfig, objective: str) -> SoftLoss:
        """Return the loss with the temperature and weights of `training`; raises `ModelError` for log-variances."""
        if objective not in ("binary", "regression"):
            raise ModelError(
                f"Trees and scorecards learn probabilities, trees also amounts: the objective is '{objective}'. Choose "
                "the student 'network'."
            )
        return cls(training.temperature, training.teacher_weight, training.label_weight, objective == "regression")

    def wanted(self, rows: TaughtRows) -> Floats:
        """Return what each row should be given: a probability in (0, 1) (regression: a value), float64 (rows,).

        The opinion and the outcome by their weights where both are known.
        """
        targets = rows.targets.astype(np.float64)
        if rows.teacher is None:
            return targets
        opinion = rows.teacher.astype(np.float64) if self.regression else _sigmoid(rows.teacher)
        known, total = rows.known, self.teacher_weight + self.label_weight
        mixed = (self.teacher_weight * opinion + self.label_weight * np.where(known, targets, 0.0)) / total
        return np.where(known, mixed, opinion)

    def start(self, wanted: Floats) -> float:
        """Return the logit (regression: the value) that suits all rows best, where no more is known of them."""
        mean = float(np.nanmean(wanted))
        if self.regression:
            return mean
        held = min(max(mean, _EDGE), 1.0 - _EDGE)
        return float(np.log(held / (1.0 - held)))

    def derivatives(self, logits: Floats, rows: TaughtRows) -> tuple[Floats, Floats]:
        """Return the first and second derivative of each row's loss by its logit, float64 (rows,) each."""
        known = rows.known
        targets = np.where(known, rows.targets, 0.0).astype(np.float64)
        own: Floats = self.label_weight * known.astype(np.float64)
        if self.regression:
            slope, curve = 2.0 * own * (logits - targets), 2.0 * own
            if rows.teacher is not None:
                slope += 2.0 * self.teacher_weight * (logits - rows.teacher)
                curve += 2.0 * self.teacher_weight
            return slope, curve
        chance = _sigmoid(logits)
        slope, curve = own * (chance - targets), own * chance * (1.0 - chance)
        if rows.teacher is not None:
            cooled = _sigmoid(logits / self.temperature)
            slope += (
                self.teacher_weight
                * self.temperature
                * (cooled - _sigmoid(rows.teacher.astype(np.float64) / self.temperature))
            )
            curve += self.teacher_weight * cooled * (1.0 - cooled)
        return slope, np.maximum(curve, _EDGE)

    def value(self, logits: Floats, rows: TaughtRows) -> float:
        """Return the mean loss of the rows, up to a part that does not depend on the logits."""
        known = rows.known
        targets = np.where(known, rows.targets, 0.0)
        if self.regression:
            total = self.label_weight * known * (logits - targets) ** 2
            if rows.teacher is not None:
                total = total + self.teacher_weight * (logits - rows.teacher) ** 2
            return float(total.mean())
        total = self.label_weight * known * _entropy(logits, targets)
        if rows.teacher is not None:
            cooled, opinion = logits / self.temperature, _sigmoid(rows.teacher.astype(np.float64) / self.temperature)
            total = total + self.teacher_weight * self.temperature**2 * _entropy(cooled, opinion)
        return float(total.mean())


def _entropy(logits: Floats, targets: Floats) -> Floats:
    return np.logaddexp(0.0, logits) - targets * logits


def _sigmoid(logits: npt.NDArray[np.floating]) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64))), dtype=np.float64)
