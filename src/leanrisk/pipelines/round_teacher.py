"""Who teaches a round that starts from a bundle: trees fitted on new and replayed rows, or the champion itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.dataset import Dataset
from leanrisk.core.files import writable_folder
from leanrisk.core.progress import Silent
from leanrisk.core.seeding import derived_seed
from leanrisk.cost.ledger import Ledger
from leanrisk.features.encoder import Encoder
from leanrisk.models.gbdt import Gbdt, load_gbdt
from leanrisk.models.gbdt_fit import refit_gbdt, slim_gbdt
from leanrisk.pipelines.checkpoint import Checkpoint
from leanrisk.pipelines.contender import asking, reading_of
from leanrisk.pipelines.new_rows import NewRows, joined
from leanrisk.pipelines.packing import ENRICHMENT
from leanrisk.registry.bundle import Bundle
from leanrisk.techniques.base import Teacher, WeightedFit
from leanrisk.techniques.graph_model import GraphModel
from leanrisk.techniques.synthesize.arm import FEWEST_BADS, Arm, arm_of
from leanrisk.techniques.synthesize.search import Search

PHASE = "refresh: teacher"
_STEP = "teacher"
_PANEL = ("incumbent", "forest")
_FOLDS, _MOST = 3, 30_000
_FEWEST = 2 * FEWEST_BADS
"""Each of three folds must leave enough of them to the others."""


def teacher_of_round(
    champion: Bundle, model: GraphModel, rows: NewRows, *, checkpoint: Checkpoint, ledger: Ledger, seed: int
) -> Teacher:
    """Return LightGBM with the incumbent's parameters and a small forest, fitted on new and replayed rows.

    The same two teach a round inside a run. Where made rows taught the champion, they are made anew from these
    rows, and the trees calibrated anew; with too few bads for that they learn from real rows alone. Where the older
    rows at hand are fewer than the new ones, the champion's own opinion joins in: it keeps the network from
    forgetting rows that neither file holds. Without such parameters the champion, which has not seen the new rows,
    is the teacher, and their outcomes bring what is new.
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
            arm = _arm_of(champion, seen)
            fitted = _panel(seen, encoder, told, arm, seed=seed)
        for trees, place in zip(fitted, places, strict=True):
            trees.save(writable_folder(place))
        checkpoint.finish(_STEP, {"rows": seen.rows, "made": None if arm is None else arm.label})
    panel = [load_gbdt(place, reading_of(encoder)) for place in places]
    scarce = older is None or older.rows < teach.rows
    return Teacher(None, asking(*panel, model) if scarce else asking(*panel))


def made_of(checkpoint: Checkpoint) -> str | None:
    """Return which made rows the round's teacher learned from, None for none."""
    found: str | None = (checkpoint.done(_STEP) or {}).get("made")
    return found


def _arm_of(champion: Bundle, rows: Dataset) -> Arm | None:
    """Return how the champion's trees were helped, None where they were not or these rows hold too few bads for it."""
    told = champion.manifest.facts.get(ENRICHMENT)
    bads = int((rows.labels == 1).sum())
    return None if told is None or min(bads, rows.rows - bads) < _FEWEST else arm_of({"arm": told})


def _panel(
    rows: Dataset, encoder: Encoder, told: Mapping[str, Any], arm: Arm | None, *, seed: int
) -> tuple[Gbdt, Gbdt]:
    inputs, fields, reading = encoder.inputs(rows.frame), encoder.fields, reading_of(encoder)
    params, rounds = told["params"], int(told["rounds"])

    def fit(some: Dataset, weights: npt.NDArray[np.float32] | None = None) -> Gbdt:
        shown = inputs if some is rows else encoder.inputs(some.frame)
        return refit_gbdt(shown, some.labels, fields, reading, params=params, rounds=rounds, seed=seed, weights=weights)

    forest = slim_gbdt(inputs, rows.labels, fields, reading, seed=derived_seed(seed, "panel"))
    return fit(rows) if arm is None else _helped(arm, rows, fit, seed=seed), forest


def _helped(arm: Arm, rows: Dataset, fit: WeightedFit, *, seed: int) -> Gbdt:
    search = Search(rows, fit, folds=_FOLDS, most=_MOST, seed=seed, progress=Silent())
    trees: Gbdt = search.final(search.tried([arm])[0].arm, rows)
    return trees
