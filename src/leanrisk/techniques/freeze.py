"""Dynamic freezing: the bottom of the network stands still, and more of it as it stops changing."""

from __future__ import annotations

from dataclasses import dataclass, field

from leanrisk.models.frontier import FreezeConfig
from leanrisk.models.training_config import TrainingConfig
from leanrisk.techniques.base import Bench, Candidate
from leanrisk.techniques.classroom import Classroom
from leanrisk.techniques.tuning import Tuning, tuned


@dataclass(frozen=True)
class Freeze:
    """Teaches a lean model above a frontier; what stands below runs without a graph and is computed once per row.

    In a model without blocks (`swift`) the field table stands still and the dense layers learn. Source of freezing by
    the blocks' own changes: Liu et al. (2021), "AutoFreeze"; of the cached prefix: He et al. (2021), "PipeTransformer".
    """

    frontier: FreezeConfig = field(default_factory=FreezeConfig)
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(epochs=4, batch=128))
    classroom: Classroom = field(default_factory=Classroom)
    name: str = "freeze"

    def apply(self, candidate: Candidate, bench: Bench) -> Candidate:
        """Return the candidate taught above the frontier and calibrated; raises `ModelError` as `tuned` does."""
        tuning = Tuning(None, self.frontier, self.training, self.classroom)
        return tuned(candidate, bench, tuning, name=self.name)
