"""Fitting a slim tree ensemble to a teacher's opinions and the outcomes, by the loss that teaches networks, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.inputs import Fields, Inputs
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.seeding import derived_seed
from leanrisk.models.forest import Forest, forest_of, ranked_matrix
from leanrisk.models.gbdt_fit import fitting
from leanrisk.models.lesson import TaughtRows
from leanrisk.models.soft_loss import SoftLoss

_SILENT = Silent()
_RANKED_AS = 20.0
"""Rows at the mean that a level is averaged with before it is ranked: rare levels stay near the middle."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ForestConfig:
    """How slim the trees are: at most `trees` of `leaves` leaves, fewer where `patience` more would gain nothing.

    `min_rows` in each leaf; a `share` of the columns is offered to each tree.
    """

    trees: int = 150
    leaves: int = 31
    learning_rate: float = 0.1
    min_rows: int = 30
    share: float = 0.8
    patience: int = 20

    def __post_init__(self) -> None:
        if not 1 <= self.trees <= 5000 or not 2 <= self.leaves <= 1024:
            raise ConfigError(
                f"trees.trees must lie in 1..5000 and trees.leaves in 2..1024: they are {self.trees} and "
                f"{self.leaves}. Choose other numbers."
            )
        if not 0 < self.learning_rate <= 1 or not 0 < self.share <= 1:
            raise ConfigError("trees.learning_rate and trees.share must lie in (0, 1]. Correct them.")
        if min(self.min_rows, self.patience) < 1:
            raise ConfigError("trees.min_rows and trees.patience must be at least 1. Raise them.")


def fit_forest(
    lesson: TaughtRows,
    held_out: TaughtRows,
    fields: Fields,
    *,
    config: ForestConfig,
    loss: SoftLoss,
    seed: int,
    progress: Progress = _SILENT,
) -> Forest:
    """Return the trees that learned the lesson, stopped by the rows held out; equal arguments give equal trees.

    Raises `ModelError` for rows without a column to learn from.
    """
    if not fields.names:
        raise ModelError("Trees need at least one feature: there is none. Give a column the role 'feature'.")
    wanted = loss.wanted(lesson)
    base, orders = loss.start(wanted), ranked_levels(lesson.inputs, wanted, fields)
    settings = {
        **fitting({"min_data_in_leaf": config.min_rows}, lesson.rows),
        "num_leaves": config.leaves,
        "learning_rate": config.learning_rate,
        "feature_fraction": config.share,
        "metric": "none",
        "seed": derived_seed(seed, "forest"),
        "deterministic": True,
        "force_col_wise": True,
        # Several threads on one fit wait for each other after every histogram, and burn CPU-seconds doing so.
        "num_threads": 1,
        "verbosity": -1,
        "feature_pre_filter": False,
        "objective": _objective(loss, lesson),
    }
    learned = _dataset(lesson, orders, fields, base).construct()
    if all(learned.feature_num_bin(place) < 2 for place in range(len(fields.names))):
        # LightGBM refuses a table in which nothing varies; its answer is the same for every row.
        return forest_of({"tree_info": [{"tree_structure": {"leaf_value": 0.0}}]}, base=base, orders=orders)
    stopped = _dataset(held_out, orders, fields, base, like=learned)
    with progress.track("teaching trees", config.trees) as advance:
        booster = lgb.train(
            settings,
            learned,
            config.trees,
            valid_sets=[stopped],
            feval=_judged(loss, held_out),
            callbacks=[lgb.early_stopping(config.patience, verbose=False), lambda _: advance(1)],
        )
    dump = booster.dump_model(num_iteration=booster.best_iteration or None)
    return forest_of(dump, base=base, orders=orders)


def ranked_levels(inputs: Inputs, wanted: Floats, fields: Fields) -> npt.NDArray[np.float32]:
    """Return each category code's rank by what its rows should be given, float32, field after field.

    A split by rank is the best split into two sets of levels that one ordering allows: Fisher (1958), "On grouping for
    maximum homogeneity". Levels that no row has, the unseen one among them, rank with the mean of all rows.
    """
    known = np.isfinite(wanted)
    mean = float(wanted[known].mean())
    ranks = [np.empty(0, dtype=np.float32)]
    for place, entry in enumerate(fields.category):
        codes = inputs.category[known, place]
        sums = np.bincount(codes, weights=wanted[known], minlength=entry.size)
        counts = np.bincount(codes, minlength=entry.size)
        means = (sums + _RANKED_AS * mean) / (counts + _RANKED_AS)
        means[counts == 0] = mean
        ranks.append(np.unique(means, return_inverse=True)[1].astype(np.float32))
    return np.concatenate(ranks)


def _dataset(
    part: TaughtRows, orders: npt.NDArray[np.float32], fields: Fields, base: float, like: lgb.Dataset | None = None
) -> lgb.Dataset:
    return lgb.Dataset(
        ranked_matrix(part.inputs, orders, fields),
        np.zeros(part.rows, dtype=np.float32),
        init_score=np.full(part.rows, base),
        reference=like,
        params={"verbosity": -1, "num_threads": 1, "feature_pre_filter": False},
    )


def _objective(loss: SoftLoss, rows: TaughtRows) -> Callable[[Floats, lgb.Dataset], tuple[Floats, Floats]]:
    return lambda logits, _: loss.derivatives(logits, rows)


def _judged(loss: SoftLoss, rows: TaughtRows) -> Callable[[Floats, lgb.Dataset], tuple[str, float, bool]]:
    def judged(logits: Floats, _: Any) -> tuple[str, float, bool]:
        return "loss", loss.value(logits, rows), False

    return judged
