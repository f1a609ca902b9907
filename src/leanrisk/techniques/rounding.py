"""A lean network in int8: how it is rounded the first time, and again after a later round has taught it."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from leanrisk.core.config import configured
from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError
from leanrisk.core.inputs import Lookups
from leanrisk.models.fake_quant import halve_vectors, input_steps, parts_of, plain_again, rounded_copy, rounding
from leanrisk.models.graph_proof import graph_proof
from leanrisk.models.norm_folding import fold_norms, hold_norms
from leanrisk.models.quantization import Arithmetic, Quantization
from leanrisk.models.training_config import TrainingConfig
from leanrisk.techniques.base import Bench
from leanrisk.techniques.classroom import Classroom, Scale
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.teaching import calibrated, teach

Route = Literal["static", "qat", "dynamic"]

FEW_EPOCHS = TrainingConfig(epochs=2, learning_rate=1e-4, warmup=0.1, patience=1)
"""A taught network is only to settle among its codes: at the pace of a first teaching it would forget."""


@dataclass(frozen=True)
class Rounding:
    """One way into int8, as a bundle keeps it for its later rounds.

    `route` "static": weights are rounded as they are. "qat": the network is taught on, from the same teacher, while it
    answers as its codes will. `kept` are the parts that stay in float32; `rows` of the training rows show how far the
    inputs of each layer reach.
    """

    route: Route = "static"
    arithmetic: Arithmetic = "unpacked"
    kept: tuple[str, ...] = ()
    rows: int = 2000
    training: TrainingConfig = field(default_factory=lambda: FEW_EPOCHS)
    classroom: Classroom = field(default_factory=Classroom)


def in_int8(model: LeanModel, bench: Bench, how: Rounding, *, scale: Scale, **facts: Any) -> LeanModel:
    """Return the model with its graph in int8, calibrated anew on the bench's validation rows.

    Its network holds the weights that were rounded; an adapter that it had is part of them from now on. Raises
    `ModelError` where there are too few rows to calibrate by, or as `teach` does; `ConfigError` where no part is left.
    """
    parts = tuple(part for part in parts_of(model.network) if part not in how.kept)
    if not parts:
        raise ConfigError(
            "int8 needs at least one part of the network: all are kept in fp32. Name fewer in quantize.kept."
        )
    network = copy.deepcopy(model.network)
    fold_norms(network)
    halve_vectors(network)
    steps = {}
    if how.arithmetic == "int8":
        steps = input_steps(network, calibration_rows(model, bench.train, how.rows), parts)
    plan = Quantization(parts, how.arithmetic, steps, how.route, asdict(how))
    if how.route == "qat":
        hold_norms(network, still=True)
        rounding(network, plan)
        log = teach(
            network,
            model.encoder,
            bench.train,
            bench.teacher,
            classroom=how.classroom,
            training=how.training,
            scale=scale,
            seed=bench.seed,
            objective=bench.objective,
            progress=bench.progress,
        )
        plain_again(network, plan)
        hold_norms(network, still=False)
        halve_vectors(network)
        facts = {"qat_steps": log.steps, "gpu_s": model.facts.get("gpu_s", 0.0) + round(log.gpu_s, 3), **facts}
    shown = rounded_copy(network, plan)
    map_ = calibrated(shown, model.encoder, bench.valid, scale=scale, seed=bench.seed, objective=bench.objective)
    return LeanModel.exported(
        model.encoder, network, map_, like=bench.valid.frame, plan=plan, **{**model.facts, **facts}
    )


def in_int8_again(model: LeanModel, before: LeanModel, bench: Bench, *, scale: Scale) -> LeanModel:
    """Return a freshly taught model in int8 as the one `before` was, or as it is where that was none."""
    if before.plan is None:
        return model
    how = configured(Rounding, before.plan.settings, where="quantization")
    after = in_int8(model, bench, how, scale=scale)
    told = {**model.facts.get("int8", {}), "bytes": after.size_bytes, "proof": graph_proof(after.graph)}
    return replace(after, facts={**after.facts, "int8": told})


def calibration_rows(model: LeanModel, rows: Dataset, count: int) -> Lookups:
    """Return the look-ups of up to `count` rows, spread over all of them."""
    places = np.unique(np.linspace(0, rows.rows - 1, min(rows.rows, count)).astype(np.int64))
    return model.encoder.lookups(model.encoder.inputs(rows.take(places).frame))
