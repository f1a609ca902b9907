"""How a score treats the groups of a protected attribute."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.metrics import Flags, Floats, checked
from leanrisk.core.schema import Role
from leanrisk.evaluate.delong import auc_interval
from leanrisk.evaluate.fidelity import DECLINED, cutoff_at

FEWEST_ROWS = 100
"""Rows a group needs before ratios are drawn from it."""
FEWEST_OF_A_CLASS = 20
"""Bads and goods a group needs before its AUC is given."""
MISSING_GROUP = "missing"

_MOST_GROUPS = 12
_BANDS = 4


def fairness(dataset: Dataset, scores: npt.ArrayLike, *, declined: float = DECLINED) -> dict[str, list[dict[str, Any]]]:
    """Return `group_table` for every column of role `protected`; numbers with many values are put in quarters.

    `scores` has the shape (rows,) of the dataset. Raises `DataError` where outcomes are missing or of one class.
    """
    names = [column.name for column in dataset.schema.columns if column.role is Role.PROTECTED]
    return {name: group_table(dataset.labels, scores, banded(dataset.frame[name]), declined=declined) for name in names}


def group_table(
    labels: npt.ArrayLike, scores: npt.ArrayLike, groups: pl.Series, *, declined: float = DECLINED
) -> list[dict[str, Any]]:
    """Return one row per group, largest first, where the riskiest `declined` share of all rows is turned away.

    Keys: group, rows, bads, bad_rate, approval_rate, adverse_impact_ratio (approval rate over the highest one among
    groups of at least 100 rows; below 0.8 fails the four-fifths rule of 29 CFR 1607.4 D; None for smaller groups) and
    auc ({"value", "lo", "hi"}, None with fewer than 20 bads or 20 goods). Nulls are the group "missing".
    """
    bad, values = checked(labels, scores)
    approved = values < cutoff_at(values, declined)
    names = groups.cast(pl.String).fill_null(MISSING_GROUP).to_numpy()
    table = [_group(name, names == name, bad=bad, values=values, approved=approved) for name in np.unique(names)]
    best = max((row["approval_rate"] for row in table if row["rows"] >= FEWEST_ROWS), default=0.0)
    for row in table:
        ratio = row["approval_rate"] / best if best > 0.0 and row["rows"] >= FEWEST_ROWS else None
        row["adverse_impact_ratio"] = ratio
    return sorted(table, key=lambda row: (-row["rows"], row["group"]))


def banded(column: pl.Series) -> pl.Series:
    """Return a column as groups: as it is, but a number with more than 12 values as four bands of equally many rows."""
    if not column.dtype.is_numeric() or column.n_unique() <= _MOST_GROUPS:
        return column.cast(pl.String)
    known = column.cast(pl.Float64).fill_nan(None)
    inner = [known.quantile(place / _BANDS, "nearest") for place in range(1, _BANDS)]
    breaks = sorted({float(edge) for edge in inner if edge is not None})
    names = [f"{edge:.6g}" for edge in breaks]
    between = [f"above {low} to {high}" for low, high in itertools.pairwise(names)]
    labels = np.array([f"up to {names[0]}", *between, f"above {names[-1]}"], dtype=object)
    values = known.to_numpy()
    bands = pl.Series(labels[np.searchsorted(breaks, values, side="left").clip(max=len(breaks))], dtype=pl.String)
    return bands.set(known.is_null(), None)


def _group(name: str, members: Flags, *, bad: Flags, values: Floats, approved: Flags) -> dict[str, Any]:
    rows, bads = int(members.sum()), int(bad[members].sum())
    enough = min(bads, rows - bads) >= FEWEST_OF_A_CLASS
    auc = auc_interval(bad[members], values[members]) if enough else None
    return {
        "group": str(name),
        "rows": rows,
        "bads": bads,
        "bad_rate": bads / rows,
        "approval_rate": float(approved[members].mean()),
        "auc": None if auc is None else {"value": auc.value, "lo": auc.lo, "hi": auc.hi},
    }
