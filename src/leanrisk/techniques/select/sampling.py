"""Which rows a selection looks at, how much each counts, and which of them judge."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError
from leanrisk.models.folds import Fold, make_folds


def newest_rows(rows: Dataset, share: float) -> npt.NDArray[np.bool_]:
    """Return a mask of the newest rows; none without a decision time."""
    mask = np.zeros(rows.rows, dtype=np.bool_)
    if rows.schema.time is not None and share > 0:
        order = rows.frame[rows.schema.time].arg_sort().to_numpy()
        mask[order[rows.rows - int(share * rows.rows) :]] = True
    return mask


def folds_of(labels: npt.NDArray[np.float32], newest: npt.NDArray[np.bool_], *, count: int, seed: int) -> list[Fold]:
    """Return folds of the older rows, and one more that holds out the newest where there are any."""
    older = np.flatnonzero(~newest)
    inner = make_folds(labels[older], count, seed=seed, stratified=True)
    folds = [Fold(older[fold.rest], older[fold.held]) for fold in inner]
    return [*folds, Fold(older, np.flatnonzero(newest))] if newest.any() else folds


def row_weights(rows: Dataset, column: str, *, balance: bool) -> npt.NDArray[np.float32] | None:
    """Return what each row counts in fitting, float32 (rows,) with a mean of one; None where all count alike.

    `column` names the weights among the columns of the table, "" none; `balance` makes bads weigh as much as goods
    together. Raises `ConfigError` for a column that is none or a feature, and for weights that are no weights.
    """
    weights = np.ones(rows.rows) if not column else _stated(rows, column)
    if balance:
        bad = rows.labels == 1
        sums = weights[bad].sum(), weights[~bad].sum()
        if min(sums) > 0:
            weights = np.where(bad, weights / sums[0], weights / sums[1])
    elif not column:
        return None
    return np.asarray(weights / weights.mean(), dtype=np.float32)


def _stated(rows: Dataset, column: str) -> npt.NDArray[np.float64]:
    if column not in rows.frame.columns or column in rows.features:
        said = "a feature" if column in rows.features else "none of its columns"
        raise ConfigError(
            f"select.weights names a column of the table that no model reads: '{column}' is {said}. Correct the name, "
            "or give the column the role 'ignored'."
        )
    values = rows.frame[column].cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    wrong = int((~np.isfinite(values) | (values < 0)).sum())
    if wrong or not values.sum() > 0:
        raise ConfigError(
            f"Weights are finite, not negative and not all 0: {wrong} of {values.size} values of '{column}' are no "
            f"weights, and their sum is {values.sum():g}. Mend the column."
        )
    return np.asarray(values)
