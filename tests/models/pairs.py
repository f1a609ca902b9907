"""Small rules to learn, and networks to learn them with, for the engine that teaches pairs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from leanrisk.models.pair_lesson import Inputs, PairLesson, TensorBatches
from leanrisk.models.pair_training import Answer

WIDTH = 6


class Network(nn.Module):
    """A hidden layer with batch normalisation and dropout; its answer has as many columns as `classes`, or is flat."""

    def __init__(self, classes: int | None = None, hidden: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(WIDTH, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(hidden, classes or 1)
        self.classes = classes

    def forward(self, values: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(values))
        return logits if self.classes else logits.squeeze(1)


def with_state(network: nn.Module, inputs: Inputs) -> Answer:
    """Answer with logits and the hidden layer."""
    assert isinstance(network, Network)
    state = network.body(inputs["values"])
    logits = network.head(state)
    return Answer(logits if network.classes else logits.squeeze(1), state)


def made(classes: int | None = None, *, seed: int = 0, hidden: int = 16) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(classes, hidden)


def ruled(rows: int, *, seed: int, classes: int = 2, noise: float = 0.0, taught: bool = False) -> PairLesson:
    """Return rows whose class is a rule of two fields, some labels wrong; with `taught`, a teacher that knows it."""
    draw = np.random.default_rng(seed)
    values = draw.standard_normal((rows, WIDTH)).astype(np.float32)
    rule = 2 * values[:, 0] * values[:, 1]
    cuts = np.array([0.0]) if classes == 2 else np.quantile(rule, np.linspace(0, 1, classes + 1)[1:-1])
    labels = np.searchsorted(cuts, rule)
    wrong = draw.random(rows) < noise
    labels[wrong] = draw.integers(0, classes, int(wrong.sum()))
    teacher = None
    if taught:
        teacher = 2 * rule if classes == 2 else -np.abs(rule[:, None] - np.linspace(-2, 2, classes))
        teacher = teacher.astype(np.float32)
    known = torch.from_numpy(labels.astype(np.float32 if classes == 2 else np.int64))
    return PairLesson(TensorBatches({"values": torch.from_numpy(values)}), known, teacher)
