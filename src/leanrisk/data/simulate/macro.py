"""The calendar of the book and the economy around it: a calm, a downturn in years five and six, a recovery."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.data.simulate.draws import Floats, Ints

FIRST_MONTH = np.datetime64("2016-01", "M")
MONTHS = 96

_STRESS_AT = (0, 40, 50, 56, 66, 78, 95)
_STRESS = (0.0, 0.05, 0.75, 1.0, 0.85, 0.25, 0.15)


def stress() -> Floats:
    """Return the strain on the economy by month, from 0 (calm) to 1 (the trough in late 2020), shape (MONTHS,)."""
    return np.interp(np.arange(MONTHS), _STRESS_AT, _STRESS).astype(np.float32)


def trend() -> Floats:
    """Return the passing of time by month, from -1 at the first to 1 at the last, shape (MONTHS,)."""
    return np.linspace(-1.0, 1.0, MONTHS, dtype=np.float32)


def wandering(rng: np.random.Generator, members: int, *, spread: float, memory: float) -> Floats:
    """Return monthly paths with stationary standard deviation `spread`, shape (members, MONTHS), float32.

    Each path is an autoregression of order one; `memory` is the share of a month's value that the next one keeps.
    """
    steps = rng.standard_normal((MONTHS, members))
    path = np.empty((MONTHS, members))
    path[0] = steps[0]
    for month in range(1, MONTHS):
        path[month] = memory * path[month - 1] + np.sqrt(1.0 - memory**2) * steps[month]
    return (spread * path.T).astype(np.float32)


@dataclass(frozen=True)
class Calendar:
    """Which rows of the book are decided in which month: rows stand in the order of their decision dates.

    starts: first row of each month and one past the last row, shape (MONTHS + 1,).
    """

    starts: Ints

    @classmethod
    def of(cls, rows: int) -> Calendar:
        """Return the calendar of a book of `rows` loans: lending grows by half and dips in the downturn."""
        volume = (1.0 + 0.5 * np.arange(MONTHS) / MONTHS) * (1.0 - 0.2 * stress().astype(np.float64))
        ends = np.rint(np.cumsum(volume) / volume.sum() * rows).astype(np.int64)
        return cls(np.concatenate([np.zeros(1, dtype=np.int64), ends]))

    def months(self, rows: Ints) -> Ints:
        """Return the month number (0 to MONTHS - 1) of each row."""
        return np.searchsorted(self.starts[1:], rows, side="right").astype(np.int64)

    def days(self, rows: Ints, months: Ints) -> npt.NDArray[np.int32]:
        """Return the decision date of each row in days since 1970-01-01, spread evenly over its month."""
        first = (FIRST_MONTH + np.arange(MONTHS + 1)).astype("datetime64[D]").astype(np.int64)
        begun, length = self.starts[months], np.diff(self.starts)[months]
        through = (rows - begun) * np.diff(first)[months] // length
        return (first[months] + through).astype(np.int32)


def month_of(days: npt.NDArray[np.int32]) -> Ints:
    """Return the month number of dates given in days since 1970-01-01; it passes MONTHS after the book's end."""
    dates = days.astype(np.int64).astype("datetime64[D]")
    return (dates.astype("datetime64[M]") - FIRST_MONTH).astype(np.int64)
