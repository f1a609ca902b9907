"""What int8 does to each part of a network by itself: the table that decides which parts stay in float32."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.inputs import Lookups
from leanrisk.core.metrics import auc
from leanrisk.models.calibration import Calibration
from leanrisk.models.fake_quant import parts_of, rounded_copy
from leanrisk.models.quantization import LARGEST, Quantization
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import predict_logits

CALIBRATION = "calibration"
_MOST_ROWS = 4096

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PartError:
    """One part alone in int8: its numbers, the error of the logit against its spread, the change in AUC.

    `error` is the root mean square over the rows, divided by the logits' standard deviation; `auc` is None in a
    regression.
    """

    part: str
    numbers: int
    error: float
    auc: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain JSON values."""
        return asdict(self)


def sensitivity(
    network: RiskTransformer, calibration: Calibration, lookups: Lookups, labels: Floats, *, steps: dict[str, float]
) -> list[PartError]:
    """Return a row for each part of the network, and for the calibration, on up to 4,096 rows, in the network's order.

    `steps` are those of the inputs of dense parts where inputs are rounded too, empty where weights alone are.
    """
    lookups, labels = lookups.take(slice(0, _MOST_ROWS)), labels[:_MOST_ROWS]
    plain = predict_logits(network, lookups)
    binary = calibration.link == "sigmoid"
    found = []
    for part in parts_of(network):
        own = {part: steps[part]} if part in steps else {}
        plan = Quantization((part,), "int8" if own else "unpacked", own)
        logits = predict_logits(rounded_copy(network, plan), lookups)
        count = int(network.get_submodule(part).weight.numel())
        found.append(_row(part, count, plain, logits, labels if binary else None))
    rounded = _rounded(calibration)
    count = 2 * len(calibration.x) + 2
    before, after = (_mapped(kept, plain) for kept in (calibration, rounded))
    found.append(_row(CALIBRATION, count, before, after, labels if binary else None))
    return found


def _row(part: str, numbers: int, before: Floats, after: Floats, labels: Floats | None) -> PartError:
    spread = float(before.std(dtype=np.float64))
    error = float(np.sqrt(np.mean((after.astype(np.float64) - before) ** 2)))
    change = None
    if labels is not None and labels.size and labels.min() < labels.max():
        change = auc(labels, after) - auc(labels, before)
    return PartError(part, numbers, error / spread if spread > 0 else 0.0, change)


def _rounded(calibration: Calibration) -> Calibration:
    """Return the calibration with its numbers as int8 codes of one step for each kind of number."""
    slope, intercept = _nearest([calibration.slope, calibration.intercept])
    return replace(
        calibration,
        slope=slope,
        intercept=intercept,
        x=tuple(_nearest(calibration.x)),
        y=tuple(_nearest(calibration.y)),
    )


def _nearest(values: Any) -> list[float]:
    array = np.asarray(values, dtype=np.float64)
    step = float(np.abs(array).max(initial=0.0)) / LARGEST or 1.0
    return [float(value) for value in np.rint(array / step) * step]


def _mapped(calibration: Calibration, logits: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        mapped = replace(calibration, link="identity").apply(logits)
    # Codes that make two points of the map one leave a slope of no meaning there.
    return np.nan_to_num(mapped).astype(np.float32)
