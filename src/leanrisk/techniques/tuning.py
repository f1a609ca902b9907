"""A lean model taught further: all of its weights, an adapter's, or those above a frontier."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.models.adapter import Adapter
from leanrisk.models.frontier import FreezeConfig
from leanrisk.models.training import plain_network
from leanrisk.models.training_config import TrainingConfig
from leanrisk.techniques.base import Bench, Candidate
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.teaching import Classroom, Scale, calibrated, teach


@dataclass(frozen=True)
class LoraSettings:
    """Rank and scale of the adapters on every fused query-key-value projection; what they add has weight alpha/rank."""

    rank: int = 4
    alpha: float = 8.0
    targets: tuple[str, ...] = ("query_key_value",)

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= 1024 or self.alpha <= 0:
            raise ConfigError("lora.rank must lie in 1..1024 and lora.alpha above 0. Correct them.")


@dataclass(frozen=True)
class Tuning:
    """How a lean model is taught further. Without `lora` its own weights learn; without `freeze` none stands still."""

    lora: LoraSettings | None = None
    freeze: FreezeConfig | None = None
    training: TrainingConfig = field(default_factory=TrainingConfig)
    classroom: Classroom = field(default_factory=Classroom)


def lean_champion(candidate: Candidate, what: str) -> LeanModel:
    """Return the candidate's lean model; raises `ModelError` where it has none for `what` to start from."""
    model = candidate.model
    if not isinstance(model, LeanModel):
        raise ModelError(
            f"{what} starts from a lean network: the model at hand is of kind '{model.kind}'. Shrink it first, for "
            "example with the step 'distill'."
        )
    return model


def tuned(champion: LeanModel, rows: Dataset, bench: Bench, tuning: Tuning, *, cache: Path | None = None) -> LeanModel:
    """Return the champion taught on `rows` by the bench's teacher, calibrated and exported anew.

    An adapter that the champion has learns on; its base stays as it is. `cache`: folder for the states of frozen
    blocks. Raises `ModelError` where the network has no projection that an adapter could sit on.
    """
    link = champion.calibration.link
    scale = Scale(champion.calibration.intercept, champion.calibration.slope) if link == "identity" else Scale()
    base, start = champion.foundation
    if tuning.lora is not None:
        start = start or fresh_adapter(champion, tuning.lora, seed=bench.seed)
        wrapped = start.attached(base)
        network = plain_network(wrapped)
    else:
        network = copy.deepcopy(champion.network)
    log = teach(
        network,
        champion.encoder,
        rows,
        bench.teacher,
        classroom=tuning.classroom,
        training=tuning.training,
        scale=scale,
        seed=bench.seed,
        objective=bench.objective,
        freeze=tuning.freeze,
        cache=cache,
        progress=bench.progress,
    )
    adapter = None
    if tuning.lora is not None and start is not None:
        adapter = Adapter.of(wrapped, start.base)
        network = adapter.merged(base)
    calibration = calibrated(
        network, champion.encoder, bench.valid, scale=scale, seed=bench.seed, objective=bench.objective
    )
    facts = {
        **champion.facts,
        "tuned_rows": rows.rows,
        "tuned_steps": log.steps,
        "trainable": log.trainable,
        "frontier": [asdict(move) for move in log.frontier],
        "cached_bytes": log.cached_bytes,
    }
    return LeanModel.exported(
        champion.encoder,
        network,
        calibration,
        like=bench.valid.frame,
        base=base if adapter else None,
        adapter=adapter,
        **facts,
    )


def fresh_adapter(champion: LeanModel, lora: LoraSettings, *, seed: int) -> Adapter:
    """Return an adapter for the champion's network that changes nothing yet."""
    if not champion.network.depth:
        raise ModelError(
            f"LoRA adapts query-key-value projections: the preset '{champion.facts.get('preset')}' has none. Choose "
            "'tiny', 'mid' or 'base', or the technique 'freeze', which fits every preset."
        )
    return Adapter.fresh(champion.network, rank=lora.rank, alpha=lora.alpha, targets=lora.targets, seed=seed)
