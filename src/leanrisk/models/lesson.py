"""What a network learns from: rows with outcomes, a teacher's opinions, or both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Lookups

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Lesson:
    """Rows to learn from: look-ups, `targets` (0/1 or standardised values; NaN = unknown), teacher `logits` or None."""

    lookups: Lookups
    targets: Floats
    teacher: Floats | None = None

    def __post_init__(self) -> None:
        for name, values in (("targets", self.targets), ("teacher", self.teacher)):
            if values is not None and values.shape != (self.lookups.rows,):
                raise ModelError(
                    f"{name} must align with the rows: shape {values.shape} against {self.lookups.rows} rows. "
                    "Score the same table again."
                )
        if self.teacher is not None and not np.isfinite(self.teacher).all():
            raise ModelError("A teacher's scores must be finite: some are NaN or infinite. Leave those rows out.")
        if self.teacher is None and np.isnan(self.targets).all():
            raise ModelError("A lesson needs a teacher's scores or known outcomes: it has neither. Add some rows.")
