"""How far two scores agree about the same rows, and whom they would decide differently."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError
from leanrisk.core.metrics import Flags, Floats, alerts_within, checked, midranks

DECLINED = 0.1
"""Share of rows that a policy declines, unless asked otherwise."""


def fidelity(
    labels: npt.ArrayLike, before: npt.ArrayLike, after: npt.ArrayLike, *, declined: float = DECLINED
) -> dict[str, Any]:
    """Return how `after` follows `before` where each declines the same share of rows, its own riskiest.

    Keys: rank_correlation (Spearman; None for a constant score), agreement (share decided alike), cutoff (score of
    `after` at which it declines), swap_in and swap_out (rows only `after` accepts, rows only `after` declines) and
    their bad rates (None without rows). Rows tied at the cut-off are all declined. Raises `DataError`, `ModelError`.
    """
    bad, old = checked(labels, before)
    _, new = checked(labels, after)
    old_cut, new_cut = cutoff_at(old, declined), cutoff_at(new, declined)
    was_declined, is_declined = old >= old_cut, new >= new_cut
    swap_in, swap_out = was_declined & ~is_declined, ~was_declined & is_declined
    return {
        "rank_correlation": rank_correlation(old, new),
        "agreement": float((was_declined == is_declined).mean()),
        "cutoff": new_cut,
        "swap_in": int(swap_in.sum()),
        "swap_out": int(swap_out.sum()),
        "swap_in_bad_rate": _rate(bad, swap_in),
        "swap_out_bad_rate": _rate(bad, swap_out),
    }


def cutoff_at(scores: Floats, declined: float) -> float:
    """Return the lowest score of the riskiest `declined` share of rows; raises `ConfigError` outside (0, 1)."""
    if not 0.0 < declined < 1.0:
        raise ConfigError(f"A declined share lies between 0 and 1: it is {declined!r}. Give for example 0.1.")
    place = scores.size - alerts_within(scores.size, declined)
    return float(np.partition(scores, place)[place])


def rank_correlation(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """Return Spearman's correlation of two finite samples, ties by mean ranks; None where one of them is constant."""
    ranks = [midranks(values) for values in (first, second)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float(np.clip((centred[0] * centred[1]).sum() / scale, -1.0, 1.0)) if scale > 0.0 else None


def _rate(bad: Flags, rows: Flags) -> float | None:
    return float(bad[rows].mean()) if rows.any() else None
