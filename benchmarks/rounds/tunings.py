"""One round of a lean champion under several ways to teach it, each timed, all taught by the same teacher."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.rounds.cohorts import Round
from leanrisk.core.measurement import Cost
from leanrisk.core.progress import Progress
from leanrisk.cost.meter import Meter
from leanrisk.pipelines.contender import Contender, asking
from leanrisk.techniques.base import Bench, Candidate, Teacher, unmeasured
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.reteach import Reteach


@dataclass(frozen=True)
class Tuned:
    """A champion after a round, and what teaching it has cost (without the teacher, which all ways share)."""

    candidate: Candidate
    cost: Cost

    @property
    def model(self) -> LeanModel:
        """The lean model."""
        assert isinstance(self.candidate.model, LeanModel)
        return self.candidate.model


def round_teacher(beaten: Contender, this: Round, *, seed: int) -> tuple[Teacher, Cost]:
    """Return the teachers of a refresh inside a run, fitted on all rows known, and what fitting them has cost."""
    with Meter() as meter:
        teacher = Teacher(None, asking(*beaten.panel(this.all_rows, seed=seed)))
    return teacher, meter.cost


def tuned(champion: Candidate, this: Round, teacher: Teacher, way: Reteach, *, seed: int, progress: Progress) -> Tuned:
    """Return the champion taught this round's cohort in one `way`, calibrated on the cohort's judges."""
    bench = Bench(this.teach, this.judge, teacher, unmeasured, seed, progress=progress)
    with Meter() as meter:
        after = way.apply(champion, bench, older=this.seen)
    return Tuned(replace(after, lineage=champion.lineage), meter.cost)
