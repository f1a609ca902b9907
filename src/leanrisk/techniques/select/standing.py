"""What the fields are worth to a candidate that is a network: sampled Shapley values, with their error shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.dataset import Dataset
from leanrisk.core.inputs import Inputs
from leanrisk.core.progress import Progress
from leanrisk.core.seeding import generator
from leanrisk.models.sampled_shapley import SampledShapley, sampled_shapley
from leanrisk.techniques.base import Model
from leanrisk.techniques.graph_model import NETWORK_KIND, GraphModel

Floats = npt.NDArray[np.float64]

_EXPLAINED, _BACKGROUND, _ORDERS = 128, 500, 16
_EDGE = 1e-7


@dataclass(frozen=True)
class Standing:
    """How much each column of a selection moves a network's score; columns that it does not read stand at 0.

    `strength` is float64 (rows, columns), see `SampledShapley`; its mean over the rows is the `importance`.
    """

    strength: Floats
    found: SampledShapley

    @property
    def importance(self) -> Floats:
        """Mean absolute Shapley value of each column, log-odds, float64 (columns,); never below 0."""
        return np.asarray(np.maximum(self.strength.mean(axis=0), 0.0))

    @property
    def error(self) -> Floats:
        """Standard error of `importance` over the rows, float64 (columns,)."""
        return np.asarray(self.strength.std(axis=0, ddof=1) / np.sqrt(self.strength.shape[0]))

    def kept_share(
        self, columns: npt.NDArray[np.int64], *, fixed: frozenset[int], count: int, repeats: int, seed: int
    ) -> dict[int, float]:
        """Return for each column how often it is among the `count` strongest, over bootstraps of the explained rows."""
        rng = generator(seed, "select", "bootstrap")
        rows = self.strength.shape[0]
        first = np.array([column in fixed for column in columns.tolist()])
        votes = np.zeros(columns.size)
        for _ in range(repeats):
            mean = self.strength[rng.integers(rows, size=rows)][:, columns].mean(axis=0)
            votes[np.argsort(-np.where(first, np.inf, mean), kind="stable")[:count]] += 1
        return dict(zip(columns.tolist(), (votes / repeats).tolist(), strict=True)) if repeats else {}

    def told(self) -> dict[str, Any]:
        """Return the method and its error as plain values: what the values miss of the scores, in log-odds."""
        return {
            "method": "sampled Shapley",
            "rows": int(self.strength.shape[0]),
            "orders": _ORDERS,
            "completeness_gap": self.found.gap,
            "mean_score_difference": self.found.span,
        }


def standing_of(model: Model, rows: Dataset, names: Sequence[str], *, seed: int, progress: Progress) -> Standing | None:
    """Return what the columns `names` are worth to `model` on a sample of `rows`; None where it is no network.

    Trees are explained exactly, fold by fold, and need no sampling.
    """
    if not isinstance(model, GraphModel) or model.kind != NETWORK_KIND or rows.rows < 2:
        return None
    network: GraphModel = model
    drawn = generator(seed, "select", "explained").permutation(rows.rows)
    inputs = network.encoder.inputs(rows.frame)
    explained = inputs.take(drawn[:_EXPLAINED])
    background = inputs.take(drawn[_EXPLAINED : _EXPLAINED + _BACKGROUND] if rows.rows > 2 * _EXPLAINED else drawn)

    def log_odds(some: Inputs) -> Floats:
        held = np.clip(network.score(some).astype(np.float64), _EDGE, 1 - _EDGE)
        return np.asarray(np.log(held / (1 - held)))

    found = sampled_shapley(log_odds, explained, background, orders=_ORDERS, seed=seed, progress=progress)
    place = {name: number for number, name in enumerate(network.encoder.fields.names)}
    strength = np.zeros((explained.rows, len(names)))
    for number, name in enumerate(names):
        if name in place:
            strength[:, number] = found.strength[:, place[name]]
    return Standing(strength, found)
