"""Fewer rows of a book, its bads first."""

from __future__ import annotations

import numpy as np

from leanrisk.core.dataset import Dataset
from leanrisk.core.seeding import generator


def thinned(rows: Dataset, most: int, *, purpose: str, seed: int) -> Dataset:
    """Return at most this many rows in their order: all bads that fit into half of them, goods drawn at random.

    `purpose` keeps the draws of two steps apart that are given the same seed.
    """
    if rows.rows <= most:
        return rows
    rng = generator(seed, purpose, "rows")
    bads, goods = (rng.permutation(np.flatnonzero(rows.labels == value)) for value in (1, 0))
    bads = bads[: max(most // 2, most - goods.size)]
    return rows.take(np.sort(np.concatenate([bads, goods[: most - bads.size]])))
