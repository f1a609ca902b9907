"""The reference of C4: recursive elimination by SHAP with cross-validation, as `probatus.ShapRFECV` does it.

Each round fits a model on each fold with the columns that are left, takes the SHAP values of the held-out rows of all
folds, drops the one column with the least mean absolute value (its default `step=1`), and notes the mean validation AUC
(its default scoring). At the end the set of the round with the highest mean AUC is taken (`num_features="best"`).
Source: ing-bank/probatus 3.x, `feature_elimination.py`. The loop is given what helps it: LightGBM bins the columns of a
round once for all folds, trees stop early on the held-out rows (its `EarlyStoppingShapRFECV`), SHAP is LightGBM's own
TreeSHAP, and nothing is scored on training rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from leanrisk.core.metrics import auc
from leanrisk.core.progress import Progress
from leanrisk.models.folds import Fold
from leanrisk.models.gbdt_attribution import Forest, attribution

Columns = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Eliminated:
    """What a round had left (positions of columns), and the AUC of each fold's held-out rows."""

    columns: Columns
    aucs: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean validation AUC."""
        return float(np.mean(self.aucs))


def shap_rfecv(
    matrix: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    folds: Sequence[Fold],
    *,
    category: frozenset[int],
    forest: Forest,
    seed: int,
    progress: Progress,
) -> list[Eliminated]:
    """Return every round, from all columns of `matrix` down to one."""
    whole = replace(forest, explained=matrix.shape[0])
    columns = np.arange(matrix.shape[1])
    rounds: list[Eliminated] = []
    with progress.track("SHAP-RFECV", total=columns.size) as advance:
        while columns.size:
            found = attribution(
                matrix[:, columns],
                labels,
                folds,
                category=[place for place, column in enumerate(columns.tolist()) if column in category],
                seed=seed,
                forest=whole,
            )
            aucs = tuple(auc(labels[fold.held], found.margins[fold.held]) for fold in folds)
            rounds.append(Eliminated(columns, aucs))
            columns = np.delete(columns, int(np.argmin(found.importance)))
            advance(1)
    return rounds


def best(rounds: Sequence[Eliminated]) -> Eliminated:
    """Return the round with the highest mean validation AUC."""
    return max(rounds, key=lambda each: each.mean)


def parsimonious(rounds: Sequence[Eliminated]) -> Eliminated:
    """Return the smallest set within one standard deviation of the best one's folds ("best_parsimonious")."""
    top = best(rounds)
    allowed = top.mean - float(np.std(top.aucs))
    return min((each for each in rounds if each.mean >= allowed), key=lambda each: each.columns.size)
