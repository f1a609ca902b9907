"""What may be said of a difference: better, worse, or no difference shown; never more than its interval supports."""

from __future__ import annotations

from enum import StrEnum

from leanrisk.report.facts import Estimate, Facts

HIGHER_IS_BETTER = ("auc", "ks", "gini", "r2", "recall", "precision", "value_at_budget", "cases_alerted")
LOWER_IS_BETTER = ("brier", "log_loss", "ece", "mae", "rmse", "mape", "detection_delay")
_ORDER = (
    *("auc", "ks", "gini", "mae", "rmse", "r2", "brier", "log_loss", "ece"),
    *("recall", "precision", "value_at_budget", "cases_alerted", "detection_delay"),
)


class Reading(StrEnum):
    """How a paired difference reads, lean against incumbent."""

    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE = "no_difference"
    DIFFERENT = "different"
    ABSENT = "absent"


def reading(metric: str, difference: Estimate | None) -> Reading:
    """Return what the paired 95 % interval of lean minus incumbent supports.

    An interval that touches zero shows no difference; a difference without an interval shows nothing at all.
    """
    if difference is None or difference.lo is None or difference.hi is None:
        return Reading.ABSENT
    if difference.lo <= 0.0 <= difference.hi:
        return Reading.NO_DIFFERENCE
    if metric.startswith(HIGHER_IS_BETTER):
        return Reading.BETTER if difference.lo > 0.0 else Reading.WORSE
    if metric.startswith(LOWER_IS_BETTER):
        return Reading.BETTER if difference.hi < 0.0 else Reading.WORSE
    return Reading.DIFFERENT


def metrics(run: Facts) -> list[str]:
    """Return the names of every metric measured on either model, rank metrics first."""
    names = [*run.group("incumbent", "quality").names(), *run.group("lean", "quality").names()]
    return sorted(dict.fromkeys(names), key=lambda name: (_place(name), name))


def lead_metric(run: Facts) -> str:
    """Return the metric that stands for quality in a chart: AUC for a classifier, else the first one measured."""
    return next(iter(metrics(run)), "auc")


def headline_metrics(run: Facts) -> list[str]:
    """Return the metrics a headline speaks of: KS and AUC for a classifier, else the first two measured."""
    found = metrics(run)
    ranked: list[str] = [name for name in ("ks", "auc") if name in found]
    return ranked or found[:2]


def _place(name: str) -> int:
    return next((place for place, stem in enumerate(_ORDER) if name.startswith(stem)), len(_ORDER))
