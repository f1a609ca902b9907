"""Decision and outcome times as numbers on one clock."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import SplitError

NEVER = np.iinfo(np.int64).min
"""The time of an outcome that is not known."""


def times_of(dataset: Dataset, name: str, *, missing: int | None = None) -> npt.NDArray[np.int64]:
    """Return a time column as whole numbers, shape (rows,): microseconds of dates, whole units of times that count.

    A null becomes `missing`; without one it raises `SplitError`.
    """
    column = dataset.frame[name]
    if column.dtype.is_temporal():
        column = column.cast(pl.Datetime("us"))
    elif column.dtype.is_float():
        # Ranks would lose the unit that a maturity gap is given in, so whole units it is.
        column = column.floor()
    numbers = column.cast(pl.Int64)
    if missing is None and numbers.null_count():
        raise SplitError(
            f"Every row needs a decision time: '{name}' is null in {numbers.null_count():,} rows. Remove those rows."
        )
    return numbers.fill_null(missing if missing is not None else 0).to_numpy()


def check_same_clock(dataset: Dataset, known: str) -> None:
    """Raise `SplitError` unless decision and outcome times are both dates, or both count."""
    time = str(dataset.schema.time)
    if dataset.frame[time].dtype.is_temporal() != dataset.frame[known].dtype.is_temporal():
        raise SplitError(
            f"Decision and outcome times need the same clock: '{time}' is {dataset.frame[time].dtype} and '{known}' is "
            f"{dataset.frame[known].dtype}. Give '{known}' the role 'expost', or convert it."
        )
