"""The recipe of a market-risk run: prices, how the walk goes, which models walk, and how the lean one learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from leanrisk.core.config import configured
from leanrisk.core.errors import ConfigError
from leanrisk.evaluate.traffic_light import DAYS
from leanrisk.features.encoder import EncoderConfig
from leanrisk.models.frontier import FreezeConfig
from leanrisk.models.training_config import TrainingConfig
from leanrisk.pipelines.recipe import Step, preset_of
from leanrisk.techniques.classroom import Classroom
from leanrisk.techniques.reteach import Reteach

LEAN = "lean"
Walker = Literal["har", "har-levels", "har-panel", "garch", "gjr", "lightgbm", "lean"]
PIPELINE = "market"


@dataclass(frozen=True)
class MarketData:
    """At most this many `assets` and the last `days` days, of a file (0: all) or simulated.

    `fear`: a file of an index of implied volatility, such as VIX.
    """

    assets: int = 30
    days: int = 2000
    fear: str | None = None

    def __post_init__(self) -> None:
        if self.assets < 0 or self.days < 0:
            raise ConfigError("data.assets and data.days must not be negative: 0 takes all of a file.")


@dataclass(frozen=True)
class WalkConfig:
    """How the walk goes forward, all in trading days.

    Models are first fitted on `first` days and again after every `refit_every`, on all days so far ("expanding") or on
    the last `first` ("rolling"). The first `burn_in` days of forecasts choose and calibrate; the test follows. Levels
    and tails rest on the last `residuals` days of forecasts that were out of sample when they were made.
    """

    first: int = 750
    burn_in: int = 250
    residuals: int = 500
    refit_every: int = 125
    window: Literal["expanding", "rolling"] = "expanding"

    def __post_init__(self) -> None:
        if self.first < DAYS or self.refit_every < 1:
            raise ConfigError(f"walk.first must be at least {DAYS} and walk.refit_every at least 1. Raise them.")
        if not 100 <= self.burn_in <= self.residuals:
            raise ConfigError(
                f"walk.burn_in must lie in 100..residuals ({self.residuals}), or a tail of 1 % has no value in it: it "
                f"is {self.burn_in}. Choose another number."
            )


@dataclass(frozen=True)
class LeanConfig:
    """How the lean model learns: `steps` at the first fit, `refit` after it; what follows "distill" runs every time."""

    steps: tuple[Step, ...] = field(default_factory=lambda: (Step("distill", SWIFT),))
    refit: Reteach = field(
        default_factory=lambda: Reteach(
            method="freeze",
            freeze=FreezeConfig(),
            training=TrainingConfig(epochs=3, batch=256, learning_rate=1e-3, warmup=0.1, averaging=0.9, threads=1),
            classroom=Classroom(copies=1),
        )
    )

    def __post_init__(self) -> None:
        if not self.steps or self.steps[0].technique != "distill":
            raise ConfigError("lean.steps must begin with 'distill', which makes the lean model. Put it first.")


SWIFT: Mapping[str, Any] = {
    "preset": "swift",
    "encoder": EncoderConfig(bins=16),
    "training": TrainingConfig(epochs=8, batch=512, threads=1),
    "classroom": Classroom(copies=1),
}


@dataclass(frozen=True)
class MarketRecipe:
    """What a market-risk run does; unknown keys are refused wherever they stand.

    `qlike_margin` is the rise of QLIKE, as a share of the best incumbent's on the burn-in, that a lean model may have.
    """

    name: str
    title: str = ""
    pipeline: str = PIPELINE
    data: MarketData = field(default_factory=MarketData)
    walk: WalkConfig = field(default_factory=WalkConfig)
    models: tuple[str, ...] = ("har", "har-levels", "har-panel", "garch", "gjr", "lightgbm")
    lean: LeanConfig = field(default_factory=LeanConfig)
    qlike_margin: float = 0.01
    limits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = [name for name in get_args(Walker) if name != LEAN]
        odd = [name for name in self.models if name not in known]
        if odd or not self.models or len(set(self.models)) < len(self.models):
            raise ConfigError(f"models must be some of {', '.join(known)}, each once: {list(self.models)}. Correct it.")
        if self.pipeline != PIPELINE:
            raise ConfigError(f"pipeline must be {PIPELINE!r} here: it is {self.pipeline!r}. Correct it.")
        if not 0 <= self.qlike_margin < 1:
            raise ConfigError(f"qlike_margin must lie in [0, 1): it is {self.qlike_margin}. Write 0.01, say.")

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], *, preset: str = "standard", changes: Sequence[str] = ()
    ) -> MarketRecipe:
        """Return the recipe in a plain mapping, as `Recipe.from_dict` does."""
        return configured(cls, preset_of(values, preset=preset, changes=changes), where="recipe")
