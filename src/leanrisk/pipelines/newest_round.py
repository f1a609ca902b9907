"""The run's own refresh: the champion, which has not seen the newest slice, learns it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from leanrisk.core.errors import LeanRiskError
from leanrisk.core.measurement import Cost
from leanrisk.pipelines.contender import Contender, asking
from leanrisk.pipelines.gpu_seconds import charge_gpu
from leanrisk.pipelines.job import Job
from leanrisk.pipelines.measure import measured
from leanrisk.pipelines.refresh import verdict_on
from leanrisk.pipelines.shrink import Shrunk
from leanrisk.techniques.base import Bench, Candidate, Teacher, unmeasured
from leanrisk.techniques.graph_model import GraphModel, load_lean

PHASE = "refresh"
_STEP = "refresh"


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
        model = load_lean(job.checkpoint.place(_STEP))
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
            charge_gpu(phase, after)
    except LeanRiskError as error:
        cost, reason = job.ledger.entries[-1].cost, f"The champion stays: it could not be refreshed. {error}"
        return {"accepted": False, "reason": reason, "cost": asdict(cost), "gates": [], "done": False}
    kept, reason, gates = verdict_on(champion.candidate, after, job.parts.valid, job.recipe.gates, job.seed)
    if kept and isinstance(after.model, GraphModel):
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
    teach, new, older = job.recipe.refresh.teach, champion.newest, champion.older
    rows = job.parts.train.keeping(champion.candidate.features)
    seeing = beaten.seeing(rows)
    if seeing.params is None and not seeing.others:
        teacher = beaten.opinions(new)
    else:
        # The teacher has seen these rows, so it is asked only about perturbed ones.
        teacher = Teacher(None, asking(*seeing.panel(rows, seed=job.seed)))
    bench = Bench(
        train=new,
        valid=job.parts.valid,
        teacher=teacher,
        measure=unmeasured,
        seed=job.seed,
        progress=job.progress,
    )
    return teach.apply(champion.candidate, bench, older=older)
