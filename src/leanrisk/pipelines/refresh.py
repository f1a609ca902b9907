"""`refresh`: the cheap training round. The champion learns the newest rows; gates decide whether it is replaced."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import BundleError, ConfigError, DataError, Fault, LeanRiskError
from leanrisk.core.files import replacing_folder, writable_folder, write_json
from leanrisk.core.measurement import Cost
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.seeding import generator
from leanrisk.core.version import __version__
from leanrisk.cost.meter import Meter
from leanrisk.evaluate.gates import GateConfig, GateResult, accepted, judge
from leanrisk.features.encoder import Encoder
from leanrisk.models.gbdt_fit import refit_gbdt
from leanrisk.pipelines.contender import Contender, asking, reading_of
from leanrisk.pipelines.job import BUNDLE, Job, digest_of
from leanrisk.pipelines.measure import measured
from leanrisk.pipelines.recipe import RefreshConfig
from leanrisk.pipelines.shrink import Shrunk
from leanrisk.registry.bundle import TRAINING, Bundle, check_replaceable, write_bundle
from leanrisk.techniques.base import Bench, Candidate, Teacher
from leanrisk.techniques.lean_model import LeanModel

_SILENT = Silent()

PHASE = "refresh"
_STEP = "refresh"
_JUDGES = 0.3


@dataclass(frozen=True)
class Refreshed:
    """What a refresh led to: the candidate that stays, whether it is the new one, why, and what the round cost.

    `cost` is None where there was no lean model to refresh; `done` is false where the round broke off. `before` and
    `after` are the champion's and the refreshed candidate's measurements on validation, as plain values.
    """

    candidate: Candidate
    accepted: bool
    reason: str
    cost: Cost | None = None
    gates: tuple[dict[str, Any], ...] = ()
    done: bool = False
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None

    @property
    def round_cost(self) -> Cost | None:
        """What each training round costs from now on; None where no whole lean round was measured."""
        return self.cost if self.done else None


def refreshed(job: Job, beaten: Contender, champion: Shrunk) -> Refreshed:
    """Return the run's own refresh: the champion, which has not seen the newest slice, learns it.

    The round's cost is that of everything it needs: the teachers fitted once with fixed parameters, the teaching, the
    calibration and the export. Where no lean model was accepted there is nothing to refresh, and nothing is measured.
    """
    candidate = champion.candidate
    if champion.model is None:
        return Refreshed(candidate, False, "No technique passed its gates: the incumbent stays, and nothing is saved.")
    facts = job.checkpoint.done(_STEP)
    if facts is None:
        facts = _round(job, beaten, champion)
        job.checkpoint.finish(_STEP, facts)
    if facts["accepted"]:
        model = LeanModel.load(job.checkpoint.place(_STEP))
        candidate = replace(candidate, model=model, lineage=(*candidate.lineage, PHASE))
    cost = Cost(**facts["cost"])
    return Refreshed(
        candidate,
        facts["accepted"],
        facts["reason"],
        cost,
        tuple(facts["gates"]),
        facts["done"],
        facts.get("before"),
        facts.get("after"),
    )


def _round(job: Job, beaten: Contender, champion: Shrunk) -> dict[str, Any]:
    try:
        with job.ledger.phase(PHASE) as phase:
            after = _taught(job, beaten, champion)
    except LeanRiskError as error:
        cost, reason = job.ledger.entries[-1].cost, f"The champion stays: it could not be refreshed. {error}"
        return {"accepted": False, "reason": reason, "cost": asdict(cost), "gates": [], "done": False}
    kept, reason, gates = _verdict(champion.candidate, after, job.parts.valid, job.recipe.gates, job.seed)
    if kept and isinstance(after.model, LeanModel):
        after.model.save(job.checkpoint.place(_STEP))
    return {
        "accepted": kept,
        "reason": reason,
        "cost": asdict(phase.cost),
        "gates": [gate.to_dict() for gate in gates],
        "done": True,
        "before": _measured(job, champion.candidate),
        "after": _measured(job, after),
    }


def _measured(job: Job, candidate: Candidate) -> dict[str, Any]:
    found = measured(candidate, job.parts.valid, config=job.recipe.measure, seed=job.seed, quick=True)
    return found.to_dict()


def _taught(job: Job, beaten: Contender, champion: Shrunk) -> Candidate:
    config = job.recipe.refresh.teach
    rows = config.rows(champion.newest, champion.older, seed=job.seed)
    if beaten.params is None:
        teacher = beaten.opinions(rows)
    else:
        # The teacher has seen these rows, so it is asked only about perturbed ones.
        teacher = Teacher(None, asking(*beaten.panel(job.parts.train, seed=job.seed)))
    bench = Bench(
        train=rows,
        valid=job.parts.valid,
        teacher=teacher,
        measure=_unmeasured,
        seed=job.seed,
        progress=job.progress,
    )
    return config.apply(champion.candidate, bench)


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
    says so. Raises `DataError` for too few rows or one outcome, `BundleError` for a bundle that cannot be taught,
    `OutputError` where something other than a bundle stands in its place.
    """
    champion, config = Bundle.load(bundle), config or RefreshConfig()
    model = _trainable(champion)
    train, valid = _parts(dataset, config, seed)
    folder = Path(out) / BUNDLE
    check_replaceable(folder)
    writable_folder(out)
    candidate = Candidate(model.features, model, lineage=tuple(champion.manifest.facts.get("lineage", ())))
    with Meter() as meter:
        bench = Bench(
            train=train,
            valid=valid,
            teacher=_fitted_teacher(champion, model, train, seed),
            measure=_unmeasured,
            seed=seed,
            progress=progress,
        )
        after = config.teach.apply(candidate, bench)
    kept, reason, results = _verdict(candidate, after, valid, gates or GateConfig(), seed)
    verdict = {
        "accepted": kept,
        "reason": reason,
        "rows": train.rows + valid.rows,
        "cost": asdict(meter.cost),
        "gates": [gate.to_dict() for gate in results],
    }
    facts = {"data": digest_of(dataset.frame), "seed": seed, "leanrisk": __version__}
    stays = _written(champion, after, folder, verdict, facts) if kept else _copied(champion, folder)
    write_json(Path(out) / "refresh.json", verdict)
    return stays, verdict


def _trainable(champion: Bundle) -> LeanModel:
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
    return model


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
    judged = np.zeros(rows.rows, dtype=np.bool_)
    rng = generator(seed, "refresh-valid")
    for outcome in (0, 1):
        places = rng.permutation(np.flatnonzero(labels == outcome))
        judged[places[: round(_JUDGES * places.size)]] = True
    return rows.where(~judged), rows.where(judged)


def _fitted_teacher(champion: Bundle, model: LeanModel, train: Dataset, seed: int) -> Teacher:
    """Return LightGBM with the incumbent's parameters on the new rows, averaged with the champion's own opinion.

    The champion's half is what keeps the network from forgetting rows that the new file does not hold. Without such
    parameters the champion, which has not seen the new rows, is the teacher, and their outcomes bring what is new.
    """
    facts: Mapping[str, Any] = champion.manifest.facts.get("incumbent", {})
    own = asking(model)
    if facts.get("kind") != "lightgbm" or facts.get("params") is None:
        return Teacher(own(train.frame), own)
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
    return Teacher(None, asking(model, fresh))


def _written(
    champion: Bundle, after: Candidate, folder: Path, verdict: Mapping[str, Any], facts: Mapping[str, Any]
) -> Bundle:
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
        facts={**champion.manifest.facts, **facts, "lineage": list(after.lineage), "parent": champion.digest},
        training=model.save,
    )


def _copied(champion: Bundle, folder: Path) -> Bundle:
    with replacing_folder(folder) as part:
        shutil.copytree(champion.folder, part, dirs_exist_ok=True)
    return Bundle.load(folder)


def _unmeasured(candidate: Candidate) -> Any:
    raise LeanRiskError(f"A refresh is judged, not measured step by step: {candidate.lineage} asked for a measurement.")
