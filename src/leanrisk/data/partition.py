"""Row positions of the parts of a split: the newest, a random share, and groups kept on one side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import SplitError

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Positions of the train, validation and test rows, ascending and without overlap."""

    train: Positions
    valid: Positions
    test: Positions


def newest(times: Positions, rows: Positions, share: float) -> tuple[Positions, int]:
    """Return the newest of `rows` and the time at which they begin; rows of that time are among them.

    Of all times the one is taken that brings the part nearest to `share` of the rows. `times` are whole numbers that
    rise with time, shape (all rows,). Raises `SplitError` where all times are equal.
    """
    moments, counts = np.unique(times[rows], return_counts=True)
    if moments.size < 2:
        raise SplitError(
            "A split by time needs rows of different times: there is only one. Give the time column the role 'ignored' "
            "for a random split."
        )
    at_or_after = np.cumsum(counts[::-1])[::-1] / rows.size
    place = 1 + int(np.argmin(np.abs(at_or_after[1:] - share)))
    return rows[times[rows] >= moments[place]], int(moments[place])


def drawn(
    rows: Positions, share: float, strata: Positions, groups: Positions | None, random: np.random.Generator
) -> Positions:
    """Return a random `share` of `rows`, ascending, with each stratum in proportion; groups are drawn whole.

    `strata` and `groups` are whole numbers, shape (all rows,).
    """
    if groups is None:
        picked = [
            _share_of(random.permutation(rows[strata[rows] == level]), share) for level in np.unique(strata[rows])
        ]
        return np.sort(np.concatenate(picked))
    wanted = _drawn_groups(groups[rows], strata[rows], share, random)
    return np.sort(rows[np.isin(groups[rows], wanted)])


def longest_wait(outcomes: Positions, times: Positions, strata: Positions, *, missing: int) -> int:
    """Return how long after the decision 99 % of the rows of every stratum have their outcome; 0 where none is known.

    `outcomes` and `times` are in one unit, shape (rows,); an outcome time of `missing` is unknown.
    """
    known = outcomes != missing
    waits = outcomes[known] - times[known]
    levels = strata[known]
    return max((int(np.quantile(waits[levels == level], 0.99)) for level in np.unique(levels)), default=0)


def without_groups(
    groups: Positions, older: Positions, newer: Positions, *, most_loss: float
) -> tuple[Positions, Positions]:
    """Return `older` and `newer` with no group on both sides.

    The older rows give way, so that the newer part stays as it came; only where that costs more than `most_loss` of
    them does the newer part give way, and then it holds new groups only.
    """
    shared = np.isin(groups[older], groups[newer])
    if shared.mean() <= most_loss:
        return older[~shared], newer
    return older, newer[~np.isin(groups[newer], groups[older])]


def _share_of(rows: Positions, share: float) -> Positions:
    return rows[: round(share * rows.size)]


def _drawn_groups(groups: Positions, strata: Positions, share: float, random: np.random.Generator) -> Positions:
    """Return the groups to draw: each goes where it brings every stratum nearer to its share, larger ones first."""
    names, member = np.unique(groups, return_inverse=True)
    levels, level = np.unique(strata, return_inverse=True)
    sizes = np.zeros((names.size, levels.size))
    np.add.at(sizes, (member, level), 1)
    totals = sizes.sum(axis=0)
    taken, left = np.zeros(levels.size), np.zeros(levels.size)
    picked = []
    # Large groups first: what they upset, the many small ones that follow even out.
    order = np.lexsort((random.random(names.size), -sizes.sum(axis=1)))
    for place in order:
        size = sizes[place] / totals
        if _distance(taken + size, left, share) <= _distance(taken, left + size, share):
            taken = taken + size
            picked.append(place)
        else:
            left = left + size
    return names[np.array(picked, dtype=np.int64)]


def _distance(taken: npt.NDArray[np.float64], left: npt.NDArray[np.float64], share: float) -> float:
    return float(np.square(taken - share * (taken + left)).sum())
