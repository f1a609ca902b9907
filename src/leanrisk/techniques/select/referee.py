"""The validation rows, which no ranking has seen, judge the sets that the folds let through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from leanrisk.core.metrics import ks
from leanrisk.techniques.base import Bench, Model
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
        self._fitted: dict[tuple[str, ...], Model] = {}

    def confirmed(self, point: Point, names: Sequence[str]) -> Point:
        """Return the point with what validation says of it; `names` are those of all columns, by position."""
        assert self.bench.compare is not None
        labels = self.bench.valid.labels
        scores = self.model(names[column] for column in point.round.columns).predict(self.bench.valid.frame)
        self._whole = scores if self._whole is None else self._whole
        judged = tuple(self.bench.compare(labels, self._whole, scores))
        return replace(point, valid=judged, valid_ks=ks(labels, scores))

    def model(self, names: Iterable[str]) -> Model:
        """Return the incumbent's kind of model on these features, fitted once however often it is asked for."""
        assert self.bench.refit is not None
        kept = tuple(names)
        if kept not in self._fitted:
            self._fitted[kept] = self.bench.refit(self.bench.train.keeping(kept))
        return self._fitted[kept]
