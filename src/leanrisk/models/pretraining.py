"""Pre-training: a `RiskTransformer` learns a book from rows alone, outcomes unknown, by guessing masked fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.inputs import Fields, Lookups
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.seeding import derived_seed
from leanrisk.models.device import Device
from leanrisk.models.reconstruction import Reconstruction, check_reconstructable
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.threads import one_thread_each
from leanrisk.models.training_config import TrainingConfig
from leanrisk.models.training_loop import PART_ROWS, optimizer_of, schedule

_SILENT = Silent()
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")

Mapped = Callable[..., Iterable[Any]]


@dataclass(frozen=True)
class PretrainingConfig:
    """How a base is taught: a `masked` share of each row's fields is hidden and guessed.

    `epochs` is a limit: it ends when the loss on the `held_out` share of rows has not improved for `patience` epochs,
    and the best epoch's weights are kept, as a moving average with decay `averaging`. The result does not depend on
    `threads`.
    """

    epochs: int = 30
    batch: int = 512
    learning_rate: float = 3e-3
    masked: float = 0.3
    held_out: float = 0.05
    patience: int = 2
    table_decay: float = 0.02
    body_decay: float = 0.01
    warmup: float = 0.05
    averaging: float = 0.99
    threads: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.masked < 1 or not 0 < self.held_out < 1:
            raise ConfigError(
                f"pretraining.masked and held_out must lie between 0 and 1: they are {self.masked} and "
                f"{self.held_out}. Correct them."
            )
        self.training()

    def training(self) -> TrainingConfig:
        """Return what the training loop shares with this one; raises `ConfigError` for a value out of range."""
        own = asdict(self)
        return TrainingConfig(**{name: own[name] for name in TrainingConfig.__dataclass_fields__ if name in own})


@dataclass(frozen=True)
class PretrainingLog:
    """What happened: per epoch the loss and the held-out loss, in nats a masked field; the epoch kept; the steps.

    `guessed` is the share of masked held-out fields whose likeliest row was the right one, `commonest` that of always
    guessing the row that is commonest in training.
    """

    losses: tuple[float, ...]
    held_out: tuple[float, ...]
    best_epoch: int
    steps: int
    guessed: float
    commonest: float


def pretrain_network(
    network: RiskTransformer,
    fields: Fields,
    lookups: Lookups,
    *,
    held_out: Lookups,
    config: PretrainingConfig,
    seed: int,
    progress: Progress = _SILENT,
) -> PretrainingLog:
    """Teach the table and the blocks of `network` in place and return the log; its head is set to 0.

    The weights kept are those of the epoch that guesses the masked fields of `held_out` best. Equal arguments and seed
    give equal weights. Raises `ConfigError` for a body that cannot be pre-trained, `ModelError` for fields that are not
    this network's, for no rows, and where the loss stops being a number.
    """
    run = Pretraining(network, fields, lookups, held_out=held_out, config=config, seed=seed)
    with progress.track("pre-training", config.epochs) as advance:
        while not run.finished:
            run.epoch()
            advance(1)
    return run.finish()


class Pretraining:
    """A pre-training that goes one epoch at a time, and whose `state` can be kept and taken up by another process.

    Every epoch draws from a seed of its own, so what follows a state does not depend on where it was made.
    """

    def __init__(
        self,
        network: RiskTransformer,
        fields: Fields,
        lookups: Lookups,
        *,
        held_out: Lookups,
        config: PretrainingConfig,
        seed: int,
    ) -> None:
        if not lookups.rows or not held_out.rows:
            raise ModelError(
                f"Pre-training needs rows to learn and rows to stop by: there are {lookups.rows} and {held_out.rows}. "
                "Bring more rows."
            )
        check_reconstructable(network.config, fields)
        self.network, self.config, self.seed = network, config, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "reconstruction"))
            self.head = Reconstruction(network.config, fields)
        self.device = Device.here()
        network.to(self.device.device)
        self.head.to(self.device.device)
        self.rows, self.held_out = (_Rows.of(rows, self.device.device) for rows in (lookups, held_out))
        self.batch = max(1, min(config.batch, lookups.rows // 4))
        # A GPU works on a whole batch at once; threads of a CPU share it.
        self.on_gpu = self.device.device.type != "cpu"
        self.part = self.batch if self.on_gpu else PART_ROWS["transformer"]
        self.total = config.epochs * math.ceil(lookups.rows / self.batch)
        self.learned = _learned(network, self.head)
        self.parameters: list[Tensor] = list(self.learned.values())
        self.optimizer = optimizer_of(self.learned, config.training())
        self.average = [p.detach().clone() for p in self.parameters]
        self.best = self.average
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.step = 0

    @property
    def finished(self) -> bool:
        """Whether the last epoch is over, or `patience` epochs in a row brought nothing."""
        epochs = len(self.scores)
        return epochs >= self.config.epochs or (bool(epochs) and epochs - self._best >= self.config.patience)

    def epoch(self) -> None:
        """Go once over the rows, then look at the held-out ones."""
        number = len(self.losses) + 1
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "pre-training", str(number)))
        with torch.random.fork_rng(devices=[]), one_thread_each(), ThreadPoolExecutor(self.config.threads) as pool:
            torch.manual_seed(derived_seed(self.seed, "dropout", str(number)))
            # Dropout draws from one generator, and threads would draw from it in any order.
            mapped = map if self.config.threads == 1 or self.network.config.dropout or self.on_gpu else pool.map
            self.network.train()
            loss = 0.0
            for chosen in torch.randperm(self.rows.count, generator=generator).split(self.batch):
                masked = torch.rand(len(chosen), self.head.fields, generator=generator) < self.config.masked
                loss += self._update(chosen, masked, mapped) * len(chosen)
            self.losses.append(loss / self.rows.count)
            self.scores.append(self._held_out_loss(mapped))
        if self._best == len(self.scores):
            self.best = [p.clone() for p in self.average]

    def finish(self) -> PretrainingLog:
        """Put the best epoch's weights into the network, silence its own head, and return the log."""
        self._load(self.best)
        # Blocks that tell rows apart feed a random head with noise of more than one log-odd, which a few outcomes
        # cannot undo: on 2,000 rows with 3.7 % bads a head that starts at 0 is worth 0.03 of AUC.
        with torch.no_grad():
            for parameter in self.network.head.parameters():
                parameter.zero_()
        with one_thread_each(), ThreadPoolExecutor(self.config.threads) as pool:
            guessed, commonest = self._shares_guessed(map if self.on_gpu else pool.map)
        self.network.cpu()
        return PretrainingLog(tuple(self.losses), tuple(self.scores), self._best, self.step, guessed, commonest)

    def state(self) -> dict[str, Tensor]:
        """Return everything that later epochs depend on, as tensors by name (for safetensors)."""
        kept = {
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "scores": torch.tensor(self.scores, dtype=torch.float64),
            "steps": torch.tensor(self.step),
        }
        moments = self.optimizer.state_dict()["state"]
        for place, name in enumerate(self.learned):
            kept[f"weight/{name}"] = self.parameters[place].detach().cpu().clone()
            kept[f"average/{name}"] = self.average[place].cpu().clone()
            kept[f"best/{name}"] = self.best[place].cpu().clone()
            for moment in _MOMENTS if moments else ():
                kept[f"{moment}/{name}"] = moments[place][moment].cpu().clone()
        return kept

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned; raises `ModelError` where it belongs to another network."""
        try:
            weights, average, best = (
                [_like(state[f"{kind}/{name}"], p) for name, p in self.learned.items()]
                for kind in ("weight", "average", "best")
            )
            moments = {
                place: {moment: state[f"{moment}/{name}"] for moment in _MOMENTS}
                for place, name in enumerate(self.learned)
            }
            losses, scores, step = state["losses"].tolist(), state["scores"].tolist(), int(state["steps"])
        except (KeyError, ValueError) as error:
            raise ModelError(
                f"A pre-training goes on from a state of the same network: this one is not ({error}). Start it anew."
            ) from error
        self._load(weights)
        self.average, self.best, self.losses, self.scores, self.step = average, best, losses, scores, step
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})

    @property
    def _best(self) -> int:
        return len(self.scores) - int(np.argmin(self.scores[::-1]))

    def _update(self, chosen: Tensor, masked: Tensor, mapped: Mapped) -> float:
        """Take one step on these rows and return their loss; parts are summed in their order, whoever is first."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * schedule(self.step / self.total, self.config.warmup)
        count, loss = max(1, int(masked.sum())), 0.0
        self.optimizer.zero_grad()
        parts = math.ceil(len(chosen) / self.part)
        shares = mapped(self._gradients, chosen.chunk(parts), masked.chunk(parts), [count] * parts)
        for part_loss, gradients in shares:
            loss += part_loss
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
        if not math.isfinite(loss):
            raise ModelError(
                f"Pre-training must keep a finite loss: it is {loss} at step {self.step}. Lower the learning_rate."
            )
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(self.config.averaging, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        return loss

    def _gradients(self, part: Tensor, masked: Tensor, count: int) -> tuple[float, list[Tensor]]:
        """Return this part's share of the mean loss over `count` masked fields, and its gradients."""
        index, weight, masked = self._read(self.rows, part, masked)
        loss = self.head.loss(self._states(index, weight, masked), index, weight, masked) / count
        gradients = torch.autograd.grad(loss, self.parameters)
        # The fused optimiser reads a gradient's memory as if it were laid out like its parameter's.
        return float(loss.detach()), [gradient.contiguous() for gradient in gradients]

    def _read(self, rows: _Rows, part: Tensor, masked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return look-ups, weights and masks of these rows, where the network is."""
        places = part.to(self.device.device)
        index, weight = rows.index.index_select(0, places), rows.weight.index_select(0, places)
        return index, weight, masked.to(self.device.device)

    def _states(self, index: Tensor, weight: Tensor, masked: Tensor) -> Tensor:
        with self.device.autocast():
            states, _ = self.network.below(index, self.head.seen(weight, masked), blocks=self.network.depth)
        # The logits of thousands of table rows are summed: in fp32 whatever the blocks computed in.
        return states.float()

    def _held_out_loss(self, mapped: Mapped) -> float:
        current = [p.detach().clone() for p in self.parameters]
        self._load(self.average)
        self.network.train(False)
        losses = list(mapped(self._part_loss, *self._held_out_parts()))
        self._load(current)
        return float(sum(loss for loss, _ in losses) / max(1, sum(count for _, count in losses)))

    def _part_loss(self, part: Tensor, masked: Tensor) -> tuple[float, int]:
        index, weight, masked = self._read(self.held_out, part, masked)
        with torch.inference_mode():
            loss = self.head.loss(self._states(index, weight, masked), index, weight, masked)
        return float(loss), int(masked.sum())

    def _shares_guessed(self, mapped: Mapped) -> tuple[float, float]:
        usual = self.head.commonest(self.rows.index, self.rows.weight)

        def right(part: Tensor, masked: Tensor) -> tuple[int, int, int]:
            index, weight, masked = self._read(self.held_out, part, masked)
            with torch.inference_mode():
                guessed = self.head.guessed(self._states(index, weight, masked), index, weight)
                commonest = self.head.reads(index, weight, usual)
            return int((guessed & masked).sum()), int((commonest & masked).sum()), int(masked.sum())

        self.network.train(False)
        told = np.array(list(mapped(right, *self._held_out_parts()))).sum(axis=0)
        return float(told[0] / max(1, told[2])), float(told[1] / max(1, told[2]))

    def _held_out_parts(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the held-out rows in parts, with masks that are the same in every epoch."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "pre-training", "held-out"))
        masked = torch.rand(self.held_out.count, self.head.fields, generator=generator) < self.config.masked
        parts = math.ceil(self.held_out.count / self.part)
        return torch.arange(self.held_out.count).chunk(parts), masked.chunk(parts)

    def _load(self, weights: Iterable[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, weights, strict=True):
                parameter.copy_(value)


@dataclass(frozen=True)
class _Rows:
    index: Tensor
    weight: Tensor

    @classmethod
    def of(cls, lookups: Lookups, device: torch.device) -> _Rows:
        return cls(torch.from_numpy(lookups.index).to(device), torch.from_numpy(lookups.weight).to(device))

    @property
    def count(self) -> int:
        return len(self.index)


def _learned(network: RiskTransformer, head: Reconstruction) -> dict[str, nn.Parameter]:
    """Return the weights that guessing reaches: the table, the positions, the blocks, and the throw-away head."""
    idle = ("body.norm.", "head.")
    own = {name: p for name, p in network.named_parameters() if not name.startswith(idle)}
    return {**own, **{f"reconstruction.{name}": p for name, p in head.named_parameters()}}


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    if value.shape != parameter.shape:
        raise ValueError(f"{tuple(value.shape)} numbers instead of {tuple(parameter.shape)}")
    return value.to(parameter.device, copy=True)
