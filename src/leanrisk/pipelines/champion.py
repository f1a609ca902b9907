"""The champion that a refresh starts from: a bundle whose network can be taught as the round asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from leanrisk.core.config import configured
from leanrisk.core.errors import BundleError, ConfigError, ModelError
from leanrisk.evaluate.gates import GateConfig
from leanrisk.pipelines.recipe import RefreshConfig
from leanrisk.registry.bundle import TRAINING, Bundle
from leanrisk.registry.shelf import BASE_FACT
from leanrisk.techniques.base import Candidate
from leanrisk.techniques.graph_model import GraphModel, load_lean
from leanrisk.techniques.lean_model import LeanModel

T = TypeVar("T")

_REFRESH, _GATES = "refresh", "gates"


def settings_told(refresh: RefreshConfig, gates: GateConfig) -> dict[str, Any]:
    """Return the manifest facts from which later rounds take how they teach and judge, as plain values."""
    return {_REFRESH: asdict(refresh), _GATES: asdict(gates)}


def refresh_settings(champion: Bundle) -> RefreshConfig:
    """Return how the bundle's rounds are taught, the default where it does not say; raises `BundleError`."""
    return _told(champion, _REFRESH, RefreshConfig)


def gate_settings(champion: Bundle) -> GateConfig:
    """Return how the bundle's rounds are judged, the default where it does not say; raises `BundleError`."""
    return _told(champion, _GATES, GateConfig)


def trainable(champion: Bundle, config: RefreshConfig) -> GraphModel:
    """Return the champion's lean model; asked before anything is written, and before a teacher is fitted in vain.

    Raises `BundleError` for a bundle without weights of its own or that predicts an amount, `ModelError` for damaged
    weights and for a method that its network does not have, or that needs a network where there is none.
    """
    if BASE_FACT in champion.manifest.facts:
        raise BundleError(
            f"A refresh starts from a whole network: '{champion.folder}' is an adapter on a shelf. Start from the "
            "bundle that the adapter came from, or from the shelf's base, and add what comes out to the shelf."
        )
    if not (champion.folder / TRAINING).is_dir():
        raise BundleError(
            f"A refresh starts from the champion's weights: '{champion.folder}' has no '{TRAINING}' folder. Use the "
            "bundle that the run wrote, not a copy made for scoring."
        )
    model = load_lean(champion.folder / TRAINING)
    if model.calibration.link == "identity":
        raise BundleError(
            f"A refresh is judged by how well good and bad are told apart: '{champion.folder}' predicts an amount. Fit "
            "it anew."
        )
    if not isinstance(model, LeanModel):
        config.teach.check_anew(model)
        return model
    adapter = config.teach.tuning(Candidate(model.features, model)).adapter
    if adapter is not None and adapter.needs_blocks and not model.network.depth:
        raise ModelError(
            f"LoRA adapts the projections of a transformer: '{champion.folder}' has the preset "
            f"'{model.facts.get('preset')}', which has none. Give --method auto, all or lora (which adapts the field "
            "table), or shrink with preset = 'tiny'."
        )
    return model


def _told(champion: Bundle, key: str, cls: type[T]) -> T:
    values = champion.manifest.facts.get(key, {})
    try:
        if not isinstance(values, Mapping):
            raise ConfigError(f"{key} must be a table: it is {values!r}.")
        return configured(cls, values, where=key)
    except ConfigError as error:
        raise BundleError(
            f"A bundle tells how its rounds are taught and judged: the manifest of '{champion.folder}' cannot be read "
            f"({error}). Restore the bundle from its source, or shrink again."
        ) from error
