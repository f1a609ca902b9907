"""A conditional Wasserstein GAN with gradient penalty over rows of mixed types."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from leanrisk.core.errors import ModelError
from leanrisk.core.progress import Progress
from leanrisk.models.synthesis.material import Batches, Material, Shape
from leanrisk.models.synthesis.settings import GeneratorConfig

_PENALTY = 10.0
_KEPT = 0.99
_ADAPTING_RATE = 1e-3


Rows = npt.NDArray[np.int64]


class RowGenerator(nn.Module):
    """From noise and a condition to logits of codes and places: rows in (rows, total) and (rows, columns).

    A condition moves and stretches the noise before anything else: what tells a class from the others is a shift in a
    space whose structure all rows have taught.
    """

    def __init__(self, shape: Shape, config: GeneratorConfig) -> None:
        super().__init__()
        self.latent = config.latent
        self.move = nn.Linear(shape.told.total, 2 * config.latent)
        nn.init.zeros_(self.move.weight)
        nn.init.zeros_(self.move.bias)
        self.body = nn.Sequential(
            nn.Linear(config.latent + shape.told.total, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
        )
        self.codes = nn.Linear(config.width, shape.free.total)
        self.places = nn.Linear(config.width, shape.free.columns)

    def forward(self, noise: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and places in (0, 1)."""
        shift, stretch = self.move(told).chunk(2, dim=1)
        body = self.body(torch.cat([noise * torch.exp(0.5 * torch.tanh(stretch)) + shift, told], dim=1))
        return self.codes(body), torch.sigmoid(self.places(body))

    def draw(self, told: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return logits and places of new rows under these conditions."""
        logits, places = self(torch.randn(told.shape[0], self.latent, generator=rng), told)
        return logits, places


class Critic(nn.Module):
    """How real a row looks under its condition, (rows,)."""

    def __init__(self, shape: Shape, config: GeneratorConfig) -> None:
        super().__init__()
        width = shape.free.total + shape.free.columns + shape.told.total
        self.body = nn.Sequential(
            nn.Linear(width, config.width),
            nn.LeakyReLU(0.2),
            nn.Linear(config.width, config.width),
            nn.LeakyReLU(0.2),
            nn.Linear(config.width, 1),
        )

    def forward(self, seen: Tensor, told: Tensor) -> Tensor:
        """Return the critic's value of each row."""
        value: Tensor = self.body(torch.cat([seen, told], dim=1))
        return value.squeeze(1)


class Adversary:
    """A generator and its critic while they learn; what is kept is a running mean of the generator's weights.

    Source: Gulrajani et al. (2017), "Improved Training of Wasserstein GANs".
    """

    def __init__(self, shape: Shape, config: GeneratorConfig) -> None:
        self.shape, self.config = shape, config
        self.generator, self.critic = RowGenerator(shape, config), Critic(shape, config)
        self.mean = copy.deepcopy(self.generator)

    def learn(self, material: Material, rng: np.random.Generator, progress: Progress) -> None:
        """Learn rows of all conditions."""
        steps = self.config.batches(material.rows)
        self._learn(material, steps, self.config.rare, self.config.learning_rate, None, rng, progress)

    def adapt(self, material: Material, steps: int, rng: np.random.Generator, progress: Progress) -> None:
        """Learn what tells a condition's few rows from all others, and nothing else: its shift and stretch of noise."""
        self._learn(material, steps, 1.0, _ADAPTING_RATE, self.generator.move, rng, progress)

    def _learn(
        self,
        material: Material,
        steps: int,
        power: float,
        rate: float,
        part: nn.Module | None,
        rng: np.random.Generator,
        progress: Progress,
    ) -> None:
        moving = (part or self.generator).parameters()
        betas = (0.5, 0.9)
        of_generator = torch.optim.Adam(moving, lr=rate, betas=betas)
        of_critic = torch.optim.Adam(self.critic.parameters(), lr=rate, betas=betas)
        batches = Batches(material, self.config.batch, power, rng)
        with progress.track("teaching the generator", steps) as advance:
            for step in range(steps):
                for _ in range(self.config.critic_steps):
                    self._critic_step(material, batches.next(), of_critic)
                self._generator_step(material, batches.next(), of_generator)
                self._keep(step)
                advance(1)
        if not all(bool(torch.isfinite(weight).all()) for weight in self.mean.parameters()):
            raise ModelError("A generator's weights must stay numbers: they did not. Lower generator.learning_rate.")

    def _critic_step(self, material: Material, rows: Rows, optimizer: torch.optim.Optimizer) -> None:
        flat, ranks, told = material.batch(rows)
        real = torch.cat([flat, ranks], dim=1)
        with torch.no_grad():
            logits, places = self._proposed(told)
            codes = self.shape.free.drawn(logits)
            made = torch.cat([self.shape.free.one_hot(codes), self.shape.free.ranks(codes, places.numpy())], dim=1)
        share = torch.rand(real.shape[0], 1)
        between = (share * real + (1 - share) * made).requires_grad_(True)
        (slope,) = torch.autograd.grad(self.critic(between, told).sum(), between, create_graph=True)
        penalty = ((slope.norm(dim=1) - 1) ** 2).mean()
        value = self.critic(torch.cat([made, real]), torch.cat([told, told]))
        loss = value[: len(real)].mean() - value[len(real) :].mean() + _PENALTY * penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def _generator_step(self, material: Material, rows: Rows, optimizer: torch.optim.Optimizer) -> None:
        told = self.shape.told.one_hot(material.told[rows])
        logits, places = self._proposed(told)
        flat = self.shape.free.chosen(logits)
        made = torch.cat([flat, self.shape.free.soft_ranks(flat, places)], dim=1)
        loss = -self.critic(made, told).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def _proposed(self, told: Tensor) -> tuple[Tensor, Tensor]:
        logits, places = self.generator(torch.randn(told.shape[0], self.generator.latent), told)
        return logits, places

    def _keep(self, step: int) -> None:
        share = min(_KEPT, (step + 1) / (step + 10))
        with torch.no_grad():
            for kept, now in zip(self.mean.parameters(), self.generator.parameters(), strict=True):
                kept.mul_(share).add_(now, alpha=1 - share)
