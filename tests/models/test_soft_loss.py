"""The loss of trees and scorecards: the one of networks, by its derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Inputs
from leanrisk.models.lesson import TaughtRows
from leanrisk.models.losses import distillation_loss, outcome_loss, regression_distillation_loss
from leanrisk.models.soft_loss import SoftLoss
from leanrisk.models.training_config import TrainingConfig

ROWS = 40


def lesson(seed: int, *, known: float = 0.6, teacher: bool = True, amounts: bool = False) -> TaughtRows:
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=ROWS) if amounts else (rng.random(ROWS) < 0.4).astype(float)
    targets[rng.random(ROWS) > known] = np.nan
    opinions = rng.normal(0, 2, ROWS).astype(np.float32) if teacher else None
    inputs = Inputs(np.zeros((ROWS, 1), np.float32), np.zeros((ROWS, 0), np.int64))
    return TaughtRows(inputs, targets.astype(np.float32), opinions)


def torch_loss(logits: torch.Tensor, rows: TaughtRows, config: TrainingConfig, *, amounts: bool) -> torch.Tensor:
    """Return the sum over the rows of what the training loop minimises, its label part weighed by the known share."""
    targets, share = torch.from_numpy(rows.targets).double(), float(rows.known.mean())
    own = config.label_weight * share
    if rows.teacher is None:
        return ROWS * own * outcome_loss(logits, targets)
    opinions = torch.from_numpy(rows.teacher).double()
    if amounts:
        return ROWS * regression_distillation_loss(
            logits, opinions, targets, teacher_weight=config.teacher_weight, label_weight=own
        )
    return ROWS * distillation_loss(
        logits, opinions, targets, config.temperature, teacher_weight=config.teacher_weight, label_weight=own
    )


@pytest.mark.parametrize("amounts", [False, True])
@given(seed=st.integers(0, 10**6), temperature=st.sampled_from([1.0, 2.0, 5.0]), known=st.sampled_from([0.3, 1.0]))
def test_slopes_are_those_of_the_loss_that_teaches_networks(amounts, seed, temperature, known):
    config = TrainingConfig(temperature=temperature)
    rows = lesson(seed, known=known, amounts=amounts)
    logits = torch.randn(ROWS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()
    torch_loss(logits, rows, config, amounts=amounts).backward()
    loss = SoftLoss.of(config, "regression" if amounts else "binary")
    at = logits.detach().numpy()
    slope, curve = loss.derivatives(at, rows)
    assert logits.grad is not None
    assert np.allclose(slope, logits.grad.numpy(), atol=1e-9)
    step = 1e-5
    nearby = loss.derivatives(at + step, rows)[0]
    assert np.allclose((nearby - slope) / step, np.maximum(curve, 0), rtol=1e-2, atol=1e-4)
    moved = loss.value(at + step, rows) - loss.value(at, rows)
    assert np.isclose(moved * ROWS, (slope * step).sum(), rtol=1e-2, atol=1e-7)


def test_without_a_teacher_the_outcomes_alone_count():
    rows = lesson(3, known=1.0, teacher=False)
    logits = torch.zeros(ROWS, dtype=torch.float64, requires_grad=True)
    torch_loss(logits, rows, TrainingConfig(), amounts=False).backward()
    slope, _ = SoftLoss.of(TrainingConfig(), "binary").derivatives(np.zeros(ROWS), rows)
    assert logits.grad is not None
    assert np.allclose(slope, logits.grad.numpy())


def test_log_variances_are_for_networks():
    with pytest.raises(ModelError, match="the objective is 'variance'"):
        SoftLoss.of(TrainingConfig(), "variance")


def test_what_a_row_should_be_given_mixes_opinion_and_outcome_where_both_are_known():
    rows = lesson(4)
    assert rows.teacher is not None
    wanted = SoftLoss.of(TrainingConfig(), "binary").wanted(rows)
    opinion = 1 / (1 + np.exp(-rows.teacher.astype(np.float64)))
    assert np.allclose(wanted[~rows.known], opinion[~rows.known])
    assert np.allclose(wanted[rows.known], 0.7 * opinion[rows.known] + 0.3 * rows.targets[rows.known])
    start = SoftLoss.of(TrainingConfig(), "binary").start(wanted)
    assert np.isclose(1 / (1 + np.exp(-start)), wanted.mean())
