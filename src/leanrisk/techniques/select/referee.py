"""The validation rows, which no ranking has seen, judge the sets that the folds let through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from leanrisk.core.metrics import ks
from leanrisk.core.progress import Progress
from leanrisk.techniques.base import Bench
from leanrisk.techniques.select.curve import Point

Floats = npt.NDArray[np.float64]


class Referee:
    """Refits the incumbent's kind of model on a set of features and compares it on validation with the first set.

    Folds flatter small sets: the rows that score them have also ranked their features. Validation rows have not. The
    first set holds all features but leak suspects, which no honest set could rank as well as.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._whole: Floats | None = None

    def confirmed(self, points: Sequence[Point], names: Sequence[str], progress: Progress) -> list[Point]:
        """Return the points with what validation says of each; `names` are those of all columns, by position."""
        found: list[Point] = []
        with progress.track("judging sets on validation", total=len(points)) as advance:
            for point in points:
                found.append(self._confirmed(point, [names[column] for column in point.round.columns]))
                advance(1)
        return found

    def _confirmed(self, point: Point, names: Sequence[str]) -> Point:
        assert self.bench.compare is not None
        labels, scores = self.bench.valid.labels, self._scores(names)
        self._whole = scores if self._whole is None else self._whole
        judged = tuple(self.bench.compare(labels, self._whole, scores))
        return replace(point, valid=judged, valid_ks=ks(labels, scores))

    def _scores(self, names: Sequence[str]) -> Floats:
        assert self.bench.refit is not None
        return self.bench.refit(self.bench.train.keeping(names)).predict(self.bench.valid.frame)
