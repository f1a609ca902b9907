"""The cheap round: the last champion learns the newest slice, starting from the weights it has."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.seeding import generator
from leanrisk.models.training_config import TrainingConfig
from leanrisk.techniques.base import Bench, Candidate
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.teaching import Classroom, Scale, calibrated, teach


@dataclass(frozen=True)
class Reteach:
    """Teaches the champion the newest rows, with a `replay` sample of older ones against forgetting.

    `replay` is the number of older rows for each new one. The encoder stays as it is, so inputs keep their meaning from
    champion to champion.
    """

    replay: float = 1.0
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(epochs=4, learning_rate=2e-3, warmup=0.1, averaging=0.9)
    )
    classroom: Classroom = field(default_factory=lambda: Classroom(copies=4))
    name: str = "reteach"

    def __post_init__(self) -> None:
        if not 0 <= self.replay <= 100:
            raise ConfigError(f"refresh.replay must lie in 0..100: it is {self.replay}. Choose another number.")

    def rows(self, new: Dataset, old: Dataset, *, seed: int) -> Dataset:
        """Return the rows to teach: all new ones and a sample of the older ones."""
        wanted = min(old.rows, round(self.replay * new.rows))
        drawn = np.sort(generator(seed, "replay").choice(old.rows, size=wanted, replace=False))
        return replace(new, frame=pl.concat([new.frame, old.take(drawn).frame]))

    def apply(self, candidate: Candidate, bench: Bench) -> Candidate:
        """Return the candidate with its network taught on the bench's training rows and calibrated anew."""
        champion = candidate.model
        if not isinstance(champion, LeanModel):
            raise ModelError(
                f"A refresh teaches a lean network: the champion is of kind '{champion.kind}'. Shrink it first."
            )
        network = copy.deepcopy(champion.network)
        link = champion.calibration.link
        scale = Scale(champion.calibration.intercept, champion.calibration.slope) if link == "identity" else Scale()
        log = teach(
            network,
            champion.encoder,
            bench.train,
            bench.teacher,
            classroom=self.classroom,
            training=self.training,
            scale=scale,
            seed=bench.seed,
            objective=bench.objective,
            progress=bench.progress,
        )
        calibration = calibrated(
            network, champion.encoder, bench.valid, scale=scale, seed=bench.seed, objective=bench.objective
        )
        model = LeanModel.exported(
            champion.encoder,
            network,
            calibration,
            like=bench.valid.frame,
            **{**champion.facts, "refresh_rows": bench.train.rows, "refresh_steps": log.steps},
        )
        return replace(candidate, model=model, lineage=(*candidate.lineage, self.name))
