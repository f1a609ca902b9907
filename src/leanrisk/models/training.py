"""The training loop: teaches a `RiskTransformer` from outcomes and, where there is one, a teacher's scores."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.inputs import Lookups
from leanrisk.core.progress import Progress, Silent
from leanrisk.models.losses import distillation_loss, outcome_loss, regression_distillation_loss, squared_loss
from leanrisk.models.risk_transformer import RiskTransformer

_SILENT = Silent()
_PREDICT_ROWS = 512
_PART_ROWS = {"transformer": 256, "mlp": 512}
"""Rows of a batch that a thread works on at a time, by body: enough to outweigh the start of each operator."""

Floats = npt.NDArray[np.float32]
Loss = Callable[[Tensor, Tensor | None, Tensor], Tensor]


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is taught; the defaults of `temperature` and the two weights are the source's.

    `epochs` is a limit: training stops when the held-out loss has not improved for `patience` epochs, and the best
    epoch's weights are kept. `averaging` is the decay of the weights' moving average, 0 for none. The result does not
    depend on `threads`.
    """

    epochs: int = 8
    batch: int = 512
    learning_rate: float = 3e-3
    table_decay: float = 0.02
    body_decay: float = 0.01
    temperature: float = 2.0
    teacher_weight: float = 0.7
    label_weight: float = 0.3
    patience: int = 3
    warmup: float = 0.05
    averaging: float = 0.99
    threads: int = 2

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.patience, self.threads) < 1:
            raise ConfigError("training.epochs, batch, patience and threads must be at least 1. Raise them.")
        if not 0 < self.learning_rate < 1 or self.temperature <= 0:
            raise ConfigError("training.learning_rate must lie in (0, 1) and temperature above 0. Correct them.")
        if min(self.teacher_weight, self.label_weight) < 0 or self.teacher_weight + self.label_weight == 0:
            raise ConfigError("training.teacher_weight and label_weight must not be negative, nor both 0. Mend them.")
        if not 0 <= self.averaging < 1 or not 0 <= self.warmup < 1:
            raise ConfigError("training.averaging and training.warmup must lie in [0, 1). Correct them.")


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


@dataclass(frozen=True)
class TrainingLog:
    """What happened: per epoch the loss and the held-out score (minus the loss); the epoch kept; the steps taken."""

    losses: tuple[float, ...]
    scores: tuple[float, ...]
    best_epoch: int
    steps: int


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

    Early stopping compares the loss that is learned, on `held_out`: the teacher's part where both lessons have one, the
    outcomes' part where they are known. Raises `ModelError` where the loss stops being a number.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]), _one_thread_each(), ThreadPoolExecutor(config.threads) as pool:
        torch.manual_seed(seed)
        return _Loop(model, lesson, held_out, config, objective, generator, pool).run(progress)


class _Loop:
    def __init__(
        self,
        model: RiskTransformer,
        lesson: Lesson,
        held_out: Lesson,
        config: TrainingConfig,
        objective: str,
        generator: torch.Generator,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.model, self.held_out, self.config, self.generator = model, held_out, config, generator
        self.loss = _loss(objective, config)
        self.index = torch.from_numpy(lesson.lookups.index)
        self.weight = torch.from_numpy(lesson.lookups.weight)
        self.targets = torch.from_numpy(lesson.targets)
        self.teacher = None if lesson.teacher is None else torch.from_numpy(lesson.teacher)
        self.rows = lesson.lookups.rows
        self.batch = max(1, min(config.batch, self.rows // 4))
        self.part = _PART_ROWS[model.config.body]
        self.total = config.epochs * math.ceil(self.rows / self.batch)
        self.trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.parameters: list[Tensor] = list(self.trainable.values())
        self.optimizer = _optimizer(self.trainable, config)
        self.average = [p.detach().clone() for p in self.parameters]
        # Dropout draws from one generator, and threads would draw from it in any order.
        self.map = map if config.threads == 1 or model.config.dropout else pool.map
        self.step = 0

    def run(self, progress: Progress) -> TrainingLog:
        losses: list[float] = []
        scores: list[float] = []
        best = self.average
        with progress.track("teaching the lean model", self.config.epochs) as advance:
            for _ in range(self.config.epochs):
                losses.append(self._epoch())
                scores.append(-self._held_out_loss())
                if scores[-1] >= max(scores):
                    best = [p.clone() for p in self.average]
                advance(1)
                if len(scores) - 1 - int(np.argmax(scores)) >= self.config.patience:
                    break
        self._load(best)
        self.model.train(False)
        return TrainingLog(tuple(losses), tuple(scores), int(np.argmax(scores)) + 1, self.step)

    def _epoch(self) -> float:
        self.model.train()
        order = torch.randperm(self.rows, generator=self.generator)
        return sum(self._update(chosen) * len(chosen) for chosen in order.split(self.batch)) / self.rows

    def _update(self, chosen: Tensor) -> float:
        """Take one step on these rows and return their loss; parts are summed in their order, whoever is first."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * _schedule(self.step / self.total, self.config.warmup)
        parts = chosen.chunk(math.ceil(len(chosen) / self.part))
        loss = 0.0
        self.optimizer.zero_grad()
        for part_loss, gradients in self.map(self._gradients, parts, [len(chosen)] * len(parts)):
            loss += part_loss
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        if not math.isfinite(loss):
            raise ModelError(
                f"Training must keep a finite loss: it is {loss} at step {self.step}. Lower the learning_rate."
            )
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        self._follow()
        return loss

    def _gradients(self, part: Tensor, rows: int) -> tuple[float, list[Tensor]]:
        """Return this part's share of the loss over `rows` rows, and its gradient for each parameter."""
        output = self.model(self.index.index_select(0, part), self.weight.index_select(0, part))
        logits = output.member_logits
        members = logits.shape[0]
        teacher = None if self.teacher is None else self.teacher[part].repeat(members)
        loss = self.loss(logits.flatten(), teacher, self.targets[part].repeat(members)) * (len(part) / rows)
        gradients = torch.autograd.grad(loss, self.parameters)
        # The fused optimiser reads a gradient's memory as if it were laid out like its parameter's.
        return float(loss.detach()), [gradient.contiguous() for gradient in gradients]

    def _follow(self) -> None:
        # Early steps would drag the start into the average; a shorter memory lets go of it.
        decay = min(self.config.averaging, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)

    def _held_out_loss(self) -> float:
        current = [p.detach().clone() for p in self.parameters]
        self._load(self.average)
        logits = torch.from_numpy(predict_logits(self.model, self.held_out.lookups))
        seen = self.held_out.teacher if self.teacher is not None else None
        teacher = None if seen is None else torch.from_numpy(seen)
        loss = self.loss(logits, teacher, torch.from_numpy(self.held_out.targets))
        self._load(current)
        return float(loss)

    def _load(self, weights: Iterable[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, weights, strict=True):
                parameter.copy_(value)


def predict_logits(model: RiskTransformer, lookups: Lookups) -> Floats:
    """Return logits, float32 (rows,), in evaluation mode and in blocks of rows."""
    model.train(False)
    logits = np.empty(lookups.rows, dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, lookups.rows, _PREDICT_ROWS):
            rows = slice(start, start + _PREDICT_ROWS)
            part = lookups.take(rows)
            logits[rows] = model(torch.from_numpy(part.index), torch.from_numpy(part.weight)).logits.numpy()
    return logits


def _loss(objective: str, config: TrainingConfig) -> Loss:
    """Return the loss of (logits, teacher's logits or None, targets), each (rows,); with None, outcomes only."""
    weights = {"teacher_weight": config.teacher_weight, "label_weight": config.label_weight}

    def binary(logits: Tensor, teacher: Tensor | None, targets: Tensor) -> Tensor:
        if teacher is None:
            return outcome_loss(logits, targets)
        return distillation_loss(logits, teacher, targets, config.temperature, **weights)

    def regression(values: Tensor, teacher: Tensor | None, targets: Tensor) -> Tensor:
        if teacher is None:
            return squared_loss(values, targets)
        return regression_distillation_loss(values, teacher, targets, **weights)

    return regression if objective == "regression" else binary


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


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep operators to the thread that calls them.

    torch's own threads wait for each other by spinning: on a busy machine that costs ten times the CPU-seconds.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
