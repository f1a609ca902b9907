"""LoRA: a few low-rank weights learn, the network that they adapt stays as it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from leanrisk.models.frontier import FreezeConfig
from leanrisk.models.training_config import TrainingConfig
from leanrisk.techniques.base import Bench, Candidate
from leanrisk.techniques.classroom import Classroom
from leanrisk.techniques.tuning import LoraSettings, Tuning, tuned


@dataclass(frozen=True)
class Lora:
    """Teaches a lean transformer through adapters alone, on peft; with `freeze`, only those above a frontier.

    Source: Hu et al. (2021), "LoRA: Low-Rank Adaptation of Large Language Models".
    """

    adapter: LoraSettings = field(default_factory=LoraSettings)
    freeze: FreezeConfig | None = None
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(epochs=4, batch=128))
    classroom: Classroom = field(default_factory=Classroom)
    name: str = "lora"

    def apply(self, candidate: Candidate, bench: Bench) -> Candidate:
        """Return the candidate with an adapter taught, merged and calibrated; raises `ModelError` as `tuned` does."""
        tuning = Tuning(self.adapter, self.freeze, self.training, self.classroom)
        return tuned(candidate, bench, tuning, name=self.name)
