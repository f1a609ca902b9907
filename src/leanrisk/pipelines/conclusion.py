"""The last gate of a run: the lean model that came out of it against the incumbent of today, on validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leanrisk.evaluate.gates import accepted, judge
from leanrisk.pipelines.contender import Contender
from leanrisk.pipelines.job import Job
from leanrisk.pipelines.measure import measured
from leanrisk.pipelines.newest_round import Refreshed
from leanrisk.pipelines.shrink import incumbent_candidate
from leanrisk.techniques.base import Candidate

_STEP = "final"


@dataclass(frozen=True)
class Conclusion:
    """The candidate that goes to the test part and is deployed, the gates, and the step of a refusal.

    Each technique was judged against the incumbent as fitted on the rows that it learned from; `gates` judge the whole
    against the incumbent of today, and are empty where no technique was accepted. `refusal` is an entry of
    result.json's `steps`, None where the lean model stays.
    """

    candidate: Candidate
    gates: tuple[dict[str, Any], ...] = ()
    refusal: dict[str, Any] | None = None


def concluded(job: Job, beaten: Contender, round_: Refreshed) -> Conclusion:
    """Return what the run ends with: a lean model that fails against today's incumbent makes way for it.

    Judged before the test part is opened, which then measures whichever stays.
    """
    lean = round_.candidate
    if lean.model is beaten.model:
        return Conclusion(lean)
    facts = job.checkpoint.done(_STEP)
    if facts is None:
        facts = _judged(job, beaten, lean)
        job.checkpoint.finish(_STEP, facts)
    gates = tuple(facts["gates"])
    if facts["accepted"]:
        return Conclusion(lean, gates)
    refusal = {key: value for key, value in facts.items() if key != "gates"}
    return Conclusion(incumbent_candidate(job, beaten), gates, refusal)


def _judged(job: Job, beaten: Contender, lean: Candidate) -> dict[str, Any]:
    valid, stays = job.parts.valid, incumbent_candidate(job, beaten)
    scores = (candidate.model.predict(valid.frame) for candidate in (stays, lean))
    results = judge(valid.labels, *scores, config=job.recipe.gates, seed=job.seed)
    kept, reason = accepted(results, job.recipe.gates)
    before, after = (None, None) if kept else (_measured(job, stays), _measured(job, lean))
    return {
        "technique": _STEP,
        "accepted": kept,
        "reason": reason if kept else f"The incumbent stays: against it as it is today, {reason}",
        "before": before,
        "after": after,
        "cost": None,
        "gates": [gate.to_dict() for gate in results],
    }


def _measured(job: Job, candidate: Candidate) -> dict[str, Any]:
    found = measured(candidate, job.parts.valid, config=job.recipe.measure, seed=job.seed, quick=True)
    return found.to_dict()
