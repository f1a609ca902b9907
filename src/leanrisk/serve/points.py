"""From a probability to score points and a decision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError

_EDGE = 1e-9
"""Probabilities nearer to 0 or 1 than this count as this near: points stay finite."""

Verdict = Literal["approve", "review", "decline"]


@dataclass(frozen=True)
class Points:
    """A scorecard's scale: `base` points at odds of good to bad of `odds`, and `double` points more at twice the odds.

    points = base + double / ln 2 * (ln((1 - p) / p) - ln(odds)) (Siddiqi, Credit Risk Scorecards, 2006).
    """

    base: float = 600.0
    odds: float = 50.0
    double: float = 20.0

    def __post_init__(self) -> None:
        for name, least in (("odds", 0.0), ("double", 0.0), ("base", -math.inf)):
            if not least < getattr(self, name) < math.inf:
                raise ConfigError(
                    f"points.{name} must be a finite number above {least}: it is {getattr(self, name)}. Correct it."
                )

    def of(self, probability: float) -> float:
        """Return the points of a probability of bad, to a tenth; fewer for a worse one."""
        chance = min(max(probability, _EDGE), 1 - _EDGE)
        return round(self.base + self.double / math.log(2) * (math.log((1 - chance) / chance) - math.log(self.odds)), 1)

    def of_all(self, probability: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the points of many probabilities."""
        chance = np.clip(probability, _EDGE, 1 - _EDGE)
        odds = np.log((1 - chance) / chance) - math.log(self.odds)
        return np.round(self.base + self.double / math.log(2) * odds, 1)


@dataclass(frozen=True)
class Policy:
    """Bands of the probability of bad: below `approve_below` approve, from `decline_from` on decline, between review.

    One cut-off is the two set to the same value.
    """

    approve_below: float = 0.05
    decline_from: float = 0.20

    def __post_init__(self) -> None:
        if not 0 <= self.approve_below <= self.decline_from <= 1:
            raise ConfigError(
                "policy needs 0 <= approve_below <= decline_from <= 1: they are "
                f"{self.approve_below} and {self.decline_from}. Correct them."
            )

    def of(self, probability: float) -> Verdict:
        """Return the decision on a probability of bad."""
        if probability < self.approve_below:
            return "approve"
        return "decline" if probability >= self.decline_from else "review"

    def of_all(self, probability: npt.NDArray[np.float64]) -> npt.NDArray[np.str_]:
        """Return the decisions on many probabilities."""
        conditions = [probability < self.approve_below, probability >= self.decline_from]
        return np.select(conditions, ["approve", "decline"], "review")
