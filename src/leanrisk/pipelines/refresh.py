"""`refresh`: the cheap training round. The champion learns the newest rows; gates decide whether it is replaced."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import BundleError, ConfigError, DataError, Fault, LeanRiskError
from leanrisk.core.files import replacing_folder, write_json
from leanrisk.core.measurement import Cost
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.seeding import generator
from leanrisk.cost.meter import Meter
from leanrisk.evaluate.gates import GateConfig, GateResult, accepted, judge
from leanrisk.features.encoder import Encoder
from leanrisk.models.gbdt_fit import refit_gbdt
from leanrisk.pipelines.contender import Contender, asking, reading_of
from leanrisk.pipelines.job import Job
from leanrisk.pipelines.recipe import RefreshConfig
from leanrisk.pipelines.shrink import Shrunk
from leanrisk.registry.bundle import TRAINING, Bundle, write_bundle
from leanrisk.techniques.base import Bench, Candidate, Teacher
from leanrisk.techniques.lean_model import LeanModel

_SILENT = Silent()

PHASE = "refresh"
_STEP = "refresh"


@dataclass(frozen=True)
class Refreshed:
    """What a refresh led to: the candidate that stays, whether it is the new one, why, and what the round cost."""

    candidate: Candidate
    accepted: bool
    reason: str
    cost: Cost
    gates: tuple[dict[str, Any], ...]


def refreshed(job: Job, beaten: Contender, champion: Shrunk) -> Refreshed:
    """Return the run's own refresh: the champion, which has not seen the newest slice, learns it.

    The round's cost is that of everything it needs: the teacher fitted once with fixed parameters, the teaching, the
    calibration and the export. Where no lean model was accepted, the round is that single fit of the incumbent.
    """
    facts = job.checkpoint.done(_STEP)
    if facts is None:
        facts = _round(job, beaten, champion)
        job.checkpoint.finish(_STEP, facts)
    candidate = champion.candidate
    if facts["accepted"] and champion.model is not None:
        model = LeanModel.load(job.checkpoint.place(_STEP))
        candidate = replace(candidate, model=model, lineage=(*candidate.lineage, PHASE))
    return Refreshed(candidate, facts["accepted"], facts["reason"], Cost(**facts["cost"]), tuple(facts["gates"]))


def _round(job: Job, beaten: Contender, champion: Shrunk) -> dict[str, Any]:
    train, valid = job.parts.train, job.parts.valid
    with job.ledger.phase(PHASE) as phase:
        teacher = beaten.fitted(train, seed=job.seed)
        after = None
        if champion.model is not None:
            config = job.recipe.refresh.teach
            bench = Bench(
                train=config.rows(champion.newest, champion.older, seed=job.seed),
                valid=valid,
                teacher=Teacher(None, asking(teacher)) if beaten.params is not None else _opinions(beaten),
                measure=_unmeasured,
                seed=job.seed,
                progress=job.progress,
            )
            after = config.apply(champion.candidate, bench)
    if after is None:
        reason = "No lean model to refresh: a round is one fit of the incumbent with fixed parameters."
        return {"accepted": False, "reason": reason, "cost": asdict(phase.cost), "gates": []}
    kept, reason, gates = _verdict(champion.candidate, after, valid, job.recipe.gates, job.seed)
    if kept and isinstance(after.model, LeanModel):
        after.model.save(job.checkpoint.place(_STEP))
    return {
        "accepted": kept,
        "reason": reason,
        "cost": asdict(phase.cost),
        "gates": [gate.to_dict() for gate in gates],
    }


def _verdict(
    before: Candidate, after: Candidate, valid: Dataset, gates: GateConfig, seed: int
) -> tuple[bool, str, tuple[GateResult, ...]]:
    results = judge(
        valid.labels, before.model.predict(valid.frame), after.model.predict(valid.frame), config=gates, seed=seed
    )
    kept, reason = accepted(results, gates)
    return kept, reason if kept else f"The champion stays: {reason}", results


def refresh(
    bundle: Path | str,
    dataset: Dataset,
    *,
    out: Path | str,
    config: RefreshConfig | None = None,
    gates: GateConfig | None = None,
    seed: int = 0,
    progress: Progress = _SILENT,
) -> tuple[Bundle, dict[str, Any]]:
    """Return the bundle that stays after a round on new rows, written to `out/bundle`, and the verdict.

    30 % of the new rows judge, the others teach. A round that does not help leaves the champion's bundle unchanged and
    says so. Raises `DataError` for too few rows or one outcome, `BundleError` for a bundle without its training part.
    """
    champion, config = Bundle.load(bundle), config or RefreshConfig()
    model = _trainable(champion)
    train, valid = _parts(dataset, config, seed)
    candidate = Candidate(model.features, model, lineage=tuple(champion.manifest.facts["lineage"]))
    bench = Bench(
        train=train,
        valid=valid,
        teacher=_fitted_teacher(champion, model, train, seed),
        measure=_unmeasured,
        seed=seed,
        progress=progress,
    )
    with Meter() as meter:
        after = config.teach.apply(candidate, bench)
    kept, reason, results = _verdict(candidate, after, valid, gates or GateConfig(), seed)
    verdict = {
        "accepted": kept,
        "reason": reason,
        "rows": dataset.rows,
        "cost": asdict(meter.cost),
        "gates": [gate.to_dict() for gate in results],
    }
    stays = (
        _written(champion, after, Path(out) / "bundle", verdict) if kept else _copied(champion, Path(out) / "bundle")
    )
    write_json(Path(out) / "refresh.json", verdict)
    return stays, verdict


def _trainable(champion: Bundle) -> LeanModel:
    if not (champion.folder / TRAINING).is_dir():
        raise BundleError(
            f"A refresh starts from the champion's weights: '{champion.folder}' has no '{TRAINING}' folder. Use the "
            "bundle that the run wrote, not a copy made for scoring."
        )
    return LeanModel.load(champion.folder / TRAINING)


def _parts(dataset: Dataset, config: RefreshConfig, seed: int) -> tuple[Dataset, Dataset]:
    rows = dataset.labelled
    labels = rows.labels
    bads = int((labels == 1).sum())
    if rows.rows < config.min_rows or min(bads, rows.rows - bads) < 10:
        raise DataError(
            Fault(
                "too-few-new-rows",
                f"a refresh needs at least {config.min_rows} rows with outcomes, 10 of each: it has {rows.rows} with "
                f"{bads} bads.",
                "Wait for more outcomes; the champion is unchanged.",
            )
        )
    judged = generator(seed, "refresh-valid").random(rows.rows) < 0.3
    return rows.where(~judged), rows.where(judged)


def _fitted_teacher(champion: Bundle, model: LeanModel, train: Dataset, seed: int) -> Teacher:
    """Return LightGBM with the incumbent's parameters on the new rows, averaged with the champion's own opinion.

    The champion's half is what keeps the network from forgetting rows that the new file does not hold.
    """
    facts: Mapping[str, Any] = champion.manifest.facts["incumbent"]
    own = asking(model)  # type: ignore[arg-type]
    if facts["kind"] != "lightgbm" or facts["params"] is None:
        return Teacher(None, own)
    encoder = Encoder.fit(train)
    fresh = refit_gbdt(
        encoder.inputs(train.frame),
        train.labels,
        encoder.fields,
        reading_of(encoder),
        params=facts["params"],
        rounds=int(facts["rounds"]),
        seed=seed,
    )
    new = asking(fresh)
    return Teacher(None, lambda frame: (own(frame) + new(frame)) / 2)


def _written(champion: Bundle, after: Candidate, folder: Path, verdict: Mapping[str, Any]) -> Bundle:
    model = after.model
    if not isinstance(model, LeanModel):
        raise ConfigError("A refresh makes a lean model. Shrink the incumbent first.")
    stored = champion.reference_rows()
    return write_bundle(
        folder,
        graph=model.graph,
        encoder=model.encoder,
        schema=champion.schema,
        reference=stored,
        card={"features": list(model.features), "taught": model.facts, "refresh": dict(verdict)},
        facts={**champion.manifest.facts, "lineage": list(after.lineage), "parent": champion.digest},
        training=model.save,
    )


def _copied(champion: Bundle, folder: Path) -> Bundle:
    with replacing_folder(folder) as part:
        shutil.copytree(champion.folder, part, dirs_exist_ok=True)
    return Bundle.load(folder)


def _opinions(beaten: Contender) -> Teacher:
    return Teacher(None, asking(beaten.model))


def _unmeasured(candidate: Candidate) -> Any:
    raise LeanRiskError(f"A refresh is judged, not measured step by step: {candidate.lineage} asked for a measurement.")
