"""What a simulated column is: where it comes from, how a hidden trait shows in it, and whether it tells anything."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from leanrisk.data.simulate.draws import Floats

NEVER = 365_243
"""What a column of days holds where the event never happened, as in several banks' exports."""


class Worth(StrEnum):
    """What a column tells about default: something of its own, a copy of what others tell, or nothing."""

    INFORMATIVE = "informative"
    REDUNDANT = "redundant"
    NOISE = "noise"


class Shape(StrEnum):
    """The natural unit of a numeric column, made from a standard normal `g` with two parameters `a` and `s`."""

    AMOUNT = "amount"
    """CNY in thousands, whole: exp(a + s g)."""
    SHARE = "share"
    """Between 0 and 1: logistic(a + s g)."""
    RATIO = "ratio"
    """Any real number: a + s g."""
    COUNT = "count"
    """Whole, from 0: floor(exp(a + s g))."""
    SCORE = "score"
    """Whole points: round(a + s g)."""
    SINCE = "since"
    """Whole days since an event: floor(exp(a + s g)), and `NEVER` in the upper tail."""

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers, stored as such."""
        return self in (Shape.COUNT, Shape.SCORE, Shape.SINCE)


class Drift(StrEnum):
    """How the distribution of a column moves over time."""

    NONE = "none"
    TREND = "trend"
    STRESS = "stress"


@dataclass(frozen=True)
class Numeric:
    """A numeric column.

    `latent` names the hidden trait that it measures (informative) or the column that it repeats (redundant);
    `reliability` is its correlation with that. `shift` is how far, in standard deviations, `drift` moves it.
    """

    name: str
    source: str
    worth: Worth
    shape: Shape
    a: float
    s: float
    latent: str = ""
    reliability: float = 0.0
    drift: Drift = Drift.NONE
    shift: float = 0.0


@dataclass(frozen=True)
class Categorical:
    """A category column whose level is drawn by `weights`, shifted by a hidden trait where `latent` names one.

    `effects` are added to the log-odds of default; a level does not occur before its month in `opens`. Empty
    `weights` mean that the level is a fact of the firm or of the loan (its branch, its industry), not a draw.
    """

    name: str
    source: str
    worth: Worth
    levels: tuple[str, ...]
    weights: tuple[float, ...] = ()
    effects: tuple[float, ...] = ()
    opens: tuple[int, ...] = ()
    latent: str = ""
    reliability: float = 0.0


Spec = Numeric | Categorical

Values = npt.NDArray[np.float32] | npt.NDArray[np.int16] | npt.NDArray[np.int32]

_ONE = np.float32(1.0)
_NEVER_ABOVE = np.float32(0.55)
_LARGEST_COUNT, _LONGEST = np.float32(9_998.0), np.float32(99_999.0)


def shaped(g: Floats, column: Numeric) -> Values:
    """Return standard normal values as the column's natural units: int32 (days), int16 (whole) or float32."""
    score: Floats = g * np.float32(column.s)
    score += np.float32(column.a)
    values: Values = score
    match column.shape:
        case Shape.AMOUNT:
            values = np.rint(np.exp(score, out=score), out=score)
        case Shape.SHARE:
            values = _ONE / (_ONE + np.exp(-score))
        case Shape.COUNT:
            values = np.minimum(np.exp(score, out=score), _LARGEST_COUNT).astype(np.int16)
        case Shape.SCORE:
            values = np.rint(score, out=score).astype(np.int16)
        case Shape.SINCE:
            days = np.minimum(np.exp(score, out=score), _LONGEST).astype(np.int32)
            values = np.where(g > _NEVER_ABOVE, np.int32(NEVER), days)
    return values
