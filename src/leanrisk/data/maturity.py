"""Which rows are old enough for their outcome to be known, whatever it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leanrisk.core.dataset import Dataset
from leanrisk.core.schema import Role
from leanrisk.data.clock import NEVER, check_same_clock, times_of
from leanrisk.data.partition import longest_wait


def outcome_wait(dataset: Dataset) -> int | None:
    """Return how long 99 % of the goods and of the bads take to be known, in the unit of `data.clock.times_of`.

    None where the schema has no decision time or no outcome time. Raises `SplitError` where the two clocks differ.
    """
    time, known = dataset.schema.time, dataset.schema.single(Role.OUTCOME_TIME)
    if time is None or known is None or not dataset.rows:
        return None
    check_same_clock(dataset, known)
    outcomes = times_of(dataset, known, missing=NEVER)
    return longest_wait(outcomes, times_of(dataset, time), dataset.labels.astype(np.int64), missing=NEVER)


def matured(dataset: Dataset, wait: int | None) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows decided at least `wait` before the latest outcome that the table knows, shape (rows,).

    Bads are known sooner than goods, so the youngest rows with an outcome are mostly bads: they would teach that new
    business is bad. All rows where `wait` is None or no outcome time is known. `wait` is in the unit of
    `data.clock.times_of`; raises `SplitError` where the two clocks differ.
    """
    time, known = dataset.schema.time, dataset.schema.single(Role.OUTCOME_TIME)
    if wait is None or time is None or known is None or not dataset.rows:
        return np.ones(dataset.rows, dtype=np.bool_)
    check_same_clock(dataset, known)
    outcomes = times_of(dataset, known, missing=NEVER)
    latest = int(outcomes.max())
    if latest == NEVER:
        return np.ones(dataset.rows, dtype=np.bool_)
    return np.asarray(times_of(dataset, time) <= latest - wait)
