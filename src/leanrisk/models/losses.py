"""What a student learns from: the incumbent's opinion and the outcome."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temp: float = 2.0,
    *,
    teacher_weight: float = 0.7,
    label_weight: float = 0.3,
) -> Tensor:
    """Return the scalar loss `teacher_weight * temp^2 * KL(teacher || student) + label_weight * CE`.

    Logits of shape (rows,) or (rows, 1) are log-odds of one binary outcome; (rows, classes) with at least two classes
    are class logits. labels: shape (rows,), 0/1 or class numbers; a NaN label counts for the teacher's part only. The
    mean is over rows. Source: Hinton, Vinyals, Dean (2015), "Distilling the Knowledge in a Neural Network", section 2.
    """
    student, teacher = _class_logits(student_logits), _class_logits(teacher_logits)
    divergence = functional.kl_div(
        functional.log_softmax(student / temp, dim=1),
        functional.log_softmax(teacher / temp, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    known = ~torch.isnan(labels) if labels.is_floating_point() else torch.ones_like(labels, dtype=torch.bool)
    # A batch without outcomes has no label part; a mean over no rows would be NaN.
    if not bool(known.any()):
        return teacher_weight * temp**2 * divergence
    outcome = functional.cross_entropy(student[known], labels[known].long())
    return teacher_weight * temp**2 * divergence + label_weight * outcome


def regression_distillation_loss(
    student: Tensor, teacher: Tensor, target: Tensor, *, teacher_weight: float = 0.7, label_weight: float = 0.3
) -> Tensor:
    """Return `teacher_weight * MSE(student, teacher) + label_weight * MSE(student, target)`; all of shape (rows,)."""
    return teacher_weight * functional.mse_loss(student, teacher) + label_weight * functional.mse_loss(student, target)


def _class_logits(logits: Tensor) -> Tensor:
    if logits.dim() == 2 and logits.shape[1] > 1:
        return logits
    log_odds = logits.reshape(-1, 1)
    return torch.cat([torch.zeros_like(log_odds), log_odds], dim=1)
