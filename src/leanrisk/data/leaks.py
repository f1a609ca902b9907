"""Columns that know the outcome: how well one column alone ranks it, and when it is filled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.metrics import auc
from leanrisk.core.seeding import generator

LEAK_AUC = 0.90
"""A single honest column does not rank credit outcomes this well."""
LEAST_CLASS_ROWS = 30
"""Fewer rows of a class than this, and a high lone AUC may be luck."""
_LEAST_FILLED = 10
_PURITY = 0.95
_FOLDS = 5
_BINS = 64
_WEIGHT = 10.0
_MOST_ROWS = 100_000
_LATE_SHARE = 0.01

Labels = npt.NDArray[np.float32]


def sample_rows(labels: Labels) -> npt.NDArray[np.int64]:
    """Return the positions of up to 100,000 labelled rows, bads kept first: an AUC does not depend on the bad rate."""
    known = np.flatnonzero(~np.isnan(labels))
    if known.size <= _MOST_ROWS:
        return known
    random = generator(0, "leaks", "sample")
    bads, goods = known[labels[known] == 1.0], known[labels[known] == 0.0]
    kept = max(_MOST_ROWS // 2, _MOST_ROWS - goods.size)
    bads = random.permutation(bads)[:kept]
    goods = random.permutation(goods)[: _MOST_ROWS - bads.size]
    return np.sort(np.concatenate([bads, goods]))


def lone_auc(column: pl.Series, labels: Labels) -> float | None:
    """Return how well `column` alone ranks the outcome, whatever the shape of the relation, or None with too few rows.

    Each row gets the bad rate of its value, learnt on the other four of five folds, and shrunk (weight 10 rows)
    towards the rate of its quantile bin (numbers, dates) or of the whole table (categories); null is a value of its
    own. So a column that leaks by exact values, such as the odd terms of loans that were cut short, is caught, while
    an identifier, whose values never repeat, learns nothing. `labels` are 0 or 1, shape (rows,). The result is the
    mean over folds.
    """
    if min(labels.sum(), (1 - labels).sum()) < LEAST_CLASS_ROWS:
        return None
    codes = _codes(column)
    if codes is None:
        return None
    counts = np.bincount(codes)
    ordered = column.dtype.is_numeric() or column.dtype.is_temporal()
    bin_of = _bins(counts) if ordered else np.zeros(counts.size, dtype=np.int64)
    folds = _stratified_folds(labels)
    values = []
    for fold in range(_FOLDS):
        held = folds == fold
        rates = _rates(codes[~held], labels[~held], bin_of)
        values.append(auc(labels[held], rates[codes[held]]))
    return float(np.mean(values))


def filled_only_when_bad(column: pl.Series, labels: Labels) -> str | None:
    """Return how `column` betrays the outcome by being filled, as text, or None where it does not.

    "Filled" is not null, or, where one value holds most rows, other than that usual value. It betrays the outcome where
    at least 95 % of at least ten such rows are bad, and by more than chance (Wilson's lower limit at 95 %).
    """
    usual, filled = _filled(column)
    if filled is None:
        return None
    rows = int(filled.sum())
    if rows < _LEAST_FILLED or rows == labels.size:
        return None
    share, base = float(labels[filled].mean()), float(labels.mean())
    if share < _PURITY or _wilson_low(share, rows) < (1.0 + base) / 2.0:
        return None
    return f"{share:.1%} of the {rows:,} rows where it is {usual} are bad, against {base:.1%} of all rows"


def share_after(column: pl.Series, decision: pl.Series) -> float:
    """Return the share of this date column's known values that lie after the decision time."""
    dates, moments = column.cast(pl.Datetime("us")), decision.cast(pl.Datetime("us"))
    both = dates.is_not_null() & moments.is_not_null()
    return float((dates > moments).fill_null(False).sum() / max(1, int(both.sum())))


def is_late(share: float) -> bool:
    """Return whether a date column with this share of values after the decision is no input to the decision."""
    return share > _LATE_SHARE


def _codes(column: pl.Series) -> npt.NDArray[np.int64] | None:
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object, pl.Null):
        return None
    values = column.cast(pl.String) if column.dtype in (pl.Categorical, pl.Enum) else column
    return values.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()


def _bins(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    middle = np.cumsum(counts) - counts / 2
    return np.asarray(np.minimum((middle / counts.sum() * _BINS).astype(np.int64), _BINS - 1))


def _stratified_folds(labels: Labels) -> npt.NDArray[np.int64]:
    random = generator(0, "leaks", "folds")
    folds = np.empty(labels.size, dtype=np.int64)
    for outcome in (0.0, 1.0):
        rows = random.permutation(np.flatnonzero(labels == outcome))
        folds[rows] = np.arange(rows.size) % _FOLDS
    return folds


def _rates(codes: npt.NDArray[np.int64], labels: Labels, bin_of: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    prior = labels.mean(dtype=np.float64)
    bins = bin_of[codes]
    bin_rows = np.bincount(bins, minlength=_BINS)
    bin_rates = (np.bincount(bins, labels, minlength=_BINS) + _WEIGHT * prior) / (bin_rows + _WEIGHT)
    rows = np.bincount(codes, minlength=bin_of.size)
    bads = np.bincount(codes, labels, minlength=bin_of.size)
    return np.asarray((bads + _WEIGHT * bin_rates[bin_of]) / (rows + _WEIGHT))


def _filled(column: pl.Series) -> tuple[str, npt.NDArray[np.bool_] | None]:
    if column.null_count():
        return "filled", column.is_not_null().to_numpy()
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object) or column.len() == 0:
        return "", None
    top = column.value_counts(sort=True)
    usual = top[column.name][0]
    if top["count"][0] * 2 <= column.len():
        return "", None
    return f"not {usual!r}" if isinstance(usual, str) else f"not {usual}", (column != usual).to_numpy()


def _wilson_low(share: float, rows: int, z: float = 1.96) -> float:
    centre = share + z * z / (2 * rows)
    spread = z * float(np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)))
    return (centre - spread) / (1 + z * z / rows)
