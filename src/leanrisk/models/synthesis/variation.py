"""A variational autoencoder over rows of mixed types, whose latent space knows each condition's place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from leanrisk.core.errors import ModelError
from leanrisk.core.progress import Progress
from leanrisk.models.synthesis.material import Batches, Material, Shape
from leanrisk.models.synthesis.number_code import FEWEST
from leanrisk.models.synthesis.settings import GeneratorConfig

_PULL = 0.2
_BLOCK = 4096
_SPREAD_ROWS = 5.0
_KERNELS, _ROWS_PER_KERNEL = 8, 8
_HALF_SHIFT = 4.0
_TIGHTEST = 0.1


class RowDecoder(nn.Module):
    """From a latent point to logits of codes and places; and where the rows of each condition lie.

    A condition moves the mean of the latent points, which is learned by ridge regression on the one-hot conditions: one
    that few rows speak for is drawn towards all. `root`: a square root of the covariance around that mean, shared by
    all; so a class of 25 rows borrows its structure from the others and brings a shift of its own. A class that was
    adapted to lies around up to eight `kernels` (8, latent + 1): means of five rows or more, and the share of each.
    """

    centre: Tensor
    effect: Tensor
    root: Tensor
    kernels: Tensor
    tight: Tensor

    def __init__(self, shape: Shape, config: GeneratorConfig) -> None:
        super().__init__()
        self.latent = config.latent
        self.body = nn.Sequential(
            nn.Linear(config.latent, config.width), nn.SiLU(), nn.Linear(config.width, config.width), nn.SiLU()
        )
        self.codes = nn.Linear(config.width, shape.free.total)
        self.places = nn.Linear(config.width, shape.free.columns)
        self.log_spread = nn.Parameter(torch.full((shape.free.columns,), -1.2))
        self.register_buffer("centre", torch.zeros(config.latent))
        self.register_buffer("effect", torch.zeros(shape.told.total, config.latent))
        self.register_buffer("root", torch.eye(config.latent))
        self.register_buffer("kernels", torch.zeros(_KERNELS, config.latent + 1))
        self.register_buffer("tight", torch.ones(1))

    def forward(self, point: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and the mean of places."""
        body = self.body(point)
        return self.codes(body), torch.sigmoid(self.places(body))

    def draw(self, told: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return logits and places of new rows under these conditions."""
        noise = torch.randn(told.shape[0], self.latent, generator=rng)
        around, spread = self.centre + told @ self.effect, noise @ self.root.T
        if bool(self.kernels[:, -1].any()):
            kernel = torch.multinomial(self.kernels[:, -1], told.shape[0], replacement=True, generator=rng)
            around, spread = around + self.kernels[kernel, :-1], spread * self.tight
        logits, places = self(around + spread)
        wide = torch.randn(places.shape, generator=rng) * torch.exp(self.log_spread)
        return logits, torch.clamp(places + wide, 0.0, 1.0)


class Variation:
    """An encoder and its decoder while they learn.

    Source: Kingma, Welling (2014), "Auto-Encoding Variational Bayes".
    """

    def __init__(self, shape: Shape, config: GeneratorConfig) -> None:
        self.shape, self.config = shape, config
        self.encoder = nn.Sequential(
            nn.Linear(shape.free.total + shape.free.columns, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
            nn.Linear(config.width, 2 * config.latent),
        )
        self.mean = RowDecoder(shape, config)

    def learn(self, material: Material, rng: np.random.Generator, progress: Progress) -> None:
        """Learn rows of all conditions, then where the rows of each lie."""
        steps = self.config.batches(material.rows)
        weights = [*self.encoder.parameters(), *self.mean.parameters()]
        optimizer = torch.optim.Adam(weights, lr=self.config.learning_rate)
        batches = Batches(material, self.config.batch, self.config.rare, rng)
        with progress.track("teaching the generator", steps) as advance:
            for _ in range(steps):
                loss = self._loss(material, batches.next())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                advance(1)
        if not all(bool(torch.isfinite(weight).all()) for weight in weights):
            raise ModelError("A generator's weights must stay numbers: they did not. Lower generator.learning_rate.")
        self._place(material, rng)

    def adapt(self, material: Material, steps: int, rng: np.random.Generator, progress: Progress) -> None:
        """Learn where a condition's few rows lie; the decoder draws these alone from then on.

        They lie around the means of groups of them, each drawn towards the mean of all of them, and that towards where
        every row lies; the spread around a mean is that of all rows, as much tighter as theirs is.
        """
        points, told = self._points(material, rng)
        rest = points - self.mean.centre - told @ self.mean.effect
        shift = rest.mean(dim=0) * material.rows / (material.rows + _HALF_SHIFT)
        kernels = self.mean.kernels.zero_()
        usual = float((self.mean.root**2).sum())
        within = 0.0
        for place, members in enumerate(_groups(rest.numpy(), rng)):
            held = members.size / (members.size + 1.0)
            kernels[place, :-1] = shift + held * (rest[members].mean(dim=0) - shift)
            kernels[place, -1] = members.size / material.rows
            within += float(((rest[members] - rest[members].mean(dim=0)) ** 2).sum())
        share = (within + self.config.strength * usual) / (material.rows + self.config.strength) / usual
        self.mean.tight.fill_(min(1.0, max(_TIGHTEST, share)) ** 0.5)

    def _loss(self, material: Material, rows: npt.NDArray[np.int64]) -> Tensor:
        flat, ranks, _ = material.batch(rows)
        places, inside = material.places(rows)
        mean, log_var = self.encoder(torch.cat([flat, ranks], dim=1)).chunk(2, dim=1)
        logits, expected = self.mean(mean + torch.randn_like(mean) * torch.exp(0.5 * log_var))
        spread = self.mean.log_spread
        misplaced = (0.5 * ((places - expected) * torch.exp(-spread)) ** 2 + spread) * inside
        pull = 0.5 * (mean**2 + torch.exp(log_var) - 1.0 - log_var).sum(dim=1)
        loss: Tensor = (self.shape.free.surprise(logits, flat) + misplaced.sum(dim=1) + _PULL * pull).mean()
        return loss

    def _points(self, material: Material, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return latent points of the rows, drawn as in learning, and their conditions one-hot."""
        found, conditions = [], []
        with torch.no_grad():
            for start in range(0, material.rows, _BLOCK):
                flat, ranks, told = material.batch(np.arange(start, min(start + _BLOCK, material.rows)))
                mean, log_var = self.encoder(torch.cat([flat, ranks], dim=1)).chunk(2, dim=1)
                noise = torch.from_numpy(rng.standard_normal(tuple(mean.shape)).astype(np.float32))
                found.append(mean + noise * torch.exp(0.5 * log_var))
                conditions.append(told)
        return torch.cat(found), torch.cat(conditions)

    def _place(self, material: Material, rng: np.random.Generator) -> None:
        points, told = self._points(material, rng)
        centre = points.mean(dim=0)
        gram = told.T @ told + self.config.strength * torch.eye(told.shape[1])
        effect = torch.linalg.solve(gram, told.T @ (points - centre)) if told.shape[1] else self.mean.effect
        rest = points - centre - told @ effect
        covariance = (rest.T @ rest + _SPREAD_ROWS * torch.eye(self.mean.latent)) / (points.shape[0] + _SPREAD_ROWS)
        self.mean.centre.copy_(centre)
        self.mean.effect.copy_(effect)
        self.mean.root.copy_(torch.linalg.cholesky(covariance))


def _groups(points: npt.NDArray[np.float32], rng: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """Return the rows of up to eight groups near each other, none of fewer than five rows unless there are fewer."""
    from sklearn.cluster import KMeans

    count = min(_KERNELS, max(1, points.shape[0] // _ROWS_PER_KERNEL))
    seed = int(rng.integers(2**31))
    while count > 1:
        labels = KMeans(count, n_init=3, random_state=seed).fit_predict(points)
        if np.bincount(labels, minlength=count).min() >= FEWEST:
            return [np.flatnonzero(labels == place) for place in range(count)]
        count -= 1
    return [np.arange(points.shape[0])]
