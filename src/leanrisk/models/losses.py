"""What a student learns from: the incumbent's opinion and the outcome."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_LARGEST_GAP = 8.0


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temp: float = 2.0,
    *,
    teacher_weight: float = 0.7,
    label_weight: float = 0.3,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Return the scalar loss `teacher_weight * temp^2 * KL(teacher || student) + label_weight * CE`.

    Logits of shape (rows,) or (rows, 1) are log-odds of one binary outcome; (rows, classes) with at least two classes
    are class logits. labels: shape (rows,), 0/1 or class numbers; a NaN label counts for the teacher's part only. The
    mean is over rows; `class_weights` (classes,) weigh the outcomes' part alone. Source: Hinton, Vinyals, Dean (2015),
    "Distilling the Knowledge in a Neural Network", section 2.
    """
    divergence = _divergence(_plain(student_logits) / temp, _plain(teacher_logits) / temp)
    outcome = outcome_loss(student_logits, labels, class_weights=class_weights)
    return teacher_weight * temp**2 * divergence + label_weight * outcome


def outcome_loss(logits: Tensor, labels: Tensor, *, class_weights: Tensor | None = None) -> Tensor:
    """Return the scalar mean cross-entropy of `logits` over the rows whose label is known; 0 where none is.

    With `class_weights` (classes,) the mean is weighted by each row's class. Shapes as in `distillation_loss`.
    """
    known = _known(labels)
    # A mean over no rows would be NaN; this zero keeps its way back to the logits.
    if not bool(known.any()):
        return 0.0 * logits.sum()
    chosen = _plain(logits)[known]
    if chosen.dim() > 1:
        return functional.cross_entropy(chosen, labels[known].long(), weight=class_weights)
    outcomes = labels[known].to(chosen)
    if class_weights is None:
        return functional.binary_cross_entropy_with_logits(chosen, outcomes)
    weights = class_weights.to(chosen)[outcomes.long()]
    return (
        functional.binary_cross_entropy_with_logits(chosen, outcomes, weight=weights, reduction="sum") / weights.sum()
    )


def regression_distillation_loss(
    student: Tensor, teacher: Tensor, target: Tensor, *, teacher_weight: float = 0.7, label_weight: float = 0.3
) -> Tensor:
    """Return `teacher_weight * MSE(student, teacher) + label_weight * MSE(student, target)`; all of shape (rows,).

    A NaN target counts for the teacher's part only.
    """
    return teacher_weight * functional.mse_loss(student, teacher) + label_weight * squared_loss(student, target)


def squared_loss(values: Tensor, target: Tensor) -> Tensor:
    """Return the scalar mean squared error over the rows whose target is known; 0 where none is. Shapes (rows,)."""
    known = _known(target)
    return functional.mse_loss(values[known], target[known]) if bool(known.any()) else 0.0 * values.sum()


def variance_loss(log_variance: Tensor, target: Tensor) -> Tensor:
    """Return the scalar mean QLIKE of log-variances against the logarithms of variances that came, shapes (rows,).

    `exp(t - s) - (t - s) - 1` for target t and forecast s: least where exp(s) is the mean of exp(t), however noisy t is
    (Patton 2011). Over the rows whose target is known; 0 where none is.
    """
    known = _known(target)
    if not bool(known.any()):
        return 0.0 * log_variance.sum()
    gap = target[known] - log_variance[known]
    # Beyond a variance of e^8 times the forecast the loss goes on as a line: a step must not be one row's alone.
    held = gap.clamp(max=_LARGEST_GAP)
    return (held.exp() * (1.0 + gap - held) - gap - 1.0).mean()


def variance_distillation_loss(
    student: Tensor, teacher: Tensor, target: Tensor, *, teacher_weight: float = 0.7, label_weight: float = 0.3
) -> Tensor:
    """Return `teacher_weight * MSE(student, teacher) + label_weight * QLIKE(student, target)`, all log-variances."""
    return teacher_weight * functional.mse_loss(student, teacher) + label_weight * variance_loss(student, target)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    if student.dim() == 1:
        # Cross-entropy less the teacher's own entropy: the divergence, in two fused operators instead of five.
        opinion = torch.sigmoid(teacher)
        entropy = functional.binary_cross_entropy_with_logits(teacher, opinion)
        return functional.binary_cross_entropy_with_logits(student, opinion) - entropy
    return functional.kl_div(
        functional.log_softmax(student, dim=1),
        functional.log_softmax(teacher, dim=1),
        reduction="batchmean",
        log_target=True,
    )


def _known(labels: Tensor) -> Tensor:
    return ~torch.isnan(labels) if labels.is_floating_point() else torch.ones_like(labels, dtype=torch.bool)


def _plain(logits: Tensor) -> Tensor:
    """Return (rows,) for log-odds and (rows, classes) for class logits."""
    return logits if logits.dim() == 2 and logits.shape[1] > 1 else logits.reshape(-1)
