"""The supervisor's traffic light: how many exceedances of a 99 % value at risk 250 days may show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import DataError, Fault

DAYS = 250
_YELLOW, _RED = 5, 10


class Zone(StrEnum):
    """Green: nothing to object. Yellow: the multiplier rises. Red: the model is presumed wrong."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True)
class TrafficLight:
    """The zone of the last 250 days and of the worst 250 days in a row, with the exceedances of each."""

    last: Zone
    last_exceedances: int
    worst: Zone
    worst_exceedances: int


def zone_of(count: int) -> Zone:
    """Return the zone of this many exceedances in 250 days at 99 %: green to 4, yellow from 5, red from 10.

    A right model has a chance of 89.2 % of green and 0.03 % of red. Source: Basel Committee (1996), "Supervisory
    framework for the use of backtesting", kept in the Basel framework as MAR32.9.
    """
    return Zone.RED if count >= _RED else Zone.YELLOW if count >= _YELLOW else Zone.GREEN


def traffic_light(hits: npt.ArrayLike) -> TrafficLight:
    """Return the zones of a series of 99 % exceedances, booleans in the order of days, shape (days,).

    Raises `DataError` for fewer than 250 days: the zones are defined for no other number.
    """
    told = np.asarray(hits)
    if told.ndim != 1 or told.dtype != np.bool_ or told.size < DAYS:
        raise DataError(
            Fault(
                "too-few-days",
                f"the traffic light counts booleans over {DAYS} days: {told.dtype} of shape {told.shape} were given.",
                "Lengthen the test period.",
            )
        )
    sums = np.concatenate([[0], np.cumsum(told)])
    counts = sums[DAYS:] - sums[:-DAYS]
    last, worst = int(counts[-1]), int(counts.max())
    return TrafficLight(zone_of(last), last, zone_of(worst), worst)
