"""The validation rows, which no ranking has seen, judge the sets that the folds let through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from leanrisk.core.metrics import ks
from leanrisk.techniques.base import Bench, Judged, Model
from leanrisk.techniques.select.curve import Point

Floats = npt.NDArray[np.float64]
_FITS = 3


class Referee:
    """Refits the incumbent's kind of model on a set of features and compares it on validation with the first set.

    Folds flatter small sets: the rows that score them have also ranked their features. Validation rows have not. The
    first set holds all features but leak suspects, which no honest set could rank as well as.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._whole: Sequence[str] | None = None
        self._fitted: dict[tuple[str, ...], Model] = {}
        self._means: dict[tuple[str, ...], Floats] = {}

    def confirmed(self, point: Point, names: Sequence[str]) -> Point:
        """Return the point with what validation says of it; `names` are those of all columns, by position."""
        kept = [names[column] for column in point.round.columns]
        self._whole = kept if self._whole is None else self._whole
        scores = self._scores(kept)
        judged = self._compared(self._scores(self._whole), scores)
        return replace(point, valid=judged, valid_ks=ks(self.bench.valid.labels, scores))

    def averaged(self, point: Point, names: Sequence[str]) -> Point:
        """Return a confirmed point with what validation says of the mean of `_FITS` fits, against as many of the first.

        One fit with another seed moves an AUC by some thousandths, and so does the first set's.
        """
        kept = [names[column] for column in point.round.columns]
        assert self._whole is not None
        return replace(point, averaged=self._compared(self._mean(self._whole), self._mean(kept)))

    def model(self, names: Iterable[str]) -> Model:
        """Return the incumbent's kind of model on these features, fitted once however often it is asked for."""
        kept = tuple(names)
        if kept not in self._fitted:
            self._fitted[kept] = self._fit(kept)
        return self._fitted[kept]

    def _compared(self, before: Floats, after: Floats) -> tuple[Judged, ...]:
        assert self.bench.compare is not None
        return tuple(self.bench.compare(self.bench.valid.labels, before, after))

    def _scores(self, names: Iterable[str]) -> Floats:
        return self.model(names).predict(self.bench.valid.frame)

    def _mean(self, names: Iterable[str]) -> Floats:
        kept = tuple(names)
        if kept not in self._means:
            others = [self._fit(kept, draw=draw).predict(self.bench.valid.frame) for draw in range(1, _FITS)]
            self._means[kept] = np.mean([self._scores(kept), *others], axis=0)
        return self._means[kept]

    def _fit(self, names: tuple[str, ...], *, draw: int = 0) -> Model:
        assert self.bench.refit is not None
        return self.bench.refit(self.bench.train.keeping(names), draw=draw)
