"""How a student is taught, and in which unit it counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError, ModelError

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Classroom:
    """How much the teacher is asked: `copies` of the rows with a `swap` share of values from elsewhere.

    `held_out` is the share of rows that only decide when to stop.
    """

    copies: int = 3
    swap: float = 0.3
    held_out: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.copies <= 50:
            raise ConfigError(f"distill.copies must lie in 0..50: it is {self.copies}. Choose another number.")
        if not 0 < self.swap <= 1 or not 0 < self.held_out < 1:
            raise ConfigError("distill.swap must lie in (0, 1] and held_out in (0, 1). Correct them.")


@dataclass(frozen=True)
class Scale:
    """The unit of a regression target in the network: `(value - mean) / spread`; (0, 1) for log-odds.

    Log-variances keep their unit, which QLIKE is made for, about the logarithm of the mean variance.
    """

    mean: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, targets: Floats, objective: str) -> Scale:
        """Return the scale of these targets; a constant target keeps a spread of one.

        Raises `ModelError` for a regression without rows, or with an unknown amount.
        """
        if objective == "binary":
            return cls()
        if not targets.size or not np.isfinite(targets).all():
            unknown = int((~np.isfinite(targets)).sum())
            raise ModelError(
                f"A regression needs rows with known amounts: {unknown} of {targets.size} are unknown. Leave them out."
            )
        if objective == "variance":
            highest = float(targets.max())
            return cls(highest + math.log(float(np.exp(targets.astype(np.float64) - highest).mean())), 1.0)
        return cls(float(targets.mean()), float(targets.std()) or 1.0)

    def down(self, values: npt.NDArray[Any]) -> Floats:
        """Return the values in the network's unit."""
        return ((np.asarray(values, dtype=np.float64) - self.mean) / self.spread).astype(np.float32)
