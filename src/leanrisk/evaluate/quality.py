"""How good a score is: every metric of its task with its interval."""

from __future__ import annotations

from enum import StrEnum

import numpy.typing as npt

from leanrisk.core.measurement import Interval
from leanrisk.core.metrics import is_probability
from leanrisk.evaluate.alerts import Stakes, alert_quality
from leanrisk.evaluate.bootstrap import RESAMPLES, metric_intervals
from leanrisk.evaluate.delong import auc_interval
from leanrisk.evaluate.weighted import PROBABILITY_METRICS, REGRESSION_METRICS, Metric


class Task(StrEnum):
    """What a model predicts: the probability of bad, or a number."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


def quality(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    seed: int,
    budget: float = 0.05,
    resamples: int = RESAMPLES,
    task: Task = Task.CLASSIFICATION,
    stakes: Stakes | None = None,
) -> dict[str, Interval]:
    """Return the metrics of a score with their two-sided 95 % limits, keyed as in `result.json`.

    Classification (`labels` 1 = bad, 0 = good, shape (rows,)): auc and gini (DeLong); ks, recall_at_budget and, where
    all scores lie in [0, 1], brier, log_loss and ece (bootstrap). Scores on another scale, such as points, are judged
    by rank alone. `stakes` add what `alert_quality` tells. Regression (`labels` are the true numbers): mae, rmse, r2
    (bootstrap).
    Raises `DataError` for outcomes that cannot be judged by, `ModelError` for scores that are not finite.
    """
    if task is Task.REGRESSION:
        return metric_intervals(labels, scores, REGRESSION_METRICS, seed=seed, resamples=resamples)
    auc = auc_interval(labels, scores)
    caught = {}
    if stakes is not None:
        caught = alert_quality(labels, scores, stakes, seed=seed, budget=budget, resamples=resamples)
    resampled = [Metric.KS, *(PROBABILITY_METRICS if is_probability(scores) else ()), Metric.RECALL_AT_BUDGET]
    return {
        Metric.AUC.value: auc,
        Metric.GINI.value: Interval(2 * auc.value - 1, 2 * auc.lo - 1, 2 * auc.hi - 1),
        **metric_intervals(labels, scores, resampled, seed=seed, resamples=resamples, budget=budget),
        **caught,
    }
