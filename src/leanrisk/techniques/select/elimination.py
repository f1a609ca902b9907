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


@dataclass(frozen=True)
class Ground:
    """What sets of columns are compared on: rows as numbers, their outcomes, folds of them, and the newest rows apart.

    `category`: positions of the columns that hold codes. `fixed`: positions that never go. `units`: the number of the
    group that each column goes with, int64 (columns,); None where each goes by itself. `standing`: importance and error
    of each column where they come from another model than the trees of the folds.
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
    ground: Ground,
    columns: Columns,
    *,
    share: float,
    least: int,
    hopeless: Callable[[Round], bool],
    progress: Progress,
) -> list[Round]:
    """Return the rounds from all `columns` down to `least`; each drops a `share` of what can go, one at least.

    `hopeless` is shown each round and says whether smaller sets are worth no more looking; elimination then ends.
    """
    rounds: list[Round] = []
    with progress.track("eliminating features", total=_rounds(columns.size, least, share)) as advance:
        while True:
            found = ground.attributed(columns)
            rounds.append(Round(columns, found))
            advance(1)
            left = survivors(ground, columns, found, share=share, least=least)
            if hopeless(rounds[-1]) or left.size == columns.size:
                return rounds
            columns = left


def survivors(ground: Ground, columns: Columns, found: Attribution, *, share: float, least: int) -> Columns:
    """Return the columns without the `share` of them that moves the score least; never fewer than `least`.

    Columns of one group go together, by what they add up to; a group with a fixed column stays.
    """
    unit = ground.unit(columns)
    sizes, worth = np.bincount(unit), np.bincount(unit, weights=found.importance)
    fixed = np.array([column in ground.fixed for column in columns.tolist()], dtype=np.float64)
    free = np.bincount(unit, weights=fixed) == 0
    # A column that no tree used says nothing: all of them go at once.
    silent = int(sizes[free & (worth == 0)].sum())
    drop = min(max(1, silent, int(share * columns.size)), columns.size - least)
    gone, dropped = set[int](), 0
    for place in np.argsort(worth, kind="stable").tolist():
        size = int(sizes[place])
        if not free[place] or columns.size - dropped - size < least:
            continue
        if dropped + size > drop and gone:
            break
        gone.add(place)
        dropped += size
        if dropped >= drop:
            break
    return np.asarray(columns[~np.isin(unit, list(gone))]) if gone else columns


def kept_share(ground: Ground, columns: Columns, *, count: int, repeats: int, progress: Progress) -> dict[int, float]:
    """Return for each column how often elimination down to `count` columns keeps it, over bootstraps of the rows.

    Each bootstrap fits on rows drawn with replacement and reads attributions on those that were not drawn.
    """
    rng = generator(ground.seed, "select", "bootstrap")
    votes = dict.fromkeys(columns.tolist(), 0)
    size = ground.labels.size
    with progress.track("repeating the selection", total=repeats) as advance:
        for repeat in range(repeats):
            counts = np.bincount(rng.integers(size, size=size), minlength=size).astype(np.float32)
            fold = Fold(np.flatnonzero(counts), np.flatnonzero(counts == 0))
            # Rows that were not drawn tell when to stop: without a weight of their own they would stop the first tree.
            weights = np.maximum(counts, np.float32(1))
            weights = weights if ground.weights is None else weights * ground.weights
            seed = derived_seed(ground.seed, "select", str(repeat))
            some = replace(ground, folds=[fold], seed=seed, weights=weights)
            left = columns
            while left.size > count:
                share = min(0.5, 1 - count / left.size)
                fewer = survivors(some, left, some.attributed(left), share=share, least=count)
                if fewer.size == left.size:
                    break
                left = fewer
            for column in left.tolist():
                votes[column] += 1
            advance(1)
    return {column: held / repeats for column, held in votes.items()} if repeats else {}


def _rounds(size: int, least: int, share: float) -> int:
    count = 1
    while size > least:
        size -= max(1, min(int(share * size), size - least))
        count += 1
    return count
