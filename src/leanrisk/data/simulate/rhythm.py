"""When things happen: a clock that runs fast in busy hours and slow at night and on weekends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.data.simulate.draws import Ints

Hours = npt.NDArray[np.float64]

FIRST_DAY = np.datetime64("2024-01-01", "D")
"""First day of the books of transactions, a Monday."""

_HOUR = 3_600
_BY_HOUR = (
    0.25, 0.15, 0.1, 0.1, 0.12, 0.2, 0.5, 0.9, 1.3, 1.6, 1.7, 1.7,
    1.8, 1.6, 1.5, 1.5, 1.6, 1.7, 1.7, 1.5, 1.2, 0.9, 0.6, 0.4,
)  # fmt: skip
_BY_WEEKDAY = (1.05, 1.05, 1.05, 1.1, 1.25, 0.85, 0.65)


@dataclass(frozen=True)
class Rhythm:
    """Turns busy hours, which events fill evenly, into moments; a day has 24 of them on average.

    Whatever is drawn evenly or with any gaps in busy hours follows the same daily and weekly rhythm, so the hour of an
    event never tells on its own how the event came about. marks: busy hours passed at each full hour, shape
    (24 * days + 1,).
    """

    days: int
    marks: Hours

    @classmethod
    def of(cls, days: int) -> Rhythm:
        """Return the clock of a book of `days` days from `FIRST_DAY`."""
        week = np.outer(_BY_WEEKDAY, _BY_HOUR).ravel()
        pace = np.resize(week, days * 24)
        marks = np.concatenate([np.zeros(1), np.cumsum(pace)])
        return cls(days, marks * (days * 24 / marks[-1]))

    @property
    def span(self) -> float:
        """Busy hours in the whole book."""
        return float(self.marks[-1])

    def moments(self, busy: Hours) -> Ints:
        """Return busy hours as seconds since 1970-01-01; earlier in busy hours is never later in seconds."""
        seconds = np.interp(busy, self.marks, np.arange(self.marks.size) * float(_HOUR))
        moments: Ints = self.first + seconds.astype(np.int64)
        return moments

    @property
    def first(self) -> int:
        """The first second of the book, since 1970-01-01."""
        return int(FIRST_DAY.astype("datetime64[s]").astype(np.int64))
