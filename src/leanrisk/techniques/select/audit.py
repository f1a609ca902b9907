"""Each feature by itself: what an auditor asks before any model is fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.inputs import Fields
from leanrisk.core.metrics import psi
from leanrisk.data.leaks import lone_auc, sample_rows
from leanrisk.features.information_value import binned, information_value, is_monotonic

_LEAST_PERIOD = 500
_MOST_PERIODS = 24


@dataclass(frozen=True)
class Portrait:
    """One feature alone: share missing, distinct values, information value, shape, stability, and its lone AUC.

    `psi` is the largest PSI of a month against all the others, None without a decision time; `lone_auc` is None where
    there are too few rows of an outcome.
    """

    missing: float
    distinct: int
    iv: float
    monotonic: bool
    psi: float | None
    lone_auc: float | None


def portraits(
    rows: Dataset, matrix: npt.NDArray[np.float32], fields: Fields, labels: npt.NDArray[np.float32]
) -> dict[str, Portrait]:
    """Return the portrait of each column of `matrix` (rows, columns), by the names and in the order of `fields`."""
    months = periods(rows)
    some = sample_rows(labels)
    frame = rows.frame[some]
    first = len(fields.numeric)
    found = {}
    for place, name in enumerate(fields.names):
        values, category = matrix[:, place], place >= first
        bins = binned(values, category=category)
        found[name] = Portrait(
            missing=float(frame[name].null_count() / max(1, frame.height)),
            distinct=int(frame[name].n_unique() - bool(frame[name].null_count())),
            iv=information_value(bins, labels),
            monotonic=is_monotonic(bins, labels),
            psi=None if months is None else _largest_psi(bins, months),
            lone_auc=lone_auc(frame[name], labels[some]),
        )
    return found


def periods(rows: Dataset) -> npt.NDArray[np.int64] | None:
    """Return the period of each row, int64 (rows,), counted from 0 in order of time; None without a decision time.

    Periods are calendar months, joined with the next until they hold 500 rows; at most 24. A time that counts (a step)
    is cut into as many parts of equal size.
    """
    if rows.schema.time is None:
        return None
    column = rows.frame[rows.schema.time]
    if column.dtype.is_temporal():
        step = column.dt.year().cast(pl.Int64) * 12 + column.dt.month().cast(pl.Int64)
        steps = step.fill_null(strategy="min").to_numpy()
    else:
        order = np.argsort(np.argsort(column.cast(pl.Float64).to_numpy(), kind="stable"), kind="stable")
        steps = order * _MOST_PERIODS // max(1, rows.rows)
    values, counts = np.unique(steps, return_counts=True)
    least = max(_LEAST_PERIOD, -(-rows.rows // _MOST_PERIODS))
    number, held, joined = 0, 0, np.empty(values.size, dtype=np.int64)
    for place, count in enumerate(counts):
        joined[place] = number
        held += int(count)
        if held >= least:
            number, held = number + 1, 0
    if held and number:
        # What is left over at the end is no period of its own.
        joined[joined == number] = number - 1
    return np.asarray(joined[np.searchsorted(values, steps)])


def _largest_psi(bins: npt.NDArray[np.int64], months: npt.NDArray[np.int64]) -> float:
    found = [0.0]
    for month in range(int(months.max(initial=0)) + 1):
        inside = months == month
        if inside.all():
            break
        found.append(psi(bins[~inside].astype(np.float64), bins[inside].astype(np.float64), bins=20))
    return max(found)
