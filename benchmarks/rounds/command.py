"""What `leanrisk refresh` does with a champion's bundle, round after round: own teacher, kept rows, gates, bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.rounds.cohorts import Cohorts, Round
from leanrisk.core.measurement import Cost
from leanrisk.core.progress import Progress
from leanrisk.pipelines.contender import Contender
from leanrisk.pipelines.new_rows import joined, newest_time
from leanrisk.pipelines.recipe import RefreshConfig
from leanrisk.pipelines.refresh import refresh
from leanrisk.pipelines.replay import save_replay
from leanrisk.registry.bundle import TRAINING, Bundle, write_bundle
from leanrisk.registry.reference import reference_rows
from leanrisk.techniques.base import Candidate
from leanrisk.techniques.lean_model import LeanModel

_KEPT = RefreshConfig().keep


def champion_bundle(champion: Candidate, beaten: Contender, book: Cohorts, folder: Path) -> Bundle:
    """Return the champion's bundle as a run writes it: weights, kept rows, the incumbent's parameters."""
    model = champion.model
    if not isinstance(model, LeanModel):
        raise TypeError(f"a champion is lean: this one is {model.kind}")
    rows = book.train.keeping(model.features)

    def training(place: Path) -> None:
        model.save(place)
        save_replay(place, rows, keep=_KEPT, seed=0)

    return write_bundle(
        folder,
        graph=model.graph,
        encoder=model.encoder,
        schema=rows.schema,
        reference=reference_rows(model.encoder, seed=0),
        card={"features": list(model.features)},
        facts={
            "lineage": list(champion.lineage),
            "newest": newest_time(rows),
            "incumbent": {"kind": beaten.model.kind, "params": beaten.params, "rounds": beaten.rounds},
        },
        training=training,
    )


def commanded(
    champion: Path, this: Round, out: Path, progress: Progress
) -> tuple[Path, LeanModel, Cost, dict[str, Any]]:
    """Return the bundle that stays after the round, its model, the round's cost, and the verdict."""
    bundle, verdict = refresh(champion, joined(this.teach, this.judge), out=out, progress=progress)
    return bundle.folder, LeanModel.load(bundle.folder / TRAINING), Cost(**verdict["cost"]), verdict
