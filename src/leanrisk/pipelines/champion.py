"""The champion that a refresh starts from: a bundle whose network can be taught as the round asks."""

from __future__ import annotations

from leanrisk.core.errors import BundleError, ModelError
from leanrisk.pipelines.recipe import RefreshConfig
from leanrisk.registry.bundle import TRAINING, Bundle
from leanrisk.registry.shelf import BASE_FACT
from leanrisk.techniques.base import Candidate
from leanrisk.techniques.lean_model import LeanModel


def trainable(champion: Bundle, config: RefreshConfig) -> LeanModel:
    """Return the champion's lean model; asked before anything is written, and before a teacher is fitted in vain.

    Raises `BundleError` for a bundle without weights of its own or that predicts an amount, `ModelError` for damaged
    weights and for a method that its network does not have.
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
    model = LeanModel.load(champion.folder / TRAINING)
    if model.calibration.link == "identity":
        raise BundleError(
            f"A refresh is judged by how well good and bad are told apart: '{champion.folder}' predicts an amount. Fit "
            "it anew."
        )
    if config.teach.tuning(Candidate(model.features, model)).lora is not None and not model.network.depth:
        raise ModelError(
            f"LoRA adapts a transformer: '{champion.folder}' has the preset '{model.facts.get('preset')}', which is "
            "none. Give --method auto or all, or shrink with preset = 'tiny'."
        )
    return model
