"""Non-inferiority tests that a step must pass: is the score after it no worse than before, by more than a margin?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy.typing as npt

from leanrisk.core.errors import ConfigError
from leanrisk.core.measurement import Interval
from leanrisk.evaluate.bootstrap import RESAMPLES, metric_difference
from leanrisk.evaluate.delong import auc_difference
from leanrisk.evaluate.intervals import ONE_SIDED_95
from leanrisk.evaluate.quality import Task
from leanrisk.evaluate.weighted import Metric


class Verdict(StrEnum):
    """What the rows say about a difference: better than the margin, worse than it, or too few rows to tell."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_PROVEN = "not_proven"


@dataclass(frozen=True)
class GateConfig:
    """Margins of the gates, and what to do where the rows do not decide.

    `auc_margin` and `ks_margin` are differences, after minus before, in [-1, 0]; `mae_margin_rel` and `rmse_margin_rel`
    are rises as a share of the error before, in [0, 1]. `allow_not_proven` accepts an undecided gate whose point
    estimate is within its margin. Raises `ConfigError` for a margin outside its range.
    """

    auc_margin: float = -0.005
    ks_margin: float = -0.015
    mae_margin_rel: float = 0.01
    rmse_margin_rel: float = 0.01
    allow_not_proven: bool = True
    resamples: int = RESAMPLES

    def __post_init__(self) -> None:
        for name in ("auc_margin", "ks_margin"):
            if not -1.0 <= (margin := getattr(self, name)) <= 0.0:
                raise ConfigError(f"A gate allows a loss: {name} is in [-1, 0], not {margin!r}. Write -0.005, say.")
        for name in ("mae_margin_rel", "rmse_margin_rel"):
            if not 0.0 <= (margin := getattr(self, name)) <= 1.0:
                raise ConfigError(f"A gate allows a rise of an error: {name} is in [0, 1], not {margin!r}. Write 0.01.")
        if self.resamples < RESAMPLES // 10:
            raise ConfigError(f"A gate needs at least {RESAMPLES // 10} resamples: {self.resamples} is too few.")


@dataclass(frozen=True)
class GateResult:
    """A paired difference (after minus before), its one-sided 95 % bounds `lo` and `hi`, and the verdict.

    For an error (`higher_is_better` false) value, bounds and margin are relative to before, and less is better.
    """

    name: str
    verdict: Verdict
    value: float
    lo: float
    hi: float
    margin: float
    higher_is_better: bool = True

    @property
    def within(self) -> bool:
        """Whether the point estimate is on the right side of the margin."""
        return self.value >= self.margin if self.higher_is_better else self.value <= self.margin

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values, keyed as in `result.json`."""
        return {
            "name": self.name,
            "verdict": self.verdict.value,
            "value": self.value,
            "lo": self.lo,
            "hi": self.hi,
            "margin": self.margin,
        }

    def __str__(self) -> str:
        form = "{:+.4f}" if self.higher_is_better else "{:+.2%}"
        value, lo, hi, margin = (form.format(number) for number in (self.value, self.lo, self.hi, self.margin))
        return f"{self.name.upper()} {value} [{lo}, {hi}], margin {margin}: {self.verdict.replace('_', ' ')}"


def judge(
    labels: npt.ArrayLike,
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    *,
    config: GateConfig,
    seed: int,
    task: Task = Task.CLASSIFICATION,
) -> tuple[GateResult, ...]:
    """Return the gates of a step, judged on rows that are not the test: scores `before` and `after` it, shape (rows,).

    Classification: the AUC difference by DeLong and the KS difference by paired bootstrap. Regression: MAE and RMSE,
    relative to before, by paired bootstrap. Raises `DataError` or `ModelError` for rows that cannot be judged.
    """
    if task is Task.REGRESSION:
        margins = {Metric.MAE: config.mae_margin_rel, Metric.RMSE: config.rmse_margin_rel}
        return tuple(
            _result(
                name, _resampled(labels, before, after, name, config=config, seed=seed), margin, higher_is_better=False
            )
            for name, margin in margins.items()
        )
    auc = auc_difference(labels, before, after, level=ONE_SIDED_95)
    ks = _resampled(labels, before, after, Metric.KS, config=config, seed=seed)
    return (_result(Metric.AUC, auc, config.auc_margin), _result(Metric.KS, ks, config.ks_margin))


def accepted(results: Sequence[GateResult], config: GateConfig) -> tuple[bool, str]:
    """Return whether a step may stay, and why, in one line that gives every gate's numbers.

    One failed gate drops the step. A gate that is not proven drops it too, unless its point estimate is within the
    margin and the recipe allows that. Raises `ConfigError` without results: a step is never accepted unjudged.
    """
    if not results:
        raise ConfigError("A step must be judged by at least one gate: none was given. Judge it first.")
    reasons = []
    kept = True
    for result in results:
        passes, remark = _ruling(result, config)
        kept = kept and passes
        reasons.append(f"{result}{remark}")
    return kept, "; ".join(reasons)


def _ruling(result: GateResult, config: GateConfig) -> tuple[bool, str]:
    if result.verdict is not Verdict.NOT_PROVEN:
        return result.verdict is Verdict.PASSED, ""
    if not result.within:
        return False, " (too few rows to tell, and the estimate is beyond the margin)"
    if not config.allow_not_proven:
        return False, " (too few rows to tell, and the recipe asks for proof)"
    return True, " (too few rows to tell; the estimate is within the margin)"


def _resampled(
    labels: npt.ArrayLike, before: npt.ArrayLike, after: npt.ArrayLike, name: Metric, *, config: GateConfig, seed: int
) -> Interval:
    return metric_difference(
        labels,
        before,
        after,
        name,
        seed=seed,
        resamples=config.resamples,
        level=ONE_SIDED_95,
        relative=name in (Metric.MAE, Metric.RMSE),
    )


def _result(name: Metric, found: Interval, margin: float, *, higher_is_better: bool = True) -> GateResult:
    better, worse = (
        (found.lo > margin, found.hi < margin) if higher_is_better else (found.hi < margin, found.lo > margin)
    )
    verdict = Verdict.PASSED if better else Verdict.FAILED if worse else Verdict.NOT_PROVEN
    return GateResult(name.value, verdict, found.value, found.lo, found.hi, margin, higher_is_better)


def gained(gates: Sequence[GateResult]) -> bool:
    """Return whether the later score is better in AUC or in KS, by point estimate."""
    return any(gate.value > 0 for gate in gates)
