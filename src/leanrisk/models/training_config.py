"""How a network is taught, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

from leanrisk.core.errors import ConfigError


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is taught; the defaults of `temperature` and the two weights are the source's.

    `epochs` is a limit: training stops when the held-out loss has not improved for `patience` epochs, and the best
    epoch's weights are kept. `hint_weight` counts where the lesson has a teacher's hidden states. `averaging` is the
    decay of the weights' moving average, 0 for none. The result does not depend on `threads`.
    """

    epochs: int = 8
    batch: int = 512
    learning_rate: float = 3e-3
    table_decay: float = 0.02
    body_decay: float = 0.01
    temperature: float = 2.0
    teacher_weight: float = 0.7
    label_weight: float = 0.3
    hint_weight: float = 0.0
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
        # Written so that NaN fails too.
        if not 0 <= self.hint_weight < float("inf"):
            raise ConfigError(
                f"training.hint_weight must be a number of at least 0: it is {self.hint_weight}. Correct it."
            )
        if not 0 <= self.averaging < 1 or not 0 <= self.warmup < 1:
            raise ConfigError("training.averaging and training.warmup must lie in [0, 1). Correct them.")
