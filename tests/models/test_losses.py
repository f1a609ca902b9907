"""The losses, against hand computations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor
from torch.nn import functional

from leanrisk.evaluate.volatility import qlike_losses
from leanrisk.models.losses import (
    distillation_loss,
    outcome_loss,
    regression_distillation_loss,
    squared_loss,
    variance_distillation_loss,
    variance_loss,
)

LOGITS = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=6)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def by_hand(student, teacher, labels, temp, teacher_weight, label_weight) -> float:
    """The formula, one row and one class at a time, in float64."""
    divergence, outcome, known = 0.0, 0.0, 0
    for s, t, label in zip(student, teacher, labels, strict=True):
        for sign in (1, -1):
            p, q = sigmoid(sign * t / temp), sigmoid(sign * s / temp)
            divergence += p * math.log(p / q)
        if not math.isnan(label):
            known += 1
            outcome -= math.log(sigmoid(s if label else -s))
    part = label_weight * outcome / known if known else 0.0
    return float(teacher_weight * temp**2 * divergence / len(student) + part)


def test_one_row_by_hand():
    # Teacher 2, student 0, T = 2: p = sigmoid(1) = 0.731059 against 0.5, so the divergence is
    # 0.731059 ln(1.462117) + 0.268941 ln(0.537883) = 0.110944; the outcome costs ln 2 = 0.693147.
    loss = distillation_loss(tensor([0.0]), tensor([2.0]), tensor([1.0]))
    assert loss.item() == pytest.approx(0.7 * 4 * 0.110944 + 0.3 * 0.693147, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(*[st.floats(-30, 30, width=32)] * 2, st.sampled_from([0.0, 1.0, math.nan])), min_size=1))
def test_it_is_the_formula_of_the_source(rows):
    student, teacher, labels = (list(column) for column in zip(*rows, strict=True))
    loss = distillation_loss(tensor(student), tensor(teacher), tensor(labels), 3.0, teacher_weight=0.6)
    assert loss.item() == pytest.approx(by_hand(student, teacher, labels, 3.0, 0.6, 0.3), rel=1e-4, abs=2e-5)


@settings(max_examples=60, deadline=None)
@given(student=LOGITS)
def test_a_student_that_agrees_pays_the_outcome_only(student):
    logits, labels = tensor(student), torch.ones(len(student))
    agreed = distillation_loss(logits, logits, labels, label_weight=0.0)
    assert agreed.item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_log_odds_and_two_class_logits_are_one_thing(shape):
    drawn = torch.Generator().manual_seed(3)
    student, teacher = (torch.randn(5, generator=drawn) for _ in range(2))
    labels = tensor([0.0, 1.0, 1.0, 0.0, 1.0])
    pupil, master = (torch.stack([torch.zeros(5), logits], dim=1) for logits in (student, teacher))
    plain = distillation_loss(student.reshape(shape), teacher.reshape(shape), labels)
    torch.testing.assert_close(plain, distillation_loss(pupil, master, labels))
    torch.testing.assert_close(plain, distillation_loss(pupil, master, labels.long()))


def test_several_classes_against_the_textbook():
    drawn = torch.Generator().manual_seed(4)
    student, teacher = (torch.randn(7, 3, generator=drawn) for _ in range(2))
    labels = tensor([0, 1, 2, 0, 1, 2, 0])
    target = functional.softmax(teacher / 2, dim=1)
    divergence = (target * (target.log() - functional.log_softmax(student / 2, dim=1))).sum(dim=1).mean()
    expected = 0.7 * 4 * divergence + 0.3 * functional.cross_entropy(student, labels)
    torch.testing.assert_close(distillation_loss(student, teacher, labels), expected)


def test_a_row_without_an_outcome_learns_from_the_teacher_alone():
    student, teacher = tensor([0.5, -1.0, 2.0]), tensor([1.0, 1.0, -1.0])
    some = distillation_loss(student, teacher, tensor([1.0, math.nan, math.nan]))
    taught = distillation_loss(student, teacher, torch.zeros(3), label_weight=0.0)
    torch.testing.assert_close(some, taught + 0.3 * outcome_loss(student[:1], tensor([1.0])))
    none = distillation_loss(student, teacher, torch.full((3,), math.nan))
    torch.testing.assert_close(none, taught)


def test_its_gradient_is_that_of_finite_differences():
    student = tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    teacher = tensor([1.0, 1.0, -1.0], dtype=torch.float64)
    labels = tensor([1.0, math.nan, 0.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda logits: distillation_loss(logits, teacher, labels), student)
    assert torch.autograd.gradcheck(lambda logits: regression_distillation_loss(logits, teacher, labels), student)


def test_far_out_logits_stay_finite_with_their_gradients():
    student = tensor([1e4, -1e4, 80.0], requires_grad=True)
    loss = distillation_loss(student, tensor([-1e4, 1e4, 80.0]), tensor([0.0, 1.0, 1.0]))
    (gradient,) = torch.autograd.grad(loss, student)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


def test_no_known_outcome_is_no_loss_with_a_way_back():
    logits = tensor([3.0, -2.0], requires_grad=True)
    for loss in (outcome_loss(logits, tensor([math.nan] * 2)), squared_loss(logits, tensor([math.nan] * 2))):
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.item() == 0.0
        assert gradient.tolist() == [0.0, 0.0]


def test_regression_by_hand():
    values, teacher, target = tensor([1.0, 2.0]), tensor([0.0, 4.0]), tensor([3.0, math.nan])
    # Teacher: (1 + 4) / 2; the one known target: 4.
    assert regression_distillation_loss(values, teacher, target).item() == pytest.approx(0.7 * 2.5 + 0.3 * 4)
    assert np.isclose(squared_loss(values, target).item(), 4.0)


def test_class_weights_by_hand():
    logits, labels = tensor([1.0, -2.0, 0.5]), tensor([1.0, 0.0, math.nan])
    # Row 1 counts 3, row 0 counts 1: (3 ln(1 + e^-1) + ln(1 + e^-2)) / 4.
    expected = (3 * math.log1p(math.exp(-1)) + math.log1p(math.exp(-2))) / 4
    weights = tensor([1.0, 3.0])
    assert outcome_loss(logits, labels, class_weights=weights).item() == pytest.approx(expected, abs=1e-6)
    pair = torch.stack([torch.zeros(3), logits], dim=1)
    assert outcome_loss(pair, labels, class_weights=weights).item() == pytest.approx(expected, abs=1e-6)
    equal = outcome_loss(logits, labels, class_weights=tensor([3.0, 3.0]))
    torch.testing.assert_close(equal, outcome_loss(logits, labels))
    whole = distillation_loss(logits, logits, labels, class_weights=weights)
    assert whole.item() == pytest.approx(0.3 * expected, abs=1e-5)


def test_the_variance_loss_is_qlike_and_least_at_the_mean():
    target = torch.log(torch.tensor([1.0, 2.0, 6.0]))
    expected = [qlike_losses([1.0, 2.0, 6.0], [told] * 3).mean() for told in (2.0, 3.0, 4.0)]
    found = [float(variance_loss(torch.full((3,), told).log(), target)) for told in (2.0, 3.0, 4.0)]
    assert found == pytest.approx(expected, rel=1e-5)
    assert found[1] == min(found)


def test_the_variance_loss_leaves_unknown_rows_out_and_grows_no_faster_than_a_line_at_the_far_end():
    assert float(variance_loss(torch.zeros(2), torch.tensor([torch.nan, 0.0]))) == 0.0
    assert float(variance_loss(torch.zeros(2), torch.full((2,), torch.nan))) == 0.0
    far = [float(variance_loss(torch.zeros(1), torch.tensor([gap]))) for gap in (20.0, 30.0, 40.0)]
    assert far[2] - far[1] == pytest.approx(far[1] - far[0], rel=1e-4)
    both = variance_distillation_loss(torch.zeros(3), torch.ones(3), torch.zeros(3))
    assert float(both) == pytest.approx(0.7)
