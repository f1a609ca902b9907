"""How a default known in a guarantee circle raises the risk of the circle's later loans."""

from __future__ import annotations

import numpy as np

from leanrisk.data.simulate.draws import Floats, Ints
from leanrisk.data.simulate.macro import MONTHS

LAG_MONTHS = 26
"""A default is known at most this many months after its decision, plus one."""

_FADE = np.float32(0.92)
_LEADER_WEIGHT, _MEMBER_WEIGHT = 2.0, 1.0
_PER_DEFAULT, _CAP = np.float32(1.1), np.float32(2.0)


class Contagion:
    """The distress of every guarantee circle, month by month: a self-exciting count that fades by 8 % a month.

    A default counts from the month after it became known, so the distress that a decision meets is made of facts that
    a bank has on that day. Memory: `LAG_MONTHS` + 1 numbers per circle, whatever the length of the book.
    """

    def __init__(self, circles: int) -> None:
        self._distress = np.zeros(circles, dtype=np.float32)
        self._coming = np.zeros((LAG_MONTHS, circles), dtype=np.float32)
        self._month = 0

    def advance(self, month: int) -> None:
        """Move to `month`; months never go back."""
        while self._month < month:
            self._month += 1
            self._distress *= _FADE
            self._distress += self._coming[self._month % LAG_MONTHS]
            self._coming[self._month % LAG_MONTHS] = 0.0

    def pressure(self, circle: Ints) -> Floats:
        """Return what the distress adds to the log-odds of loans in these circles (-1: none), shape (rows,)."""
        known = np.minimum(self._distress[circle], _CAP) * _PER_DEFAULT
        return np.where(circle >= 0, known, np.float32(0.0))

    def record(self, circle: Ints, known_in: Ints, leads: Ints) -> None:
        """Note defaults of loans in these circles, known in these months; `leads` is 1 for the guarantor's own."""
        counted = (circle >= 0) & (known_in + 1 < MONTHS)
        month = (known_in[counted] + 1) % LAG_MONTHS
        weight = np.where(leads[counted] == 1, _LEADER_WEIGHT, _MEMBER_WEIGHT)
        np.add.at(self._coming, (month, circle[counted]), weight.astype(np.float32))
