"""The newest rows of the training part: what the run's own refresh learns, and no step before it."""

from __future__ import annotations

import numpy as np

from leanrisk.core.dataset import Dataset
from leanrisk.core.seeding import generator


def newest_slice(train: Dataset, share: float, *, seed: int) -> tuple[Dataset, Dataset]:
    """Return (older rows, newest rows): the newest `share` by decision time, random without one.

    Equal times are cut at random: where a year is all that is known, the newest one may be most of the rows.
    """
    drawn = generator(seed, "newest").permutation(train.rows)
    times = (
        np.zeros(train.rows) if train.schema.time is None else train.frame[train.schema.time].rank("dense").to_numpy()
    )
    order = np.lexsort((drawn, times))
    newest = np.zeros(train.rows, dtype=np.bool_)
    newest[order[train.rows - round(share * train.rows) :]] = True
    return train.where(~newest), train.where(newest)
