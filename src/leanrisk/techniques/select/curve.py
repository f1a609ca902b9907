"""KS against money, waiting time and number of features; and the cheapest set that is not inferior."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
"""Sets in a row that must fail before smaller ones are left untried: one may fail by chance."""


@dataclass(frozen=True)
class Point:
    """One set of columns on the curve: what it costs, how it ranks, and how it compares with all columns.

    `ks` and `auc` are out of fold on the older rows, `newest_ks` on the newest rows by a model of the older ones (None
    without a decision time). `dropped`: what was given up as a whole to come here (a look-up, the unstable features),
    empty for a round of elimination.
    """

    round: Round
    basket: Basket
    ks: float
    auc: float
    newest_ks: float | None
    judged: tuple[Judged, ...]
    steady: bool
    dropped: str = ""

    @property
    def proven(self) -> bool:
        """Whether every bound lies above its margin, with half of the margin to spare, and the newest rows agree."""
        return self.within and all(each.lo > each.margin for each in self.judged)

    @property
    def within(self) -> bool:
        """Whether every estimate uses up no more than half of its margin, and the newest rows agree."""
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
            "differences": {each.name: {"value": each.value, "lo": each.lo} for each in self.judged},
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
        newest, before = self._newest_ks(margins), self._newest_ks(self.whole)
        judged = tuple(self.compare(labels, _probability(self.whole[older]), _probability(margins[older])))
        allowed = min((each.margin for each in judged if each.name == "ks"), default=0.0)
        return Point(
            round_,
            basket,
            ks(labels, margins[older]),
            auc(labels, margins[older]),
            newest,
            judged,
            newest is None or before is None or newest - before >= allowed,
            dropped,
        )

    def _newest_ks(self, margins: Floats) -> float | None:
        labels = self.labels[self.newest]
        return ks(labels, margins[self.newest]) if 0 < labels.sum() < labels.size else None


def cheapest(points: Sequence[Point], affordable: Callable[[Basket], bool] = lambda basket: True) -> Point | None:
    """Return the cheapest proven point of `points`, largest set first; where only the largest is, the cheapest within.

    A set counts only where the next larger one is within its margins too: of many sets some look good by luck, and one
    that does so below a set that fails is most likely of these. Only sets that are `affordable` are chosen. None
    without any.
    """
    steady = [point for place, point in enumerate(points) if place == 0 or (point.within and points[place - 1].within)]
    proven = [point for point in steady[1:] if point.proven and affordable(point.basket)]
    chosen = [*proven, *steady[:1]] if proven else steady
    fitting = [point for point in chosen if point.within and affordable(point.basket)]
    return min(fitting, key=lambda point: point.basket.order, default=None)


def hopeless(points: Sequence[Point]) -> bool:
    """Return whether the last sets all lie beyond their margins, so that no smaller one can be chosen."""
    return len(points) > _TRIES and not any(point.within for point in points[-_TRIES:])


def _probability(margins: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-margins)))
