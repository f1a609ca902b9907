"""Arms against each other on rows that their models did not see, within the training part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.dataset import Dataset
from leanrisk.core.progress import Progress
from leanrisk.data.thinning import thinned
from leanrisk.models.calibration import fit_line
from leanrisk.models.folds import Fold, make_folds
from leanrisk.models.synthesis.course import Course
from leanrisk.models.synthesis.crossing import Crossing
from leanrisk.techniques.base import WeightedFit
from leanrisk.techniques.synthesize.arm import Arm, Made, Method, check_bads

Floats = npt.NDArray[np.float64]

BUDGETS = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Shares of goods that are alerted: the mean recall over them is steadier than at one, and looks at the top alone."""
_EDGE = 1e-9


@dataclass(frozen=True)
class Tried:
    """An arm, calibrated, with what it did out of fold: `caught` is each bad's share of budgets at which it is alerted.

    `gain` over the arm that it has to beat, in recall, and the standard error of that over the bads.
    """

    arm: Arm
    caught: Floats
    gain: float = 0.0
    error: float = 0.0

    @property
    def recall(self) -> float:
        """Mean recall over the budgets."""
        return float(self.caught.mean())

    def better(self, proof: float) -> bool:
        """Whether the gain is more than `proof` standard errors: less than that, the simpler arm stays."""
        return self.gain > proof * self.error and self.gain > 0

    def against(self, other: Tried) -> Tried:
        """Return the same with its gain over the other arm."""
        difference = self.caught - other.caught
        error = float(difference.std(ddof=1) / np.sqrt(difference.size)) if difference.size > 1 else 0.0
        return replace(self, gain=float(difference.mean()), error=error)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values; a weight of null makes bads weigh as much as goods."""
        weight = self.arm.weight
        return {
            "arm": self.arm.label,
            "method": self.arm.method.value,
            "ratio": self.arm.ratio,
            "weight": None if np.isinf(weight) else weight,
            "members": self.arm.members if self.arm.method.averages else 0,
            "recall": self.recall,
            "gain": self.gain,
            "gain_error": self.error,
        }


class Search:
    """Fits arms out of fold on some rows; what a generator learns of the goods is learned once for all folds and arms.

    The goods of a held-out fold are thus known to a generator, as goods among all; no bad is known to it.
    """

    def __init__(
        self, rows: Dataset, fit: WeightedFit, *, folds: int, most: int, seed: int, progress: Progress
    ) -> None:
        check_bads(rows)
        self.rows = thinned(rows, most, purpose="synthesize", seed=seed)
        self.fit, self.progress, self._count, self._seed = fit, progress, folds, seed
        self.folds = make_folds(self.rows.labels, folds, seed=seed, stratified=True)
        self._courses: dict[Method, Course | Crossing | None] = {}

    def on(self, rows: Dataset) -> Search:
        """Return the same search over fewer of the bads, in two folds; generators know the goods already."""
        other = Search(rows, self.fit, folds=2, most=rows.rows, seed=self._seed, progress=self.progress)
        other._courses = self._courses
        return other

    def tried(self, arms: Sequence[Arm]) -> list[Tried]:
        """Return what each arm does out of fold, against the first one."""
        with self.progress.track("trying ways to help the bads", len(self.folds) * len(arms)) as advance:
            margins = {arm: np.empty(self.rows.rows) for arm in arms}
            for fold in self.folds:
                for arm, scores in self._fold(fold, arms, advance).items():
                    margins[arm][fold.held] = scores
        found = [self._judged(arm, margins[arm]) for arm in arms]
        return [each.against(found[0]) for each in found]

    def _fold(self, fold: Fold, arms: Sequence[Arm], advance: Any) -> Mapping[Arm, Floats]:
        rest, held = self.rows.take(fold.rest), self.rows.take(fold.held).frame
        made: dict[Method, Made] = {}
        scores = {}
        for arm in arms:
            if arm.method.draws and arm.method not in made:
                most = max(each.count(rest) for each in arms if each.method is arm.method)
                made[arm.method] = arm.made(rest, self._course(arm), most)
            model = arm.taught(rest, made.get(arm.method), self.fit)
            scores[arm] = _log_odds(model.predict(held))
            advance(1)
        return scores

    def _course(self, arm: Arm) -> Course | Crossing | None:
        if arm.method not in self._courses:
            self._courses[arm.method] = arm.course(self.rows, self.progress)
        return self._courses[arm.method]

    def final(self, arm: Arm, rows: Dataset) -> Any:
        """Return the arm's model of all `rows`; a generator starts from what the goods have taught already."""
        made = arm.made(rows, self._course(arm), arm.count(rows)) if arm.method.draws else None
        return arm.calibrated(arm.taught(rows, made, self.fit))

    def _judged(self, arm: Arm, margins: Floats) -> Tried:
        line = fit_line(self.rows.labels, margins)
        return Tried(
            replace(arm, slope=line.slope, intercept=line.intercept),
            caught_shares(self.rows.labels, self._levelled(margins)),
        )

    def _levelled(self, margins: Floats) -> Floats:
        """Return margins as ranks among the goods of their own fold: folds differ in level, which is no ranking."""
        ranks = np.empty(margins.size)
        for fold in self.folds:
            held = margins[fold.held]
            goods = np.sort(held[self.rows.labels[fold.held] == 0])
            low, high = (np.searchsorted(goods, held, side=side) for side in ("left", "right"))
            ranks[fold.held] = 0.5 * (low + high) / max(1, goods.size)
        return ranks


def caught_shares(labels: npt.NDArray[np.float32], scores: Floats, budgets: Sequence[float] = BUDGETS) -> Floats:
    """Return for each bad the share of budgets at which it scores above all goods that are not alerted, (bads,)."""
    goods = np.sort(scores[labels == 0])
    cutoffs = [goods[max(0, goods.size - 1 - int(budget * goods.size))] for budget in budgets]
    bads = scores[labels == 1]
    return np.asarray(np.mean([(bads > cut) + 0.5 * (bads == cut) for cut in cutoffs], axis=0), dtype=np.float64)


def best(found: Sequence[Tried], *, proof: float) -> Tried:
    """Return the arm with the highest recall of those that are better than the first; the first where none is."""
    return max((each for each in found if each.better(proof)), key=lambda each: each.recall, default=found[0])


def _log_odds(probability: npt.NDArray[np.float64]) -> Floats:
    held = np.clip(probability, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(held) - np.log1p(-held))
