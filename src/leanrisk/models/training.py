"""The training loop: teaches a `RiskTransformer` from outcomes and, where there is one, a teacher's scores."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.inputs import Lookups
from leanrisk.core.metrics import auc
from leanrisk.core.progress import Progress, Silent
from leanrisk.models.losses import distillation_loss, regression_distillation_loss
from leanrisk.models.risk_transformer import RiskTransformer

_SILENT = Silent()
_PREDICT_ROWS = 8192

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is taught; the defaults of `temperature` and the two weights are the source's.

    `epochs` is a limit: training stops when the early-stopping rows have not improved for `patience` epochs, and the
    best epoch's weights are kept. `averaging` is the decay of the weights' moving average, 0 for none.
    """

    epochs: int = 20
    batch: int = 256
    learning_rate: float = 2e-3
    table_decay: float = 0.02
    body_decay: float = 0.01
    temperature: float = 2.0
    teacher_weight: float = 0.7
    label_weight: float = 0.3
    patience: int = 4
    warmup: float = 0.05
    averaging: float = 0.99
    threads: int = 2

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.patience, self.threads) < 1:
            raise ConfigError("training.epochs, batch, patience and threads must be at least 1. Raise them.")
        if not 0 < self.learning_rate < 1 or self.temperature <= 0:
            raise ConfigError("training.learning_rate must lie in (0, 1) and temperature above 0. Correct them.")
        if min(self.teacher_weight, self.label_weight) < 0 or self.teacher_weight + self.label_weight == 0:
            raise ConfigError(
                "training.teacher_weight and label_weight must not be negative, nor both 0. Correct them."
            )
        if not 0 <= self.averaging < 1 or not 0 <= self.warmup < 1:
            raise ConfigError("training.averaging and training.warmup must lie in [0, 1). Correct them.")


@dataclass(frozen=True)
class Lesson:
    """Rows to learn from: look-ups, `targets` (0/1, NaN = unknown; or standardised values), teacher `logits` or None."""

    lookups: Lookups
    targets: Floats
    teacher: Floats | None = None

    def __post_init__(self) -> None:
        for name, values in (("targets", self.targets), ("teacher", self.teacher)):
            if values is None:
                continue
            if values.shape != (self.lookups.rows,):
                raise ModelError(
                    f"{name} must align with the rows: shape {values.shape} against {self.lookups.rows} rows. "
                    "Score the same table again."
                )
        if self.teacher is not None and not np.isfinite(self.teacher).all():
            raise ModelError("A teacher's scores must be finite: some are NaN or infinite. Leave those rows out.")


@dataclass(frozen=True)
class TrainingLog:
    """What happened: the loss and the early-stopping score of every epoch, the epoch kept, and the rows read per second."""

    losses: tuple[float, ...]
    scores: tuple[float, ...]
    best_epoch: int
    steps: int
    extra: dict[str, float] = field(default_factory=dict)


def train(
    model: RiskTransformer,
    lesson: Lesson,
    *,
    held_out: Lesson,
    config: TrainingConfig,
    seed: int,
    objective: str = "binary",
    progress: Progress = _SILENT,
) -> TrainingLog:
    """Teach `model` in place and return the log; the weights kept are those of the best epoch on `held_out`.

    The early-stopping score is the AUC (binary) or minus the mean squared error (regression) against the outcomes of
    `held_out`. Raises `ModelError` where the loss stops being a number.
    """
    generator = torch.Generator().manual_seed(seed)
    with _threads(config.threads):
        torch.manual_seed(seed)
        return _Loop(model, lesson, held_out, config, objective, generator).run(progress)


class _Loop:
    def __init__(
        self,
        model: RiskTransformer,
        lesson: Lesson,
        held_out: Lesson,
        config: TrainingConfig,
        objective: str,
        generator: torch.Generator,
    ) -> None:
        self.model, self.held_out, self.config, self.generator = model, held_out, config, generator
        self.loss = _loss(objective, config, with_teacher=lesson.teacher is not None)
        self.score: Callable[[Floats, Floats], float] = _auc_score if objective == "binary" else _error_score
        self.index = torch.from_numpy(lesson.lookups.index)
        self.weight = torch.from_numpy(lesson.lookups.weight)
        self.targets = torch.from_numpy(lesson.targets)
        self.teacher = self.targets if lesson.teacher is None else torch.from_numpy(lesson.teacher)
        self.rows = lesson.lookups.rows
        self.batch = max(1, min(config.batch, self.rows // 4))
        self.total = config.epochs * math.ceil(self.rows / self.batch)
        self.trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = _optimizer(self.trainable, config)
        self.average = {name: p.detach().clone() for name, p in self.trainable.items()}
        self.step = 0

    def run(self, progress: Progress) -> TrainingLog:
        losses: list[float] = []
        scores: list[float] = []
        best = {name: p.clone() for name, p in self.average.items()}
        with progress.track("teaching the lean model", self.config.epochs) as advance:
            for _ in range(self.config.epochs):
                losses.append(self._epoch())
                scores.append(self._held_out_score())
                if scores[-1] >= max(scores):
                    best = {name: p.clone() for name, p in self.average.items()}
                advance(1)
                if len(scores) - 1 - int(np.argmax(scores)) >= self.config.patience:
                    break
        self._load(best)
        self.model.eval()
        return TrainingLog(tuple(losses), tuple(scores), int(np.argmax(scores)) + 1, self.step)

    def _epoch(self) -> float:
        self.model.train()
        order = torch.randperm(self.rows, generator=self.generator)
        total = 0.0
        for chosen in order.split(self.batch):
            total += self._update(chosen) * len(chosen)
        return total / self.rows

    def _update(self, chosen: Tensor) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * _schedule(self.step / self.total, self.config.warmup)
        logits = self.model(self.index[chosen], self.weight[chosen]).member_logits
        members = logits.shape[0]
        loss = self.loss(logits.flatten(), self.teacher[chosen].repeat(members), self.targets[chosen].repeat(members))
        if not bool(torch.isfinite(loss)):
            raise ModelError(
                f"Training must keep a finite loss: it is {loss.item()} at step {self.step}. Lower the learning_rate."
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trainable.values(), 1.0)
        self.optimizer.step()
        self.step += 1
        self._follow()
        return float(loss.item())

    def _follow(self) -> None:
        # Early steps would drag the start into the average; a shorter memory lets go of it.
        decay = min(self.config.averaging, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.trainable.values()), 1 - decay)

    def _held_out_score(self) -> float:
        current = {name: p.detach().clone() for name, p in self.trainable.items()}
        self._load(self.average)
        score = self.score(self.held_out.targets, predict_logits(self.model, self.held_out.lookups))
        self._load(current)
        return score

    def _load(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.trainable.items():
                parameter.copy_(weights[name])


def predict_logits(model: RiskTransformer, lookups: Lookups) -> Floats:
    """Return logits, float32 (rows,), in evaluation mode and in blocks of rows."""
    model.eval()
    logits = np.empty(lookups.rows, dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, lookups.rows, _PREDICT_ROWS):
            rows = slice(start, start + _PREDICT_ROWS)
            part = lookups.take(rows)
            logits[rows] = model(torch.from_numpy(part.index), torch.from_numpy(part.weight)).logits.numpy()
    return logits


def _loss(objective: str, config: TrainingConfig, *, with_teacher: bool) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    weights = {"teacher_weight": config.teacher_weight, "label_weight": config.label_weight}
    if not with_teacher:
        weights = {"teacher_weight": 0.0, "label_weight": 1.0}
    if objective == "regression":
        return lambda logits, teacher, targets: regression_distillation_loss(logits, teacher, targets, **weights)
    if with_teacher:
        return lambda logits, teacher, targets: distillation_loss(
            logits, teacher, targets, config.temperature, **weights
        )
    return lambda logits, teacher, targets: functional.binary_cross_entropy_with_logits(logits, targets)


def _optimizer(trainable: dict[str, nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    table = [p for name, p in trainable.items() if name.startswith("table.")]
    matrices = [p for name, p in trainable.items() if not name.startswith("table.") and p.dim() > 1]
    vectors = [p for name, p in trainable.items() if not name.startswith("table.") and p.dim() <= 1]
    groups = [
        {"params": table, "weight_decay": config.table_decay},
        {"params": matrices, "weight_decay": config.body_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.learning_rate, fused=True)


def _schedule(share: float, warmup: float) -> float:
    """Return the learning rate's factor: a linear warm-up, then half a cosine down to zero."""
    if share < warmup:
        return (share + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))


def _auc_score(targets: Floats, logits: Floats) -> float:
    known = ~np.isnan(targets)
    return auc(targets[known], logits[known])


def _error_score(targets: Floats, logits: Floats) -> float:
    return -float(np.mean((targets - logits) ** 2))


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
