"""Small networks over made-up fields, and rows for them, for the tests of the lean model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from leanrisk.core.inputs import FIRST_LEVEL, CategoryField, Fields, Inputs, Lookups, NumericField
from leanrisk.features.encoder import Encoder
from leanrisk.models.lesson import Lesson
from leanrisk.models.risk_config import preset_config
from leanrisk.models.risk_transformer import RiskTransformer

PEFT_LAGS_BEHIND = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
"""peft asks transformers for a property that transformers 5 has renamed."""


def made_fields(numeric: int = 7, category: int = 3, *, codes: int = 2, seed: int = 0) -> Fields:
    """Return fields with 2 to 30 uneven edges, the first half of them with up to `codes` special codes."""
    rng = np.random.default_rng(seed)
    numbers = []
    for place in range(numeric):
        edges = np.unique(np.exp(rng.normal(size=rng.integers(2, 31))).astype(np.float32))
        edges = edges if edges.size > 1 else np.array([0.0, 1.0], dtype=np.float32)
        special = tuple(float(-9 - k) for k in range(codes)) if place < numeric / 2 else ()
        numbers.append(NumericField(f"n{place}", tuple(edges.tolist()), special))
    categories = [CategoryField(f"c{k}", tuple(f"level {j}" for j in range(2 + 5 * k))) for k in range(category)]
    return Fields(tuple(numbers), tuple(categories))


def made_inputs(fields: Fields, rows: int, *, seed: int = 1) -> Inputs:
    """Return rows within, at and beyond the knots, with gaps, special codes and unseen levels."""
    rng = np.random.default_rng(seed)
    numeric = np.exp(1.5 * rng.normal(size=(rows, len(fields.numeric)))).astype(np.float32)
    for place, entry in enumerate(fields.numeric):
        special = np.array([np.nan, *entry.codes, *entry.edges], dtype=np.float32)
        chosen = rng.random(rows) < 0.3
        numeric[chosen, place] = rng.choice(special, chosen.sum())
    sizes = np.array([FIRST_LEVEL + len(entry.levels) for entry in fields.category], dtype=np.int64)
    return Inputs(numeric, rng.integers(0, sizes, size=(rows, sizes.size)))


def made_network(preset: str, fields: Fields, *, seed: int = 2) -> RiskTransformer:
    """Return a network whose weights are as large as taught ones, so that its logits differ from row to row."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RiskTransformer(preset_config(preset, fields))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    network.train(False)
    return network


def logits_of(network: RiskTransformer, lookups: Lookups) -> npt.NDArray[np.float32]:
    """Return what the network says, in one block."""
    with torch.no_grad():
        output = network(torch.from_numpy(lookups.index), torch.from_numpy(lookups.weight))
    return np.asarray(output.logits.numpy())


def ruled_lesson(rows: int, *, seed: int, fields: Fields | None = None, taught: bool = False) -> Lesson:
    """Return rows whose log-odds are a curved rule of two fields; a teacher, if any, knows the rule itself."""
    fields = fields or made_fields(4, 1, codes=0)
    rng = np.random.default_rng(seed)
    inputs = Inputs(
        np.exp(rng.normal(size=(rows, len(fields.numeric)))).astype(np.float32),
        rng.integers(FIRST_LEVEL, FIRST_LEVEL + 2, size=(rows, len(fields.category))),
    )
    rule = 3 * (np.log(inputs.numeric[:, 0]) * np.sign(inputs.category[:, 0] - 2.5)) - 1
    labels = rng.random(rows) < 1 / (1 + np.exp(-rule))
    lookups = Encoder(fields).lookups(inputs)
    return Lesson(lookups, labels.astype(np.float32), rule.astype(np.float32) if taught else None)
