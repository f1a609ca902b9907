"""Who is guilty: chances that meet a wanted share exactly, and draws that keep to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.data.simulate.draws import Ints

Chances = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_MOST = 0.6
"""Largest mean chance of a kind: above it too few of its honest likes would be left."""
_HALVINGS = 50


@dataclass(frozen=True)
class Units:
    """What is guilty or not as a whole: a pattern, an episode or a single event; each array has shape (units,).

    kinds: number of the kind. log_odds: what everything hidden and seen says about guilt, up to a constant for each
    kind. sizes: events in the unit.
    """

    kinds: Ints
    log_odds: Chances
    sizes: Ints


class Verdicts:
    """Judges the units of one block after the other so that a wanted share of all events is guilty.

    quotas: share of all events that each kind has to bring, shape (kinds,). Within a kind and block a constant is added
    to the log-odds so that the expected number is exactly the quota; what a kind has no room for goes to the last one.
    Units are then drawn systematically (Madow 1949): each is guilty with exactly its chance, yet the count hardly
    varies.
    """

    def __init__(self, quotas: Chances, rng: np.random.Generator) -> None:
        self._quotas = quotas
        self._place = float(rng.random())

    def judge(self, units: Units, events: int) -> tuple[Chances, Flags]:
        """Return each unit's chance of being guilty and whether it is; `events` is the size of the whole block."""
        chances = np.zeros(units.kinds.size)
        short = 0.0
        for kind, quota in enumerate(self._quotas):
            here = np.flatnonzero(units.kinds == kind)
            wanted = quota * events + (short if kind == self._quotas.size - 1 else 0.0)
            reachable = min(wanted, _MOST * float(units.sizes[here].sum()))
            short += wanted - reachable
            chances[here] = calibrated(units.log_odds[here], units.sizes[here], reachable)
        return chances, self._drawn(chances, units)

    def _drawn(self, chances: Chances, units: Units) -> Flags:
        # Neighbours in this order are alike, so that the guilty are spread over kinds and sizes.
        order = np.lexsort((units.sizes, units.kinds))
        passed = np.floor(self._place + np.concatenate([np.zeros(1), np.cumsum(chances[order])]))
        guilty = np.zeros(chances.size, dtype=np.bool_)
        guilty[order] = np.diff(passed) > 0
        self._place = float((self._place + chances.sum()) % 1.0)
        return guilty


def calibrated(log_odds: Chances, sizes: Ints, expected: float) -> Chances:
    """Return chances whose sum, weighted by `sizes`, is `expected`: logistic of the log-odds plus one constant.

    `expected` lies between 0 and the sum of `sizes`; it is met to a millionth.
    """
    if expected <= 0.0 or log_odds.size == 0:
        return np.zeros(log_odds.size)
    low, high = -40.0 - float(log_odds.max()), 40.0 - float(log_odds.min())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if float((sizes * _logistic(log_odds + middle)).sum()) < expected:
            low = middle
        else:
            high = middle
    return _logistic(log_odds + high)


def _logistic(log_odds: Chances) -> Chances:
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)), dtype=np.float64)
