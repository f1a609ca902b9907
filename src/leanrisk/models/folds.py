"""Folds of training rows: each row is held out once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError
from leanrisk.core.seeding import generator


@dataclass(frozen=True)
class Fold:
    """Sorted positions of the rows `held` out and of the `rest`, which is fitted."""

    rest: npt.NDArray[np.intp]
    held: npt.NDArray[np.intp]


def make_folds(labels: npt.NDArray[np.float32], count: int, *, seed: int, stratified: bool) -> list[Fold]:
    """Return up to `count` folds that hold each row out once; stratified ones share bads and goods out evenly.

    A table with fewer than `count` rows of an outcome gets that many folds. Raises `ModelError` below two.
    """
    groups = [np.flatnonzero(labels == 1), np.flatnonzero(labels != 1)] if stratified else [np.arange(labels.size)]
    possible = min(count, *(group.size for group in groups))
    if possible < 2:
        scarce = "row of one outcome" if stratified else "row"
        raise ModelError(f"Out-of-fold scores need at least 2 rows of each outcome: there is 1 {scarce}. Bring more.")
    rng = generator(seed, "folds")
    place = np.empty(labels.size, dtype=np.int64)
    for group in groups:
        place[rng.permutation(group)] = np.arange(group.size) % possible
    return [Fold(np.flatnonzero(place != fold), np.flatnonzero(place == fold)) for fold in range(possible)]
