"""LeanRisk: take a costly risk model, make it lean, and measure what each step saved and what it cost in quality.

The names below are loaded on first use, so that importing the package costs nothing and a scoring host never loads
what only training needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leanrisk.core.dataset import Dataset as Dataset
    from leanrisk.core.schema import Schema as Schema
    from leanrisk.core.version import __version__ as __version__
    from leanrisk.models.image.distillation import distill_image as distill_image
    from leanrisk.models.image.scoring import ImageModel as ImageModel
    from leanrisk.models.losses import distillation_loss as distillation_loss
    from leanrisk.models.text.distillation import distill_text as distill_text
    from leanrisk.models.text.scoring import TextModel as TextModel
    from leanrisk.pipelines.estimators import LeanRiskClassifier as LeanRiskClassifier
    from leanrisk.pipelines.estimators import LeanRiskRegressor as LeanRiskRegressor
    from leanrisk.pipelines.pretrain import pretrain as pretrain
    from leanrisk.pipelines.recipe import Recipe as Recipe
    from leanrisk.pipelines.refresh import refresh as refresh
    from leanrisk.pipelines.shrink import shrink as shrink
    from leanrisk.pipelines.synthesize import generate_synthetic_data as generate_synthetic_data
    from leanrisk.registry.bundle import Bundle as Bundle
    from leanrisk.scenarios.run import run as run

_HOME = {
    "Bundle": "leanrisk.registry.bundle",
    "Dataset": "leanrisk.core.dataset",
    "ImageModel": "leanrisk.models.image.scoring",
    "LeanRiskClassifier": "leanrisk.pipelines.estimators",
    "LeanRiskRegressor": "leanrisk.pipelines.estimators",
    "Recipe": "leanrisk.pipelines.recipe",
    "Schema": "leanrisk.core.schema",
    "TextModel": "leanrisk.models.text.scoring",
    "__version__": "leanrisk.core.version",
    "distill_image": "leanrisk.models.image.distillation",
    "distill_text": "leanrisk.models.text.distillation",
    "distillation_loss": "leanrisk.models.losses",
    "generate_synthetic_data": "leanrisk.pipelines.synthesize",
    "pretrain": "leanrisk.pipelines.pretrain",
    "refresh": "leanrisk.pipelines.refresh",
    "run": "leanrisk.scenarios.run",
    "shrink": "leanrisk.pipelines.shrink",
}

__all__ = [
    "Bundle",
    "Dataset",
    "ImageModel",
    "LeanRiskClassifier",
    "LeanRiskRegressor",
    "Recipe",
    "Schema",
    "TextModel",
    "__version__",
    "distill_image",
    "distill_text",
    "distillation_loss",
    "generate_synthetic_data",
    "pretrain",
    "refresh",
    "run",
    "shrink",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'leanrisk' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
