"""Small balanced parts of the rows, one for each of several models: all bads, and each time other goods."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ModelError
from leanrisk.core.seeding import derived_seed, generator
from leanrisk.models.gbdt import Gbdt
from leanrisk.models.gbdt_mean import mean_of
from leanrisk.techniques.base import WeightedFit

GOODS_PER_BAD = 20
"""Enough goods for their variety, few enough for parts that differ from each other."""
_FEWEST_GOODS = 500


@dataclass(frozen=True)
class Tilted:
    """Made rows, each of them once as a bad and once as a good; `chances` say how much of a bad each is, (rows,).

    Goods tilted towards bads: a row stands for a bad as far as a regression takes it for one.
    """

    bads: Dataset
    goods: Dataset
    chances: npt.NDArray[np.float64]


def bagged(rows: Dataset, tilted: Tilted | None, fit: WeightedFit, *, share: float, members: int, seed: int) -> Gbdt:
    """Return the mean of `members` models, each of all bads and of other goods; bads weigh as much as goods.

    `share`: how much of all weight made rows have, where there are some. Raises `ModelError` for models that are no
    trees.
    """
    models = [fit(*_bag(rows, tilted, share, derived_seed(seed, "bag", str(place)))) for place in range(members)]
    trees = [model for model in models if isinstance(model, Gbdt)]
    if len(trees) < len(models):
        raise ModelError(f"Models are averaged where they are trees: one is of kind '{models[0].kind}'.")
    return mean_of(trees)


def _bag(rows: Dataset, tilted: Tilted | None, share: float, seed: int) -> tuple[Dataset, npt.NDArray[np.float32]]:
    rng = generator(seed, "bag")
    bads, goods = (np.flatnonzero(rows.labels == value) for value in (1, 0))
    count = min(goods.size, max(_FEWEST_GOODS, GOODS_PER_BAD * bads.size))
    some = np.concatenate([bads, rng.choice(goods, count, replace=False)])
    frames, weights = [rows.frame[some]], [np.r_[np.full(bads.size, count / bads.size), np.ones(count)]]
    if tilted is not None:
        drawn = rng.permutation(tilted.chances.size)[: count // 2]
        chances, all_of = tilted.chances[drawn], share / (1.0 - share) * count
        frames += [tilted.bads.frame[drawn], tilted.goods.frame[drawn]]
        weights += [all_of * part / max(1e-12, part.sum()) for part in (chances, 1.0 - chances)]
    frame = pl.concat(frames, how="vertical_relaxed")
    return replace(rows, frame=frame), np.concatenate(weights).astype(np.float32)
