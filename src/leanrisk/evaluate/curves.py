"""ROC, KS curve and gains table of a score, as plain JSON values for the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.metrics import Floats, checked, equal_mass_bins, ks_point, ranking

POINTS = 200
"""Most points of a curve in `evidence.json`; more would not show on a page."""
DECILES = 10

_DIGITS = 6


def roc_curve(labels: npt.ArrayLike, scores: npt.ArrayLike, *, points: int = POINTS) -> dict[str, list[float]]:
    """Return {"fpr", "tpr"}: at most `points` points of the ROC curve from (0, 0) to (1, 1), evenly along it."""
    ranked = ranking(labels, scores)
    fpr, tpr = _from_zero(ranked.fpr), _from_zero(ranked.tpr)
    kept = _evenly(fpr + tpr, points)
    return {"fpr": plain(fpr[kept]), "tpr": plain(tpr[kept])}


def ks_curve(labels: npt.ArrayLike, scores: npt.ArrayLike, *, points: int = POINTS) -> dict[str, Any]:
    """Return the shares of rows, bads and goods above each cut-off by descending score, and where KS stands.

    Keys: "share", "bad", "good" (at most `points` values each, the KS point among them), "value" (KS), "at" (share).
    """
    ranked = ranking(labels, scores)
    share, bad, good = (_from_zero(part) for part in (ranked.rows / ranked.rows[-1], ranked.tpr, ranked.fpr))
    peak = ks_point(labels, scores)
    kept = np.union1d(_evenly(share, points - 1), np.searchsorted(share, peak.share))
    return {
        "share": plain(share[kept]),
        "bad": plain(bad[kept]),
        "good": plain(good[kept]),
        "value": peak.value,
        "at": peak.share,
    }


def gains_table(labels: npt.ArrayLike, scores: npt.ArrayLike) -> list[dict[str, Any]]:
    """Return one row per tenth of the rows, riskiest first: decile, rows, bads, bad_rate, cum_bad_share, lift, ks.

    `lift` is the share of bads so far over the share of rows so far; `ks` the distance of bads and goods so far. Rows
    with equal scores stay in one decile, so sizes differ where scores tie, and a decile without rows is left out.
    """
    bad, values = checked(labels, scores)
    deciles = equal_mass_bins(-values, DECILES)
    rows = np.bincount(deciles, minlength=DECILES)
    bads = np.bincount(deciles, weights=bad, minlength=DECILES).astype(np.int64)
    cum_rows, cum_bads = np.cumsum(rows) / bad.size, np.cumsum(bads) / bad.sum()
    cum_goods = np.cumsum(rows - bads) / (~bad).sum()
    return [
        {
            "decile": place + 1,
            "rows": int(rows[place]),
            "bads": int(bads[place]),
            "bad_rate": float(bads[place] / rows[place]),
            "cum_bad_share": float(cum_bads[place]),
            "lift": float(cum_bads[place] / cum_rows[place]),
            "ks": float(cum_bads[place] - cum_goods[place]),
        }
        for place in np.flatnonzero(rows).tolist()
    ]


def plain(values: Floats) -> list[float]:
    """Return an array as a list of floats with six decimals: enough for a page, half the bytes."""
    return [float(value) for value in np.round(values, _DIGITS)]


def _from_zero(values: Floats) -> Floats:
    return np.concatenate([[0.0], values])


def _evenly(along: Floats, points: int) -> npt.NDArray[np.intp]:
    """Return at most `points` positions in a rising array, evenly by value, both ends among them."""
    wanted = np.linspace(along[0], along[-1], points)
    return np.unique(np.minimum(np.searchsorted(along, wanted), along.size - 1))
