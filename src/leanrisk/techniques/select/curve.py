"""KS against money, waiting time and number of features; and the cheapest set that is not inferior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.metrics import auc, ks
from leanrisk.techniques.base import Compare, Judged
from leanrisk.techniques.select.elimination import Round
from leanrisk.techniques.select.prices import Basket

Floats = npt.NDArray[np.float64]

_SPARE = 0.5
"""Share of a margin that a set may use up here: the gate that follows judges on other rows, and chance adds to it."""

_TRIES = 3
"""Sets in a row that must fail before smaller ones are left untried."""


@dataclass(frozen=True)
class Point:
    """One set of columns on the curve: what it costs, how it ranks, and how it compares with all columns.

    `ks` and `auc` are out of fold on the older rows, `newest_ks` on the newest rows by a model of the older ones (None
    without a decision time). `dropped`: what was given up as a whole to come here (a look-up, the unstable features),
    empty for a round of elimination. `valid` and `valid_ks` are what the validation rows say of it, by the incumbent's
    kind of model refitted on the set; empty and None for a set that was not put to them.
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

    @property
    def on_valid(self) -> Point:
        """The point as the validation rows alone judge it."""
        return replace(self, judged=self.valid, steady=True)

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
            "proven": self.proven,
            "differences": _told(self.judged),
            "valid_ks": self.valid_ks,
            "valid_differences": _told(self.valid),
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
            not both or not any(_lost(each) for each in self._judged(self.newest, margins)),
            dropped,
        )

    def _judged(self, rows: npt.NDArray[np.bool_], margins: Floats) -> tuple[Judged, ...]:
        scores = (_probability(each[rows]) for each in (self.whole, margins))
        return tuple(self.compare(self.labels[rows], *scores))


def cheapest(points: Sequence[Point], affordable: Callable[[Basket], bool] = lambda basket: True) -> Point | None:
    """Return the cheapest proven point of `points`, largest set first; where only the largest is, the cheapest within.

    Of many sets some look good by luck. So a set counts only where the next larger one is not shown to be inferior, and
    where the mean of its differences and of those of its two neighbours uses up no more than half of the margin either.
    Only sets that are `affordable` are chosen. None without any.
    """
    steady = [point for place, point in enumerate(points) if place == 0 or _supported(points, place)]
    proven = [point for point in steady[1:] if point.proven and affordable(point.basket)]
    chosen = [*proven, *steady[:1]] if proven else steady
    fitting = [point for point in chosen if point.within and affordable(point.basket)]
    return min(fitting, key=lambda point: point.basket.order, default=None)


def left_standing(points: Sequence[Point], affordable: Callable[[Basket], bool]) -> list[Point]:
    """Return the points that no rows show to be inferior, in order; the first one, all features, among them."""
    return [point for place, point in enumerate(points) if place == 0 or (point.borne and affordable(point.basket))]


def _supported(points: Sequence[Point], place: int) -> bool:
    point, near = points[place], points[place - 1 : place + 2]
    means = (np.mean([other.judged[number].value for other in near]) for number in range(len(point.judged)))
    smooth = all(mean >= _SPARE * each.margin for mean, each in zip(means, point.judged, strict=True))
    return point.within and points[place - 1].borne and smooth


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
