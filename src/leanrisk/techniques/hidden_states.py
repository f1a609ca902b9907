"""Hidden states of a network that we taught: what a student may be given as a hint."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from leanrisk.core.errors import ModelError
from leanrisk.features.encoder import Encoder
from leanrisk.models.hint import Floats
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import predict_states
from leanrisk.techniques.base import Represent
from leanrisk.techniques.graph_model import load_lean
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.pretrained import FACTS, load_base

TRAINING = "training"


def hidden_states(folder: Path | str) -> Represent:
    """Return what gives the hidden states, float32 (rows, width), of the network in `folder` for raw rows.

    `folder`: a base that `leanrisk pretrain` wrote, or a bundle whose model is a network. Raises `ModelError` for
    another folder; what is returned raises `DataError` for rows without the columns that the network reads.
    """
    place = Path(folder)
    if (place / FACTS).is_file():
        base = load_base(place)
        return _represent(base.network, base.encoder)
    model = load_lean(place / TRAINING if (place / TRAINING).is_dir() else place)
    if not isinstance(model, LeanModel):
        raise ModelError(
            f"A hint comes from a network's hidden states: the model in '{place}' is of kind '{model.kind}'. Name a "
            "base or a bundle of a network."
        )
    return _represent(model.network, model.encoder)


def _represent(network: RiskTransformer, encoder: Encoder) -> Represent:
    def represent(frame: pl.DataFrame) -> Floats:
        return predict_states(network, encoder.lookups(encoder.inputs(frame)))

    return represent
