"""Do predicted probabilities come true? A reliability table with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.metrics import checked_probabilities, equal_mass_bins
from leanrisk.evaluate.intervals import wilson

BINS = 10


def reliability(labels: npt.ArrayLike, probabilities: npt.ArrayLike, *, bins: int = BINS) -> list[dict[str, Any]]:
    """Return one row per bin of (nearly) equal size, lowest probability first: predicted, observed, lo, hi, rows.

    `predicted` is the mean probability, `observed` the bad rate with its 95 % Wilson limits. Rows with equal
    probabilities share a bin; empty bins are left out. Raises `DataError`, and `ModelError` outside [0, 1].
    """
    bad, values = checked_probabilities(labels, probabilities)
    codes = equal_mass_bins(values, bins)
    rows = np.bincount(codes, minlength=bins)
    bads = np.bincount(codes, weights=bad, minlength=bins)
    sums = np.bincount(codes, weights=values, minlength=bins)
    table = []
    for place in np.flatnonzero(rows).tolist():
        rate = wilson(float(bads[place]), float(rows[place]))
        table.append(
            {
                "predicted": float(sums[place] / rows[place]),
                "observed": rate.value,
                "lo": rate.lo,
                "hi": rate.hi,
                "rows": int(rows[place]),
            }
        )
    return table
