"""Teaching any torch network from outcomes and, where there is one, a teacher: one engine for texts and images."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.progress import Advance, Progress, Silent
from leanrisk.core.seeding import derived_seed
from leanrisk.models.device import Device
from leanrisk.models.hint import HintMap
from leanrisk.models.losses import distillation_loss, outcome_loss
from leanrisk.models.pair_config import PairConfig
from leanrisk.models.pair_lesson import Arranging, Batches, Floats, Inputs, PairLesson
from leanrisk.models.training_loop import schedule

_SILENT = Silent()


class Answer(NamedTuple):
    """What a network makes of a batch: logits (rows,), (rows, 1) or (rows, classes); its pooled state (rows, width)."""

    logits: Tensor
    state: Tensor | None = None


Ask = Callable[[nn.Module, Inputs], Answer]


@dataclass(frozen=True)
class PairLog:
    """What happened: losses learned and held out per epoch, the epoch kept (from 1), steps, seconds, what ended it.

    `ended` is one of epochs, patience, steps, seconds.
    """

    losses: tuple[float, ...]
    held_out: tuple[float, ...]
    best_epoch: int
    steps: int
    seconds: float
    ended: str


def logits_of(network: nn.Module, inputs: Inputs) -> Answer:
    """Return the network's answer: a tensor of logits as it is, or the `.logits` of a Hugging Face output."""
    output: Any = network(**inputs)
    return Answer(output if isinstance(output, Tensor) else output.logits)


def teach(
    network: nn.Module,
    lesson: PairLesson,
    *,
    held_out: PairLesson,
    config: PairConfig,
    seed: int,
    ask: Ask = logits_of,
    what: str = "teaching",
    progress: Progress = _SILENT,
) -> PairLog:
    """Teach `network` in place and return the log; the weights and buffers kept are those of the best epoch.

    With `lesson.teacher` the loss is `distillation_loss`, otherwise the outcomes' cross-entropy; the held-out loss is
    the same, the outcomes' alone where `held_out` has no teacher. With `lesson.hints` and `config.hint_weight` a linear
    map of the network's pooled state, which `ask` must then give, learns to meet the teacher's by mean squared error
    (Romero et al. 2015, "FitNets"); the map is thrown away. Equal seeds give equal weights on a CPU. A GPU is used
    where there is one; the network comes back on the CPU in evaluation mode, also after Ctrl-C. Raises `ModelError`
    where the loss stops being a number.
    """
    device = Device.here().device
    with contextlib.ExitStack() as open_:
        open_.enter_context(torch.random.fork_rng([device] if device.type != "cpu" else []))
        open_.enter_context(_threads(config.threads))
        torch.manual_seed(derived_seed(seed, "pair"))
        network.to(device)
        try:
            return _Teaching(network, lesson, held_out, config, seed, ask, device).run(what, progress)
        finally:
            network.cpu().train(False)


def answers(
    network: nn.Module,
    batches: Batches,
    *,
    batch: int = 256,
    ask: Ask = logits_of,
    precision: str = "fp32",
    threads: int = 1,
    what: str = "asking the teacher",
    progress: Progress = _SILENT,
) -> tuple[Floats, Floats | None]:
    """Return logits and pooled states (None where `ask` gives none) of all rows, float32, in evaluation mode."""
    device = Device.here().device
    network.train(False).to(device)
    logits, states = [], []
    try:
        with _threads(threads), torch.inference_mode(), progress.track(what, batches.rows) as advance:
            for chosen in torch.arange(batches.rows).split(batch):
                with _autocast(device, precision):
                    answer = ask(network, _on(batches.take(chosen), device))
                logits.append(answer.logits.float().cpu())
                if answer.state is not None:
                    states.append(answer.state.float().cpu())
                advance(len(chosen))
    finally:
        network.cpu()
    return torch.cat(logits).numpy(), torch.cat(states).numpy() if states else None


class _Teaching:
    """One training of one network; `run` carries it out."""

    def __init__(
        self,
        network: nn.Module,
        lesson: PairLesson,
        held_out: PairLesson,
        config: PairConfig,
        seed: int,
        ask: Ask,
        device: torch.device,
    ) -> None:
        self.network, self.lesson, self.held_out = network, lesson, held_out
        self.config, self.ask, self.device = config, ask, device
        self.order = torch.Generator().manual_seed(derived_seed(seed, "pair-order"))
        self.class_weights = torch.tensor(config.class_weights, device=device) if config.class_weights else None
        # Asked once before anything is learned: an answer that does not fit is refused here, not after an epoch.
        first = self._first_answer()
        self.hint = self._hint_map(first)
        learning = [*network.parameters(), *([] if self.hint is None else self.hint.parameters())]
        self.learning = [parameter for parameter in learning if parameter.requires_grad]
        # Biases and the scales of normalisations do not decay.
        groups = [
            {"params": [p for p in self.learning if p.dim() > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in self.learning if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=config.learning_rate)
        self.batches_per_epoch = len(self._batches(torch.arange(lesson.batches.rows)))
        whole = config.epochs * self.batches_per_epoch
        self.total = whole if config.steps is None else min(whole, config.steps)
        self.step, self.began = 0, time.perf_counter()

    def run(self, what: str, progress: Progress) -> PairLog:
        """Train, and leave the best epoch's weights and buffers in the network."""
        losses: list[float] = []
        scores: list[float] = []
        best: dict[str, Tensor] = {}
        ended = "epochs"
        with progress.track(what, self.total) as advance:
            for _ in range(self.config.epochs):
                losses.append(self._epoch(advance))
                scores.append(self._held_out_loss())
                if scores[-1] <= min(scores):
                    best = {name: values.detach().clone() for name, values in self.network.state_dict().items()}
                spent = self._spent()
                if spent is not None:
                    ended = spent
                    break
                if len(scores) - 1 - int(np.argmin(scores)) >= self.config.patience:
                    ended = "patience"
                    break
        self.network.load_state_dict(best)
        seconds = time.perf_counter() - self.began
        return PairLog(tuple(losses), tuple(scores), int(np.argmin(scores)) + 1, self.step, seconds, ended)

    def _epoch(self, advance: Advance) -> float:
        self.network.train()
        loss, rows = 0.0, 0
        for chosen in self._batches(torch.randperm(self.lesson.batches.rows, generator=self.order)):
            loss += self._update(chosen) * len(chosen)
            rows += len(chosen)
            advance(1)
            if self._spent() is not None:
                break
        return loss / rows

    def _update(self, chosen: Tensor) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * schedule(self._share(), self.config.warmup)
        self.optimizer.zero_grad()
        with _autocast(self.device, self.config.precision):
            answer = self.ask(self.network, _on(self.lesson.batches.take(chosen), self.device))
        loss = self._loss(answer.logits.float(), self.lesson, chosen)
        if self.hint is not None and answer.state is not None:
            loss = loss + self.config.hint_weight * self.hint.loss(answer.state, self._rows(self.lesson.hints, chosen))
        if not math.isfinite(float(loss.detach())):
            raise ModelError(
                f"Training must keep a finite loss: it is {float(loss.detach())} at step {self.step}. Lower the "
                "learning_rate."
            )
        loss.backward()
        nn.utils.clip_grad_norm_(self.learning, self.config.clip)
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    def _loss(self, logits: Tensor, lesson: PairLesson, chosen: Tensor) -> Tensor:
        labels = lesson.labels[chosen].to(self.device)
        if lesson.teacher is None:
            return outcome_loss(logits, labels, class_weights=self.class_weights)
        return distillation_loss(
            logits,
            self._rows(lesson.teacher, chosen),
            labels,
            self.config.temperature,
            teacher_weight=self.config.teacher_weight,
            label_weight=self.config.label_weight,
            class_weights=self.class_weights,
        )

    def _held_out_loss(self) -> float:
        """Return the mean loss of the held-out rows, batch by batch."""
        self.network.train(False)
        total, rows = 0.0, 0
        with torch.no_grad():
            for chosen in torch.arange(self.held_out.batches.rows).split(4 * self.config.batch):
                with _autocast(self.device, self.config.precision):
                    answer = self.ask(self.network, _on(self.held_out.batches.take(chosen), self.device))
                total += float(self._loss(answer.logits.float(), self.held_out, chosen)) * len(chosen)
                rows += len(chosen)
        if not math.isfinite(total):
            raise ModelError(f"Training must keep a finite held-out loss: it is {total}. Lower the learning_rate.")
        return total / rows

    def _batches(self, order: Tensor) -> list[Tensor]:
        if isinstance(self.lesson.batches, Arranging):
            order = self.lesson.batches.arranged(order, self.config.batch)
        batches = list(order.split(self.config.batch))
        # The mean and spread of a single row are none: batch normalisation refuses it.
        if len(batches) > 1 and len(batches[-1]) == 1:
            batches[-2:] = [torch.cat(batches[-2:])]
        return batches

    def _share(self) -> float:
        seconds = self.config.seconds
        spent = 0.0 if seconds is None else (time.perf_counter() - self.began) / seconds
        return min(max(self.step / self.total, spent), 1.0)

    def _spent(self) -> str | None:
        if self.config.steps is not None and self.step >= self.config.steps:
            return "steps"
        over = self.config.seconds is not None and time.perf_counter() - self.began >= self.config.seconds
        return "seconds" if over else None

    def _rows(self, values: Floats | None, chosen: Tensor) -> Tensor:
        assert values is not None
        return torch.from_numpy(values[chosen.numpy()]).to(self.device)

    def _first_answer(self) -> Answer:
        self.network.train(False)
        chosen = torch.arange(min(2, self.lesson.batches.rows))
        with torch.no_grad():
            answer = self.ask(self.network, _on(self.lesson.batches.take(chosen), self.device))
        logits, teacher = answer.logits, self.lesson.teacher
        classes = _classes(tuple(logits.shape))
        if logits.dim() > 2 or len(logits) != len(chosen):
            raise ModelError(
                f"A network must answer with (rows,) or (rows, classes) logits: it gives {tuple(logits.shape)}."
            )
        if teacher is not None and _classes(teacher.shape) != classes:
            raise ModelError(
                f"Teacher and student must know the same classes: {_classes(teacher.shape)} against {classes}. Give "
                "the student as many labels as the teacher has."
            )
        known = self.lesson.labels[~self.lesson.labels.isnan()]
        if len(known) and not 0 <= float(known.min()) <= float(known.max()) <= classes - 1:
            raise ModelError(
                f"Labels must be class numbers from 0 to {classes - 1}: they reach from {float(known.min()):g} to "
                f"{float(known.max()):g}. Number the classes anew."
            )
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ConfigError(
                f"pair.class_weights needs one weight for each class: {len(self.class_weights)} against {classes}."
            )
        return answer

    def _hint_map(self, answer: Answer) -> HintMap | None:
        hints = self.lesson.hints
        return None if hints is None or self.config.hint_weight == 0 else HintMap.between(answer.state, hints)


def _classes(shape: tuple[int, ...]) -> int:
    return shape[1] if len(shape) == 2 and shape[1] > 1 else 2


def _on(inputs: Inputs, device: torch.device) -> Inputs:
    return {name: values.to(device) for name, values in inputs.items()}


def _autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


@contextlib.contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
