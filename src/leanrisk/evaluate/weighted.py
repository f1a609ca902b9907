"""Metrics as functions of row weights, many weightings at a time: what the bootstrap evaluates.

Weights count how often a row was drawn; every weighting keeps the number of bads and of goods. With all weights 1
each metric equals its point version in `core.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError
from leanrisk.core.metrics import (
    Flags,
    Floats,
    alerts_within,
    checked,
    checked_numbers,
    checked_probabilities,
    equal_mass_bins,
    log_losses,
    r2,
    run_ends,
)

ECE_BINS = 10
"""Equal-mass bins of the expected calibration error."""


class Metric(StrEnum):
    """What a score can be judged by; the values are the keys of `quality` and of `result.json`."""

    AUC = "auc"
    GINI = "gini"
    KS = "ks"
    RECALL_AT_BUDGET = "recall_at_budget"
    PRECISION_AT_BUDGET = "precision_at_budget"
    BRIER = "brier"
    LOG_LOSS = "log_loss"
    ECE = "ece"
    MAE = "mae"
    RMSE = "rmse"
    R2 = "r2"


RANK_METRICS = (Metric.AUC, Metric.GINI, Metric.KS, Metric.RECALL_AT_BUDGET, Metric.PRECISION_AT_BUDGET)
"""Metrics of any score, whatever its scale."""
PROBABILITY_METRICS = (Metric.BRIER, Metric.LOG_LOSS, Metric.ECE)
"""Metrics that need scores in [0, 1]."""
REGRESSION_METRICS = (Metric.MAE, Metric.RMSE, Metric.R2)
"""Metrics of a predicted number."""


class Draw(NamedTuple):
    """A metric on each weighting, and the values it is `against` to see its bias (None: it has none to speak of)."""

    values: Floats
    against: Floats | None = None


Statistic = Callable[[Floats], dict[Metric, Draw]]
"""From weights (weightings, rows) to the draws (weightings,) of some metrics."""


def statistic_of(
    metrics: Collection[Metric], truth: npt.ArrayLike, scores: npt.ArrayLike, *, budget: float
) -> Statistic:
    """Return one function that gives all `metrics` of these rows; raises `ConfigError` where tasks are mixed."""
    asked = set(metrics)
    if asked and asked <= set(REGRESSION_METRICS):
        return _regression(truth, scores, asked)
    if not asked or asked & set(REGRESSION_METRICS):
        raise ConfigError(
            f"Metrics judged together belong to one task: these are {', '.join(sorted(asked)) or 'none'}. "
            f"Regression has {', '.join(REGRESSION_METRICS)}; ask for those alone."
        )
    parts: list[Statistic] = []
    if ranks := asked & set(RANK_METRICS):
        parts.append(_rank(truth, scores, ranks, budget))
    if losses := asked & set(PROBABILITY_METRICS):
        parts.append(_probability(truth, scores, losses))
    return lambda weights: {name: draw for part in parts for name, draw in part(weights).items()}


def metric_named(name: str) -> Metric:
    """Return the metric of that name; raises `ConfigError` listing the names."""
    try:
        return Metric(name)
    except ValueError:
        raise ConfigError(f"A metric is one of {', '.join(Metric)}: '{name}' is not. Choose one of them.") from None


class _Curve(NamedTuple):
    """Weighted counts at or above each distinct score, descending; shapes (weightings, cuts)."""

    bads: Floats
    rows: Floats


class _Order:
    """Rows of one score by descending score, ready to cumulate weights over it."""

    def __init__(self, bad: Flags, values: Floats) -> None:
        self.rows = np.argsort(-values, kind="stable")
        self.ends = run_ends(values[self.rows])
        self.bad = bad[self.rows].astype(np.float64)
        bads = self.bad.sum()
        goods = self.bad.size - bads
        # TPR - FPR from one cumulated sum, of whole numbers so that it is exact.
        self.steps = np.where(self.bad == 1.0, goods, -bads)
        self.pairs = bads * goods
        self.own_gaps = self.gaps(np.ones((1, values.size)))[0]

    def gaps(self, weights: Floats) -> Floats:
        """Return TPR - FPR at each cut, shape (weightings, cuts)."""
        ordered = weights.take(self.rows, axis=1)
        ordered *= self.steps
        return np.asarray(self._at_ends(ordered.cumsum(axis=1, out=ordered), self.ends) / self.pairs)

    def curve(self, weights: Floats, cuts: int | None = None) -> _Curve:
        """Return the counts at the `cuts` highest cuts, at all by default."""
        ends = self.ends[:cuts]
        span = int(ends[-1]) + 1
        ordered = weights.take(self.rows[:span], axis=1)
        bads = (ordered * self.bad[:span]).cumsum(axis=1)
        return _Curve(self._at_ends(bads, ends), self._at_ends(ordered.cumsum(axis=1, out=ordered), ends))

    @staticmethod
    def _at_ends(cumulated: Floats, ends: npt.NDArray[np.intp]) -> Floats:
        return cumulated if ends.size == cumulated.shape[1] else cumulated.take(ends, axis=1)


def _rank(truth: npt.ArrayLike, scores: npt.ArrayLike, asked: Collection[Metric], budget: float) -> Statistic:
    bad, values = checked(truth, scores)
    order = _Order(bad, values)
    alerts = alerts_within(values.size, budget)
    judges: Mapping[Metric, Callable[[Floats], Draw]] = {
        Metric.AUC: lambda weights: Draw(_area(order.curve(weights))),
        Metric.GINI: lambda weights: Draw(2.0 * _area(order.curve(weights)) - 1.0),
        Metric.KS: lambda weights: _ks(order.gaps(weights), order.own_gaps),
        Metric.RECALL_AT_BUDGET: lambda weights: Draw(_alerted(order, weights, alerts) / bad.sum()),
        Metric.PRECISION_AT_BUDGET: lambda weights: Draw(_alerted(order, weights, alerts) / alerts),
    }
    return lambda weights: {name: judge(weights) for name, judge in judges.items() if name in asked}


def _area(curve: _Curve) -> Floats:
    goods = curve.rows - curve.bads
    wins = np.diff(goods, axis=1, prepend=0.0) * (curve.bads - np.diff(curve.bads, axis=1, prepend=0.0) / 2)
    return np.asarray(wins.sum(axis=1) / (curve.bads[:, -1] * goods[:, -1]))


def _ks(gaps: Floats, own_gaps: Floats) -> Draw:
    at = gaps.argmax(axis=1)
    # A cut chosen on a sample flatters itself there; its worth on the rows it was not chosen on shows by how much.
    return Draw(np.take_along_axis(gaps, at[:, None], axis=1)[:, 0], own_gaps[at])


def _alerted(order: _Order, weights: Floats, alerts: int) -> Floats:
    """Return the bads among the `alerts` highest rows; the run that the limit cuts through counts in proportion."""
    # Twice the budget and some nearly always holds that many draws; all rows certainly do.
    top = int(np.searchsorted(order.ends, 2 * alerts + 100)) + 1
    curve = order.curve(weights, top)
    if (curve.rows[:, -1] < alerts).any():
        curve = order.curve(weights)
    at = (curve.rows < alerts).sum(axis=1)
    each = np.arange(at.size)
    before = np.maximum(at - 1, 0)
    rows_before = np.where(at == 0, 0.0, curve.rows[each, before])
    bads_before = np.where(at == 0, 0.0, curve.bads[each, before])
    share = (alerts - rows_before) / (curve.rows[each, at] - rows_before)
    return np.asarray(bads_before + share * (curve.bads[each, at] - bads_before))


def _probability(truth: npt.ArrayLike, scores: npt.ArrayLike, asked: Collection[Metric]) -> Statistic:
    bad, values = checked_probabilities(truth, scores)
    losses = {Metric.BRIER: (values - bad) ** 2, Metric.LOG_LOSS: log_losses(bad, values)}
    bins = equal_mass_bins(values, ECE_BINS)
    order = np.argsort(bins, kind="stable")
    starts = np.flatnonzero(np.diff(bins[order], prepend=-1))
    residuals = (bad - values)[order]

    def draws(weights: Floats) -> dict[Metric, Draw]:
        found = {name: Draw(weights @ loss / values.size) for name, loss in losses.items() if name in asked}
        if Metric.ECE in asked:
            binned = weights.take(order, axis=1)
            binned *= residuals
            drawn = np.abs(np.add.reduceat(binned, starts, axis=1)).sum(axis=1) / values.size
            own = np.abs(np.add.reduceat(residuals, starts)).sum() / values.size
            found[Metric.ECE] = Draw(drawn, np.full_like(drawn, own))
        return found

    return draws


def _regression(truth: npt.ArrayLike, scores: npt.ArrayLike, asked: Collection[Metric]) -> Statistic:
    actual, guessed = checked_numbers(truth, scores)
    if Metric.R2 in asked:
        r2(actual, guessed)  # refuses a target that does not vary
    # Centred first, so that the weighted variance does not cancel away for targets far from zero.
    centred = actual - actual.mean()
    errors = guessed - actual
    terms = np.column_stack([np.abs(errors), errors**2, centred, centred**2])

    def draws(weights: Floats) -> dict[Metric, Draw]:
        absolute, squared, first, second = (weights @ terms / actual.size).T
        variance = second - first**2
        # A weighting that leaves one target value has no R2; the caller drops NaN draws.
        unexplained = np.divide(squared, variance, out=np.full_like(squared, np.nan), where=variance > 0.0)
        found = {
            Metric.MAE: Draw(absolute),
            Metric.RMSE: Draw(np.sqrt(squared)),
            Metric.R2: Draw(1.0 - unexplained),
        }
        return {name: draw for name, draw in found.items() if name in asked}

    return draws
