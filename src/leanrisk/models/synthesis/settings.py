"""How a generator learns: which kind it is, how wide, how long."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from leanrisk.core.errors import ConfigError


class Kind(StrEnum):
    """A kind of generator: an adversarial one, or a variational one."""

    GAN = "gan"
    VAE = "vae"


@dataclass(frozen=True)
class GeneratorConfig:
    """Settings of a generator; times over the rows are `epochs`, but at most `steps` batches.

    `rare`: the batches' share of rows of each condition grows with its count to this power, so that a rare class is
    seen: 1 is as in the rows, 0 alike. A shift of a class or a segment that `strength` rows speak for counts half.
    """

    kind: Kind = Kind.GAN
    width: int = 128
    latent: int = 32
    batch: int = 500
    epochs: int = 30
    steps: int = 2000
    learning_rate: float = 1e-3
    critic_steps: int = 1
    rare: float = 0.5
    strength: float = 20.0

    def __post_init__(self) -> None:
        for name in ("width", "latent", "batch", "epochs", "steps", "critic_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"generator.{name} must be at least 1: it is {getattr(self, name)}. Raise it.")
        if self.learning_rate <= 0 or not 0 <= self.rare <= 1 or self.strength < 0:
            raise ConfigError(
                "generator.learning_rate must be above 0, rare in [0, 1], strength 0 or more. Correct them."
            )

    def batches(self, rows: int) -> int:
        """Return how many batches are learned of a table of so many rows."""
        return max(1, min(self.steps, self.epochs * -(-rows // self.batch)))
