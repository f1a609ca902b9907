"""Distillation: the incumbent teaches a small network that a single graph can hold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from leanrisk.core.errors import ConfigError
from leanrisk.core.seeding import derived_seed
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.models.risk_config import PRESETS, preset_config
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training_config import TrainingConfig
from leanrisk.techniques.base import Bench, Candidate
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.teaching import Classroom, Scale, calibrated, teach


@dataclass(frozen=True)
class Distill:
    """Teaches a `RiskTransformer` of this preset; loss `0.7 T^2 KL(teacher || student) + 0.3 CE` with T = 2 by default.

    The teacher's opinion on a training row comes from models that did not see it; on perturbed copies of the rows it
    comes from the whole model, which is what carries the trees' shape into the network.
    """

    preset: str = "swift"
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    classroom: Classroom = field(default_factory=Classroom)
    name: str = "distill"

    def __post_init__(self) -> None:
        # Asked here as well as by the network's settings: a misspelt recipe must fail before the incumbent is trained.
        if self.preset not in PRESETS:
            raise ConfigError(f"distill.preset must be one of {', '.join(PRESETS)}: it is {self.preset!r}. Choose one.")

    def apply(self, candidate: Candidate, bench: Bench) -> Candidate:
        """Return the candidate with a taught and calibrated network in place of its model."""
        rows = bench.train.keeping(candidate.features)
        encoder = Encoder.fit(rows, self.encoder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(bench.seed, self.name, "weights"))
            network = RiskTransformer(preset_config(self.preset, encoder.fields))
        scale = Scale.of(rows.labels, bench.objective)
        log = teach(
            network,
            encoder,
            rows,
            bench.teacher,
            classroom=self.classroom,
            training=self.training,
            scale=scale,
            seed=bench.seed,
            objective=bench.objective,
            progress=bench.progress,
        )
        calibration = calibrated(network, encoder, bench.valid, scale=scale, seed=bench.seed, objective=bench.objective)
        model = LeanModel.exported(
            encoder,
            network,
            calibration,
            like=bench.valid.frame,
            preset=self.preset,
            epochs=len(log.losses),
            best_epoch=log.best_epoch,
            steps=log.steps,
            rows=rows.rows,
            copies=self.classroom.copies if bench.teacher.ask else 0,
        )
        return replace(candidate, model=model, precision="fp32", lineage=(*candidate.lineage, self.name))
