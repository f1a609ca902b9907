"""What reads cash flows without pictures: LightGBM, and a small convolution over the weeks."""

from __future__ import annotations

from collections.abc import Sequence

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from leanrisk.core.seeding import derived_seed
from leanrisk.data.simulate.cash_flows import CashFlows
from leanrisk.features.angular_field import rescaled
from leanrisk.models.pair_config import PairConfig
from leanrisk.models.pair_lesson import PairLesson, TensorBatches
from leanrisk.models.pair_training import answers, teach

Scores = npt.NDArray[np.float64]
Parts = Sequence[npt.NDArray[np.intp]]
_ROUNDS, _PATIENCE = 600, 40


class WeeksNetwork(nn.Module):
    """Three convolutions over the weeks, the mean over them, and one log-odds."""

    def __init__(self, channels: int, width: int = 48) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for step, (before, after) in enumerate([(channels, width), (width, width), (width, width)]):
            layers += [nn.Conv1d(before, after, 5, padding=2, stride=1 + (step > 0)), nn.BatchNorm1d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * width, 1)

    def forward(self, series: Tensor) -> Tensor:
        """Return log-odds (rows,) of series (rows, channels, weeks)."""
        states = self.body(series)
        logits: Tensor = self.head(torch.cat([states.mean(dim=2), states.amax(dim=2)], dim=1)).squeeze(1)
        return logits


def series_of(flows: CashFlows, *, pictured: bool) -> npt.NDArray[np.float32]:
    """Return (rows, channels, weeks): the three series in usual weeks of outflow, or only what a picture shows."""
    if pictured:
        return np.stack([rescaled(flows.balance), rescaled(flows.inflow)], axis=1)
    usual = np.maximum(flows.outflow.mean(axis=1, keepdims=True), 1e-6)
    return np.stack([flows.inflow / usual, flows.outflow / usual, flows.balance / usual], axis=1)


def tree_scores(flows: CashFlows, parts: Parts, *, pictured: bool) -> Scores:
    """Return LightGBM's probabilities of the tested rows, stopped by the held-out ones."""
    wide = series_of(flows, pictured=pictured).reshape(len(flows.bad), -1).astype(np.float64)
    settings = {
        "objective": "binary",
        "learning_rate": 0.03,
        "num_leaves": 15,
        "feature_fraction": 0.3,
        "num_threads": 1,
        "verbosity": -1,
        "seed": 0,
    }
    taught, held = (lgb.Dataset(wide[rows], flows.bad[rows]) for rows in parts[:2])
    booster = lgb.train(
        settings, taught, _ROUNDS, valid_sets=[held], callbacks=[lgb.early_stopping(_PATIENCE, verbose=False)]
    )
    return np.asarray(booster.predict(wide[parts[2]]), dtype=np.float64)


def conv_scores(flows: CashFlows, parts: Parts, *, pictured: bool, seed: int) -> Scores:
    """Return the probabilities that `WeeksNetwork` gives the tested rows, its best epoch by the held-out ones."""
    series = torch.from_numpy(series_of(flows, pictured=pictured))
    taught, held, tested = (
        PairLesson(
            TensorBatches({"series": series[torch.from_numpy(rows)]}),
            torch.from_numpy(flows.bad[rows].astype(np.float32)),
        )
        for rows in parts
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "benchmark.images.conv"))
        network = WeeksNetwork(series.shape[1])
    config = PairConfig(epochs=40, batch=64, learning_rate=2e-3, weight_decay=0.02, patience=8)
    teach(network, taught, held_out=held, config=config, seed=seed)
    logits, _ = answers(network, tested.batches)
    return 1 / (1 + np.exp(-logits.astype(np.float64)))
