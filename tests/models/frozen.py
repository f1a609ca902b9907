"""Networks that count what they compute, for the tests of frozen blocks."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leanrisk.core.inputs import Lookups
from leanrisk.models.frontier import FreezeConfig
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import train
from leanrisk.models.training_config import TrainingConfig
from leanrisk.models.training_loop import TrainingLog
from tests.models.networks import made_fields, made_network, ruled_lesson

FIELDS = made_fields(4, 1, codes=0)
LESSON, HELD_OUT = ruled_lesson(300, seed=1), ruled_lesson(80, seed=2)
EPOCHS = TrainingConfig(epochs=3, batch=64, learning_rate=1e-3, threads=1)
RISING = FreezeConfig(still=0.5, patience=1)
"""Freezes all that it may, as soon as it may."""


class Counting(RiskTransformer):
    """Counts the rows that start from the look-ups; kills its process before it computes more than `mortal` of them."""

    computed = 0
    mortal: float = float("inf")

    def below(self, index: Tensor, weight: Tensor, *, blocks: int) -> tuple[Tensor, Tensor]:
        self.computed += len(index)
        if self.computed > self.mortal:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().below(index, weight, blocks=blocks)


def counting(preset: str = "tiny", *, seed: int = 2, **changes: Any) -> Counting:
    """Return a network as `made_network` does, which counts."""
    plain = made_network(preset, FIELDS, seed=seed)
    for name, value in changes.items():
        setattr(plain.config, name, value)
    network = Counting(plain.config)
    network.load_state_dict(plain.state_dict())
    network.train(False)
    return network


def weights_of(network: torch.nn.Module) -> dict[str, Tensor]:
    """Return a copy of every weight by name."""
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def moved(before: dict[str, Tensor], network: torch.nn.Module) -> set[str]:
    """Return the names of the weights that differ by a single bit or more."""
    return {name for name, value in weights_of(network).items() if not torch.equal(before[name], value)}


def distance(one: torch.nn.Module, other: torch.nn.Module) -> float:
    """Return the largest difference between two networks' weights."""
    theirs = weights_of(other)
    return max(float((value - theirs[name]).abs().max()) for name, value in weights_of(one).items())


def taught(network: torch.nn.Module, freeze: FreezeConfig | None, cache: Path | None = None, **changes: Any) -> Any:
    """Return the log of a short training; `changes` replace arguments of `train`."""
    asked: dict[str, Any] = {"held_out": HELD_OUT, "config": EPOCHS, "seed": 0, **changes}
    lesson = asked.pop("lesson", LESSON)
    log: TrainingLog = train(network, lesson, freeze=freeze, cache=cache, **asked)
    return log


def first(rows: Lookups, count: int) -> Lookups:
    """Return the first `count` rows."""
    return rows.take(slice(0, count))
