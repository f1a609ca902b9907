"""Training cost against every reference point, and the number of rounds after which shrinking has paid for itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from leanrisk.report.facts import Facts

REFERENCES: Mapping[str, tuple[str, ...]] = {
    "full": ("incumbent", "train"),
    "refit": ("incumbent", "refit"),
    "slim": ("reference", "slim", "train"),
}
"""The three reference points of a training cost, and where result.json keeps each."""

_SHORTEST, _LONGEST = 6, 60


@dataclass(frozen=True)
class BreakEven:
    """CPU-seconds of one round of each measured reference, of a lean refresh, and of shrinking once."""

    references: Mapping[str, float]
    refresh: float | None
    shrink: float | None

    @classmethod
    def of(cls, run: Facts) -> BreakEven:
        """Return the costs of a run; what was not measured is left out."""
        found = {name: run.number(*path, "cpu_s") for name, path in REFERENCES.items()}
        return cls(
            references={name: value for name, value in found.items() if value is not None},
            refresh=run.number("lean", "refresh", "cpu_s"),
            shrink=run.number("lean", "shrink", "cpu_s"),
        )

    def after(self, reference: str) -> float | None:
        """Return shrink / (reference - refresh): rounds until shrinking has paid off; None if never or not measured."""
        each = self.references.get(reference)
        if each is None or self.refresh is None or self.shrink is None or each <= self.refresh:
            return None
        return self.shrink / (each - self.refresh)

    @property
    def horizon(self) -> int:
        """How many rounds a chart shows: twice the longest pay-back, within 6 to 60."""
        crossings = [rounds for name in self.references if (rounds := self.after(name)) is not None]
        return max(_SHORTEST, min(_LONGEST, math.ceil(2 * max(crossings, default=0))))
