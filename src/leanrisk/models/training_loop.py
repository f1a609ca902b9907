"""The training loop: steps over batches, a moving average of the weights, a frontier, and early stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Lookups
from leanrisk.core.progress import Progress
from leanrisk.models.device import Device
from leanrisk.models.frontier import FreezeConfig, Frontier, Move
from leanrisk.models.hint import HintMap, standardised
from leanrisk.models.lesson import Lesson
from leanrisk.models.objective import objective_loss
from leanrisk.models.prefix import Prefix, below_frontier
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training_config import TrainingConfig

PART_ROWS = {"transformer": 256, "mlp": 512}
"""Rows of a batch that a thread works on at a time, by body: enough to outweigh the start of each operator."""
_BLOCK_ROWS = 512
_PROBE_ROWS = 256
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class TrainingLog:
    """What happened: per epoch the loss and the held-out score (minus the loss); the epoch kept; the steps taken.

    `frontier` are the places of the frontier over the steps,
    empty where nothing was frozen; `trainable` the number of weights that learned at the first step; `cached_bytes`
    what the frozen blocks' states take on disk, `cache_refused` why they are not kept there; `gpu_s` the seconds on the
    card named `gpu`, 0 on a CPU.
    """

    losses: tuple[float, ...]
    scores: tuple[float, ...]
    best_epoch: int
    steps: int
    frontier: tuple[Move, ...] = ()
    trainable: int = 0
    cached_bytes: int = 0
    cache_refused: str = ""
    gpu_s: float = 0.0
    gpu: str = ""


class TrainingLoop:
    """One training of one network on one lesson; `run` carries it out."""

    def __init__(
        self,
        network: RiskTransformer,
        lesson: Lesson,
        held_out: Lesson,
        config: TrainingConfig,
        objective: str,
        *,
        seed: int,
        pool: ThreadPoolExecutor,
        device: Device,
        freeze: FreezeConfig | None,
        cache: Path | None,
    ) -> None:
        self.network, self.held_out, self.config, self.device, self.freeze = network, held_out, config, device, freeze
        self.generator = torch.Generator().manual_seed(seed)
        self.loss = objective_loss(objective, config)
        self.targets = torch.from_numpy(lesson.targets)
        self.teacher = None if lesson.teacher is None else torch.from_numpy(lesson.teacher)
        self.rows = lesson.lookups.rows
        self.batch = max(1, min(config.batch, self.rows // 4))
        self.total = config.epochs * math.ceil(self.rows / self.batch)
        # A GPU works on a whole batch at once; threads of a CPU share it. Dropout draws from one generator, and
        # threads would draw from it in any order.
        on_gpu = device.device.type != "cpu"
        self.part = self.batch if on_gpu else PART_ROWS[network.config.body]
        self.map = map if config.threads == 1 or network.config.dropout or on_gpu else pool.map

        self.frontier = None if freeze is None else Frontier(freeze, network.depth)
        at = None if self.frontier is None else self.frontier.at
        self.prefix, self.judged = (
            Prefix(network, rows, blocks=at, folder=folder, limit_mb=limit_mb)
            for rows, folder, limit_mb in _shares(lesson.lookups, held_out.lookups, freeze, cache)
        )
        self.trainable: dict[str, nn.Parameter] = {
            name: p for name, p in network.named_parameters() if p.requires_grad and self._learns(name)
        }
        self.parameters: list[Tensor] = list(self.trainable.values())
        self.active = list(range(len(self.parameters)))
        self.optimizer = optimizer_of(self.trainable, config)
        self.average = [p.detach().clone() for p in self.parameters]
        self.probed: list[Tensor] = []
        self.hint, self.hints = self._hinted(lesson)
        self.step = 0

    def run(self, progress: Progress) -> TrainingLog:
        """Train, and leave the weights of the best epoch in the network, in evaluation mode."""
        began = time.perf_counter()
        losses: list[float] = []
        scores: list[float] = []
        best = self.average
        trainable = sum(p.numel() for p in self.parameters)
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
        self.network.train(False)
        moves = () if self.frontier is None else tuple(self.frontier.moves)
        cached = self.prefix.cached_bytes + self.judged.cached_bytes
        gpu = self.device.device.type != "cpu"
        return TrainingLog(
            losses=tuple(losses),
            scores=tuple(scores),
            best_epoch=int(np.argmax(scores)) + 1,
            steps=self.step,
            frontier=moves,
            trainable=trainable,
            cached_bytes=cached,
            cache_refused=self.prefix.refused or self.judged.refused,
            gpu_s=time.perf_counter() - began if gpu else 0.0,
            gpu=torch.cuda.get_device_name(self.device.device) if gpu else "",
        )

    def _hinted(self, lesson: Lesson) -> tuple[HintMap | None, Tensor | None]:
        """Return the map from the student's state to its teacher's, and the teacher's; None each without a hint."""
        if lesson.hints is None or self.config.hint_weight == 0:
            return None, None
        with torch.no_grad():
            output = self.network.above(*self.prefix.read(torch.arange(1)), blocks=self.prefix.blocks)
        hint = HintMap.between(output.state, lesson.hints)
        self.optimizer.add_param_group({"params": list(hint.parameters()), "weight_decay": 0.0})
        return hint, torch.from_numpy(standardised(lesson.hints))

    def _learns(self, name: str) -> bool:
        return self.frontier is None or not below_frontier(name, self.frontier.at)

    def _epoch(self) -> float:
        self._learning_mode()
        order = torch.randperm(self.rows, generator=self.generator)
        batches = order.split(self.batch)
        every = math.ceil(len(batches) / self.freeze.checks) if self.freeze is not None else 0
        loss = 0.0
        for place, chosen in enumerate(batches, start=1):
            loss += self._update(chosen) * len(chosen)
            rises = self.frontier is not None and self.frontier.may_rise and self.step < self.total
            if self.frontier is not None and rises and place % every == 0:
                self._check(self.frontier)
        return loss / self.rows

    def _update(self, chosen: Tensor) -> float:
        """Take one step on these rows and return their loss; parts are summed in their order, whoever is first."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * schedule(self.step / self.total, self.config.warmup)
        parts = chosen.chunk(math.ceil(len(chosen) / self.part))
        learning = [self.parameters[place] for place in self.active]
        taught = [*learning, *self._map()]
        loss = 0.0
        self.optimizer.zero_grad()
        for part_loss, gradients in self.map(self._gradients, parts, [len(chosen)] * len(parts)):
            loss += part_loss
            for parameter, gradient in zip(taught, gradients, strict=True):
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        if not math.isfinite(loss):
            raise ModelError(
                f"Training must keep a finite loss: it is {loss} at step {self.step}. Lower the learning_rate."
            )
        nn.utils.clip_grad_norm_(taught, 1.0)
        self.optimizer.step()
        self.step += 1
        self._follow(learning)
        return loss

    def _gradients(self, part: Tensor, rows: int) -> tuple[float, list[Tensor]]:
        """Return this part's share of the loss over `rows` rows, and its gradient for each learning parameter."""
        with self.device.autocast():
            output = self.network.above(*self.prefix.read(part), blocks=self.prefix.blocks)
        logits = torch.as_tensor(output.member_logits).float()
        members = logits.shape[0]
        teacher = None if self.teacher is None else self.teacher[part].repeat(members).to(logits.device)
        targets = self.targets[part].repeat(members).to(logits.device)
        loss = self.loss(logits.flatten(), teacher, targets)
        if self.hint is not None and self.hints is not None:
            state = torch.as_tensor(output.state)
            loss = loss + self.config.hint_weight * self.hint.loss(state, self.hints[part].to(state.device))
        loss = loss * (len(part) / rows)
        gradients = torch.autograd.grad(loss, [*(self.parameters[place] for place in self.active), *self._map()])
        # The fused optimiser reads a gradient's memory as if it were laid out like its parameter's.
        return float(loss.detach()), [gradient.contiguous() for gradient in gradients]

    def _map(self) -> list[Tensor]:
        return [] if self.hint is None else list(self.hint.parameters())

    def _follow(self, learning: list[Tensor]) -> None:
        # Early steps would drag the start into the average; a shorter memory lets go of it.
        decay = min(self.config.averaging, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_([self.average[place] for place in self.active], learning, 1 - decay)

    def _check(self, frontier: Frontier) -> None:
        """See how far each block's output has moved, and freeze those that stand still at their average weights."""
        states = self._probe()
        if self.probed and frontier.checked(self.step, _changes(self.probed, states)):
            frozen = [p for p, name in enumerate(self.trainable) if p in set(self.active) and not self._learns(name)]
            with torch.no_grad():
                for place in frozen:
                    self.parameters[place].copy_(self.average[place])
                    self.parameters[place].grad = None
            self.active = [place for place in self.active if place not in set(frozen)]
            for prefix in (self.prefix, self.judged):
                prefix.move(frontier.at)
            states = self._probe()
        self.probed = states

    def _probe(self) -> list[Tensor]:
        """Return what each block makes of a few held-out rows; for all frozen ones, what the last of them makes."""
        rows = torch.arange(min(_PROBE_ROWS, self.held_out.lookups.rows))
        # Dropout would look like blocks that never come to rest.
        self.network.train(False)
        with torch.no_grad(), self.device.autocast():
            states, _ = self.judged.read(rows)
            found = [states] * self.prefix.blocks
            for block in range(self.prefix.blocks, self.network.depth):
                states = self.network.body.through(states, block, block + 1)
                found.append(states)
        self._learning_mode()
        return [states.float() for states in found]

    def _learning_mode(self) -> None:
        self.network.train()
        # What stands still answers alike in every epoch, or it could not be cached.
        self.network.body.rest(self.prefix.blocks)

    def _held_out_loss(self) -> float:
        current = [p.detach().clone() for p in self.parameters]
        self._load(self.average)
        self.network.train(False)
        rows = torch.arange(self.held_out.lookups.rows)
        with torch.no_grad():
            logits = torch.cat([self._logits(part) for part in rows.split(_BLOCK_ROWS)])
        seen = self.held_out.teacher if self.teacher is not None else None
        teacher = None if seen is None else torch.from_numpy(seen)
        loss = self.loss(logits, teacher, torch.from_numpy(self.held_out.targets))
        self._load(current)
        return float(loss)

    def _logits(self, part: Tensor) -> Tensor:
        with self.device.autocast():
            output = self.network.above(*self.judged.read(part), blocks=self.judged.blocks)
        return torch.as_tensor(output.logits).float().cpu()

    def _load(self, weights: Iterable[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, weights, strict=True):
                parameter.copy_(value)


def _changes(before: list[Tensor], after: list[Tensor]) -> list[float]:
    """Return how far each block's output has moved, relative to its spread over the rows."""
    moved = [float((new - old).norm()) for old, new in zip(before, after, strict=True)]
    spreads = [float((state - state.mean(dim=0)).norm()) for state in after]
    # Where rows are all alike there is no spread, and any move is a large one.
    return [way / max(spread, _LEAST_SPREAD) for way, spread in zip(moved, spreads, strict=True)]


def _shares(
    lesson: Lookups, held_out: Lookups, freeze: FreezeConfig | None, cache: Path | None
) -> list[tuple[Lookups, Path | None, float]]:
    """Return for both parts of the rows the folder of their states and its limit in MiB, by how many rows they are.

    Each has a folder of its own, or one would make room by removing what the other reads.
    """
    if freeze is None or not freeze.cache or cache is None:
        return [(lesson, None, 0.0), (held_out, None, 0.0)]
    both = lesson.rows + held_out.rows
    return [
        (rows, cache / name, freeze.cache_mb * rows.rows / both)
        for rows, name in ((lesson, "learned"), (held_out, "held-out"))
    ]


def optimizer_of(trainable: dict[str, nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    """Return AdamW over these parameters: the table and the matrices decay, each at its rate, vectors do not."""
    table = [p for name, p in trainable.items() if name.startswith("table.")]
    matrices = [p for name, p in trainable.items() if not name.startswith("table.") and p.dim() > 1]
    vectors = [p for name, p in trainable.items() if not name.startswith("table.") and p.dim() <= 1]
    groups = [
        {"params": table, "weight_decay": config.table_decay},
        {"params": matrices, "weight_decay": config.body_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.learning_rate, fused=True)


def schedule(share: float, warmup: float) -> float:
    """Return the learning rate's factor: a linear warm-up, then half a cosine down to zero."""
    if share < warmup:
        return (share + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))
