"""Who teaches a round that starts from a bundle: trees fitted on new and replayed rows, or the champion itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leanrisk.core.dataset import Dataset
from leanrisk.core.files import writable_folder
from leanrisk.core.seeding import derived_seed
from leanrisk.cost.ledger import Ledger
from leanrisk.features.encoder import Encoder
from leanrisk.models.gbdt import Gbdt, load_gbdt
from leanrisk.models.gbdt_fit import refit_gbdt, slim_gbdt
from leanrisk.pipelines.checkpoint import Checkpoint
from leanrisk.pipelines.contender import asking, reading_of
from leanrisk.pipelines.new_rows import NewRows, joined
from leanrisk.registry.bundle import Bundle
from leanrisk.techniques.base import Teacher
from leanrisk.techniques.graph_model import GraphModel

PHASE = "refresh: teacher"
_STEP = "teacher"
_PANEL = ("incumbent", "forest")


def teacher_of_round(
    champion: Bundle, model: GraphModel, rows: NewRows, *, checkpoint: Checkpoint, ledger: Ledger, seed: int
) -> Teacher:
    """Return LightGBM with the incumbent's parameters and a small forest, fitted on new and replayed rows.

    The same two teach a round inside a run. Where the older rows at hand are fewer than the new ones, the champion's
    own opinion joins in: it keeps the network from forgetting rows that neither file holds. Without such parameters the
    champion, which has not seen the new rows, is the teacher, and their outcomes bring what is new.
    """
    told: Mapping[str, Any] = champion.manifest.facts.get("incumbent", {})
    own, teach, older = asking(model), rows.teach, rows.older
    if told.get("kind") != "lightgbm" or told.get("params") is None:
        return Teacher(own(teach.frame), own)
    seen = joined(teach, older)
    encoder = Encoder.fit(seen)
    places = [checkpoint.place(_STEP) / name for name in _PANEL]
    if checkpoint.done(_STEP) is None:
        with ledger.phase(PHASE):
            fitted = _panel(seen, encoder, told, seed=seed)
        for trees, place in zip(fitted, places, strict=True):
            trees.save(writable_folder(place))
        checkpoint.finish(_STEP, {"rows": seen.rows})
    panel = [load_gbdt(place, reading_of(encoder)) for place in places]
    scarce = older is None or older.rows < teach.rows
    return Teacher(None, asking(*panel, model) if scarce else asking(*panel))


def _panel(rows: Dataset, encoder: Encoder, told: Mapping[str, Any], *, seed: int) -> tuple[Gbdt, Gbdt]:
    inputs, fields, reading = encoder.inputs(rows.frame), encoder.fields, reading_of(encoder)
    params, rounds = told["params"], int(told["rounds"])
    fresh = refit_gbdt(inputs, rows.labels, fields, reading, params=params, rounds=rounds, seed=seed)
    forest = slim_gbdt(inputs, rows.labels, fields, reading, seed=derived_seed(seed, "panel"))
    return fresh, forest
