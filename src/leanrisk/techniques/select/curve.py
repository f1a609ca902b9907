"""KS against money, waiting time and number of features; and the cheapest set that is not inferior."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.metrics import auc, ks
from leanrisk.techniques.base import Compare, Judged
from leanrisk.techniques.select.elimination import Round
from leanrisk.techniques.select.prices import Basket

Floats = npt.NDArray[np.float64]

_METRICS: Mapping[str, Callable[[npt.ArrayLike, npt.ArrayLike], float]] = {"auc": auc, "ks": ks}

_SPARE = 0.5
"""Share of a margin that a set may use up out of fold, where the rows that judge it have also ranked its features, and
on validation together with the next larger set, since chance has its part in either."""
_DECIDES = "ks"
"""The metric whose proof decides, where it is judged: the others must not speak against a set."""

_TRIES = 2
"""Sets in a row that must fail before smaller ones are left untried."""


@dataclass(frozen=True)
class Point:
    """One set of columns on the curve: what it costs, how it ranks, and how it compares with all columns.

    `ks` and `auc` are out of fold on the older rows, `newest_ks` on the newest rows by a model of the older ones (None
    without a decision time). `dropped`: what was given up as a whole to come here (a look-up, the unstable features),
    empty for a round of elimination. `valid` and `valid_ks` are what the validation rows say of it, by the incumbent's
    kind of model refitted on the set; empty and None for a set that was not put to them. `averaged` is the same by the
    mean of several fits on either side, for sets on which the choice hangs: of one fit each, luck moves a difference.
    """

    round: Round
    basket: Basket
    ks: float
    auc: float
    newest_ks: float | None
    judged: tuple[Judged, ...]
    steady: bool
    dropped: str = ""
    valid: tuple[Judged, ...] = ()
    valid_ks: float | None = None
    averaged: tuple[Judged, ...] = ()

    @property
    def on_valid(self) -> Point:
        """The point as the validation rows alone judge it."""
        return replace(self, judged=self.valid, steady=True)

    @property
    def _calmer(self) -> Point:
        return replace(self, judged=self.averaged) if self.averaged else self

    @property
    def proven(self) -> bool:
        """Whether every bound lies above its margin, half of it to spare, and the newest rows do not refute it."""
        return self.within and all(each.lo > each.margin for each in self.judged)

    @property
    def borne(self) -> bool:
        """Whether no rows show that the set is inferior: no upper bound lies below its margin."""
        return self.steady and not any(_lost(each) for each in self.judged)

    @property
    def within(self) -> bool:
        """Whether every estimate uses up no more than half of its margin, and the newest rows do not refute it."""
        return self.steady and all(each.value >= _SPARE * each.margin for each in self.judged)

    @property
    def passing(self) -> bool:
        """Whether every estimate lies within its margin, as a gate asks where the rows do not decide."""
        return self.steady and all(each.value >= each.margin for each in self.judged)

    def to_dict(self) -> dict[str, Any]:
        """Return the point as plain values."""
        return {
            "features": self.basket.features,
            "money": self.basket.money,
            "latency_ms": self.basket.latency_ms,
            "ks": self.ks,
            "auc": self.auc,
            "newest_ks": self.newest_ks,
            "dropped": self.dropped,
            "steady": self.steady,
            "proven": self.proven,
            "differences": _told(self.judged),
            "valid_ks": self.valid_ks,
            "valid_differences": _told(self.valid),
            "averaged_differences": _told(self.averaged),
        }


@dataclass(frozen=True)
class Judge:
    """Compares sets with all columns: on older rows out of fold, and on the newest rows (a mask, none of them: off)."""

    labels: npt.NDArray[np.float32]
    newest: npt.NDArray[np.bool_]
    whole: Floats
    compare: Compare

    def point(self, round_: Round, basket: Basket, *, dropped: str = "") -> Point:
        """Return the point of a round; `whole` are the margins of all columns on the same rows."""
        older, margins = ~self.newest, round_.found.margins
        labels = self.labels[older]
        judged = self._judged(older, margins)
        both = 0 < self.labels[self.newest].sum() < self.newest.sum()
        return Point(
            round_,
            basket,
            ks(labels, margins[older]),
            auc(labels, margins[older]),
            ks(self.labels[self.newest], margins[self.newest]) if both else None,
            judged,
            not both or not self._refuted(margins, judged),
            dropped,
        )

    def _refuted(self, margins: Floats, judged: Sequence[Judged]) -> bool:
        """Return whether the newest rows show the set to be inferior; an estimate within its margin spares the test."""
        labels, before, after = self.labels[self.newest], self.whole[self.newest], margins[self.newest]
        values = [(each.margin, _METRICS.get(each.name)) for each in judged]
        if all(metric and metric(labels, after) - metric(labels, before) >= margin for margin, metric in values):
            return False
        return any(_lost(each) for each in self._judged(self.newest, margins))

    def _judged(self, rows: npt.NDArray[np.bool_], margins: Floats) -> tuple[Judged, ...]:
        scores = (_probability(each[rows]) for each in (self.whole, margins))
        return tuple(self.compare(self.labels[rows], *scores))


def cheapest(points: Sequence[Point], affordable: Callable[[Basket], bool] = lambda basket: True) -> Point | None:
    """Return the cheapest of `points` that is proven, the largest set first; where only the largest is, that passes.

    Passing is what a gate asks where rows do not decide: estimates within the margins. Proven is a passing set whose KS
    has its lower bound there, too. Of many sets some look good by luck, so a set counts only where the next larger one
    is not shown to be inferior, and where the mean of both uses up no more than half of a margin; all of it by the mean
    of several fits, too, where there are such. Only sets that are `affordable` are chosen. None without any.
    """
    steady = [point for place, point in enumerate(points) if place == 0 or _supported(points, place)]
    proven = [point for point in steady[1:] if decided(point) and affordable(point.basket)]
    chosen = [*proven, *steady[:1]] if proven else steady
    fitting = [point for point in chosen if point.passing and affordable(point.basket)]
    return min(fitting, key=lambda point: point.basket.order, default=None)


def decided(point: Point) -> bool:
    """Return whether a set passes and the lower bound of what decides lies above its margin."""
    deciding = [each for each in point.judged if each.name == _DECIDES] or point.judged
    return point.passing and all(each.lo > each.margin for each in deciding)


def left_standing(points: Sequence[Point], affordable: Callable[[Basket], bool]) -> list[Point]:
    """Return the points that no rows show to be inferior, in order; the first one, all features, among them."""
    return [point for place, point in enumerate(points) if place == 0 or (point.borne and affordable(point.basket))]


def _supported(points: Sequence[Point], place: int) -> bool:
    # A smaller neighbour says nothing: that it has lost is what makes this set the last one.
    larger, point = points[place - 1]._calmer, points[place]
    both = zip(larger.judged, point._calmer.judged, strict=True)
    smooth = all((other.value + own.value) / 2 >= _SPARE * own.margin for other, own in both)
    return point.passing and point._calmer.passing and larger.borne and smooth


def hopeless(points: Sequence[Point]) -> bool:
    """Return whether the last sets are all shown to be inferior, so that smaller ones are hardly worth a look."""
    return len(points) > _TRIES and not any(point.borne for point in points[-_TRIES:])


def _told(judged: Sequence[Judged]) -> dict[str, Any]:
    return {each.name: {"value": each.value, "lo": each.lo} for each in judged}


def _lost(each: Judged) -> bool:
    """Return whether the upper bound, as far above the estimate as the lower one is below, lies below the margin."""
    return 2 * each.value - each.lo < each.margin


def _probability(margins: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-margins)))
