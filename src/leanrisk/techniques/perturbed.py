"""Rows near the real ones, for a teacher to give its opinion on: more to learn from without more labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.seeding import generator


def perturbed_rows(dataset: Dataset, *, copies: int, share: float, seed: int) -> pl.DataFrame:
    """Return `copies` times the rows of `dataset`; in each, about `share` of the feature values come from another row.

    A copy takes them all from the same other row, so that they fit together. Values keep their marginal distribution
    and their type, since each is one that stood in its column. The other columns stay with their row.
    Source: swap noise as in Buciluă, Caruana, Niculescu-Mizil (2006), "Model Compression".
    """
    rng = generator(seed, "perturbed")
    parts = []
    for _ in range(copies):
        donors = rng.permutation(dataset.rows)
        frame = dataset.frame
        swapped = [frame[name].gather(_sources(rng, donors, share)) for name in dataset.features]
        parts.append(frame.with_columns(swapped))
    return pl.concat(parts)


def _sources(rng: np.random.Generator, donors: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.uint32]:
    taken = rng.random(donors.size, dtype=np.float32) < share
    return np.where(taken, donors, np.arange(donors.size)).astype(np.uint32)
