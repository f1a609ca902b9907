"""The parts of `evidence.json` that follow from scores and outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from leanrisk.core.metrics import ece, is_probability, psi
from leanrisk.evaluate.calibration import reliability
from leanrisk.evaluate.curves import gains_table, ks_curve, roc_curve
from leanrisk.evaluate.fidelity import DECLINED, fidelity
from leanrisk.evaluate.stability import PSI_BINS, score_shares


def score_evidence(
    labels: npt.ArrayLike,
    incumbent: npt.ArrayLike,
    lean: npt.ArrayLike,
    *,
    train_scores: npt.ArrayLike,
    features: Sequence[dict[str, Any]] = (),
    declined: float = DECLINED,
) -> dict[str, Any]:
    """Return roc, ks, gains, calibration, scores, psi and fidelity as plain JSON values without NaN.

    `labels`, `incumbent` and `lean` are outcomes and scores of the test rows, shape (rows,); `train_scores` are the
    lean model's on the training rows; `features` is what `stability.feature_psi` gives. A side whose scores are no
    probabilities has an empty calibration table and a null ece. Raises `DataError`, `ModelError` as the metrics do.
    """
    sides = {"incumbent": incumbent, "lean": lean}
    calibrated = {name: is_probability(scores) for name, scores in sides.items()}
    return {
        "roc": {name: roc_curve(labels, scores) for name, scores in sides.items()},
        "ks": {name: ks_curve(labels, scores) for name, scores in sides.items()},
        "gains": {name: gains_table(labels, scores) for name, scores in sides.items()},
        "calibration": {
            **{name: reliability(labels, scores) if calibrated[name] else [] for name, scores in sides.items()},
            "ece": {name: ece(labels, scores) if calibrated[name] else None for name, scores in sides.items()},
        },
        "scores": score_shares(train_scores, lean),
        "psi": {"score": psi(train_scores, lean, PSI_BINS), "features": [dict(row) for row in features]},
        "fidelity": fidelity(labels, incumbent, lean, declined=declined),
    }
