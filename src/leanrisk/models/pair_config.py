"""How a teacher or its student is taught on texts or images, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from leanrisk.core.errors import ConfigError


@dataclass(frozen=True)
class PairConfig:
    """How one network of a pair is taught; the defaults of `temperature` and the two weights are the source's.

    Training ends after `epochs`, `steps` or `seconds` (the latter two: None for no limit), whichever comes first, or
    when the held-out loss has not improved for `patience` epochs; the best epoch's weights are kept. With a limit of
    seconds the numbers depend on the machine's speed. `hint_weight` counts where the lesson has the teacher's states.
    `precision` bf16 is for CPUs with AMX or AVX-512 BF16 and for GPUs: products alone are in bf16, weights stay fp32.
    `class_weights` weigh the outcomes by class, empty for equal weights; `clip` is the largest norm of a gradient.
    """

    epochs: int = 10
    steps: int | None = None
    seconds: float | None = None
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    patience: int = 3
    clip: float = 1.0
    temperature: float = 2.0
    teacher_weight: float = 0.7
    label_weight: float = 0.3
    hint_weight: float = 0.0
    class_weights: tuple[float, ...] = ()
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = 1

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.patience, self.threads) < 1:
            raise ConfigError("pair.epochs, batch, patience and threads must be at least 1. Raise them.")
        if (self.steps is not None and self.steps < 1) or (self.seconds is not None and not self.seconds > 0):
            raise ConfigError("pair.steps must be at least 1 and pair.seconds above 0, or None. Correct them.")
        if not 0 < self.learning_rate < 1 or not self.temperature > 0 or not self.clip > 0:
            raise ConfigError("pair.learning_rate must lie in (0, 1), temperature and clip above 0. Correct them.")
        if not 0 <= self.warmup < 1 or not self.weight_decay >= 0:
            raise ConfigError("pair.warmup must lie in [0, 1) and weight_decay must not be negative. Correct them.")
        weights = (self.teacher_weight, self.label_weight, self.hint_weight)
        if not all(weight >= 0 for weight in weights) or self.teacher_weight + self.label_weight == 0:
            raise ConfigError(
                "pair.teacher_weight, label_weight and hint_weight must not be negative, nor the first two both 0. "
                "Mend them."
            )
        if self.class_weights and not all(weight > 0 for weight in self.class_weights):
            raise ConfigError("pair.class_weights must all be above 0: a class of no weight is not learned. Mend them.")
        if self.precision not in ("fp32", "bf16"):
            raise ConfigError(f"pair.precision must be fp32 or bf16: it is {self.precision!r}. Choose one of them.")
