"""The loss of one lesson: outcomes, a teacher, or both, for classes, for amounts and for log-variances."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from leanrisk.models.losses import (
    distillation_loss,
    outcome_loss,
    regression_distillation_loss,
    squared_loss,
    variance_distillation_loss,
    variance_loss,
)
from leanrisk.models.training_config import TrainingConfig

Loss = Callable[[Tensor, Tensor | None, Tensor], Tensor]


def objective_loss(objective: str, config: TrainingConfig) -> Loss:
    """Return the loss of (logits, teacher's logits or None, targets), each (rows,); with None, outcomes only.

    `objective`: "binary"; "regression" (squared error); "variance" (QLIKE of log-variances, see `variance_loss`).
    """
    teacher_weight, label_weight = config.teacher_weight, config.label_weight

    def binary(logits: Tensor, teacher: Tensor | None, targets: Tensor) -> Tensor:
        if teacher is None:
            return outcome_loss(logits, targets)
        return distillation_loss(
            logits, teacher, targets, config.temperature, teacher_weight=teacher_weight, label_weight=label_weight
        )

    def regression(values: Tensor, teacher: Tensor | None, targets: Tensor) -> Tensor:
        if teacher is None:
            return squared_loss(values, targets)
        return regression_distillation_loss(
            values, teacher, targets, teacher_weight=teacher_weight, label_weight=label_weight
        )

    def variance(values: Tensor, teacher: Tensor | None, targets: Tensor) -> Tensor:
        if teacher is None:
            return variance_loss(values, targets)
        return variance_distillation_loss(
            values, teacher, targets, teacher_weight=teacher_weight, label_weight=label_weight
        )

    return {"regression": regression, "variance": variance}.get(objective, binary)
