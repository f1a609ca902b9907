"""Recursive elimination: the columns that move the score least go first, a share of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from leanrisk.core.progress import Progress
from leanrisk.core.seeding import derived_seed, generator
from leanrisk.models.folds import Fold
from leanrisk.models.gbdt_attribution import Attribution, Forest, attribution

Columns = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_LEFT = 0.25
"""Least share of the columns that one fit of a bootstrap leaves: it goes down to fewer in several."""


@dataclass(frozen=True)
class Ground:
    """What sets of columns are compared on: rows as numbers, their outcomes, folds of them, and the newest rows apart.

    `category`: positions of the columns that hold codes. `fixed`: positions that never go. `units`: the number of the
    group that each column goes with, int64 (columns,); None where each goes by itself. `standing`: importance and error
    of each column where they come from another model than the trees of the folds. `alike`: pairs of columns that tell
    much the same, boolean (columns, columns), None: no such pair. `dear`: what each of some columns adds to the price
    of a decision as (money, milliseconds), float64 (columns, 2); None: nothing costs anything.
    """

    matrix: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]
    folds: Sequence[Fold]
    category: frozenset[int]
    fixed: frozenset[int]
    forest: Forest
    seed: int
    weights: npt.NDArray[np.float32] | None = None
    units: Columns | None = None
    standing: tuple[Floats, Floats] | None = None
    alike: npt.NDArray[np.bool_] | None = None
    dear: Callable[[Columns], Floats] | None = None

    def attributed(self, columns: Columns, folds: Sequence[Fold] | None = None) -> Attribution:
        """Return what the folds say of these columns, in their order."""
        found = attribution(
            self.matrix[:, columns],
            self.labels,
            self.folds if folds is None else folds,
            category=[place for place, column in enumerate(columns.tolist()) if column in self.category],
            seed=self.seed,
            forest=self.forest,
            weights=self.weights,
        )
        if self.standing is None:
            return found
        importance, error = self.standing
        return replace(found, importance=importance[columns], error=error[columns])

    def scored(self, columns: Columns) -> Round:
        """Return a set as the folds score it, without attributions, which cost about as much as the fit."""
        return Round(columns, replace(self, forest=replace(self.forest, explained=0)).attributed(columns))

    def settled(self, found: Attribution) -> Ground:
        """Return the same ground with as many trees in every fit as answered in `found`.

        How many trees are best depends little on the columns, and to find it out costs a third of a small fit.
        """
        return replace(self, forest=replace(self.forest, rounds=round(found.trees), patience=0))

    def unit(self, columns: Columns) -> Columns:
        """Return the number of the group of each of these columns, counted from 0 without gaps."""
        own = columns if self.units is None else self.units[columns]
        return np.asarray(np.unique(own, return_inverse=True)[1], dtype=np.int64)


@dataclass(frozen=True)
class Round:
    """A set of columns (positions, ascending) and what the folds say of it."""

    columns: Columns
    found: Attribution


def eliminated(
    ground: Ground, first: Round, *, least: int, pace: Callable[[Round], float | None], progress: Progress
) -> None:
    """Drop columns from the `first` round on, round by round, down to `least` of them.

    `pace` is shown each round and says what share of its columns the next one drops, at least one, or None to end.
    """
    last = first
    with progress.track("eliminating features") as advance:
        while (share := pace(last)) is not None:
            advance(1)
            left = survivors(ground, last.columns, last.found, share=share, least=least)
            if left.size == last.columns.size:
                return
            last = Round(left, ground.attributed(left))


def survivors(ground: Ground, columns: Columns, found: Attribution, *, share: float, least: int) -> Columns:
    """Return the columns without the `share` of them that moves the score least; never fewer than `least`.

    Columns of one group go together, by what they add up to; a group with a fixed column stays. Of groups that are not
    told apart by what they are worth the dearest goes first. Columns that tell much the same share what they are worth:
    what goes leaves its worth to those of them that are left.
    """
    unit = ground.unit(columns)
    sizes = np.bincount(unit)
    worth: Floats = np.bincount(unit, weights=found.importance).astype(np.float64)
    error = np.sqrt(np.bincount(unit, weights=np.nan_to_num(found.error) ** 2))
    fixed = np.array([column in ground.fixed for column in columns.tolist()], dtype=np.float64)
    free = np.bincount(unit, weights=fixed) == 0
    # A column that no tree used says nothing: all of them go at once.
    silent = int(sizes[free & (worth == 0)].sum())
    drop = min(max(1, silent, int(share * columns.size)), columns.size - least)
    near, dear = _near(ground, columns, unit), _dearness(ground, columns, unit)
    dropped, gone = 0, np.zeros(sizes.size, dtype=np.bool_)
    while dropped < drop and (able := np.flatnonzero(free & ~gone & (sizes <= columns.size - least - dropped))).size:
        place = _weakest(able, worth, error, dear)
        if dropped and dropped + int(sizes[place]) > drop:
            break
        gone[place] = True
        dropped += int(sizes[place])
        if near is not None:
            heirs = near[place] & ~gone
            worth[heirs] += worth[place] / max(1, int(heirs.sum()))
    return np.asarray(columns[~gone[unit]])


def _weakest(able: Columns, worth: Floats, error: Floats, dear: Columns | None) -> int:
    """Return the group of `able` that is worth least; of those within a joint standard error of it the dearest."""
    least = int(able[int(np.argmin(worth[able]))])
    if dear is None:
        return least
    like = able[worth[able] - worth[least] <= np.hypot(error[able], error[least])]
    dearest = like[dear[like] == dear[like].max()]
    return int(dearest[int(np.argmin(worth[dearest]))])


def _dearness(ground: Ground, columns: Columns, unit: Columns) -> Columns | None:
    """Return the rank of each group by money, then by waiting time, int64 (groups,); None where none costs anything."""
    if ground.dear is None:
        return None
    price = ground.dear(columns)
    sums = np.stack([np.bincount(unit, weights=price[:, place]) for place in (0, 1)], axis=1)
    return np.asarray(np.unique(sums, axis=0, return_inverse=True)[1].ravel(), dtype=np.int64)


def _near(ground: Ground, columns: Columns, unit: Columns) -> npt.NDArray[np.bool_] | None:
    """Return which groups hold columns that tell much the same, boolean (groups, groups); None where none do."""
    if ground.alike is None:
        return None
    if ground.units is None:
        return ground.alike[np.ix_(columns, columns)]
    members = np.zeros((int(unit.max()) + 1, columns.size))
    members[unit, np.arange(columns.size)] = 1.0
    return np.asarray(members @ ground.alike[np.ix_(columns, columns)] @ members.T > 0)


def kept_share(ground: Ground, columns: Columns, *, count: int, repeats: int, progress: Progress) -> dict[int, float]:
    """Return for each column how often elimination down to `count` columns keeps it, over bootstraps of the rows.

    Each bootstrap fits on rows drawn with replacement and reads attributions on those that were not drawn; `ground`
    says how many trees.
    """
    rng = generator(ground.seed, "select", "bootstrap")
    votes = dict.fromkeys(columns.tolist(), 0)
    size = ground.labels.size
    with progress.track("repeating the selection", total=repeats) as advance:
        for repeat in range(repeats):
            counts = np.bincount(rng.integers(size, size=size), minlength=size).astype(np.float32)
            fold = Fold(np.flatnonzero(counts), np.flatnonzero(counts == 0))
            weights = counts if ground.weights is None else counts * ground.weights
            seed = derived_seed(ground.seed, "select", str(repeat))
            some = replace(ground, folds=[fold], seed=seed, weights=weights)
            left = columns
            while left.size > count:
                # A hair more than the share, so that rounding down leaves no single column for one more fit.
                share = 1 - max(_LEFT, count / left.size) + 1e-9
                fewer = survivors(some, left, some.attributed(left), share=share, least=count)
                if fewer.size == left.size:
                    break
                left = fewer
            for column in left.tolist():
                votes[column] += 1
            advance(1)
    return {column: held / repeats for column, held in votes.items()} if repeats else {}
