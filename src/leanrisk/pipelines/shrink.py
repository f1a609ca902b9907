"""`shrink`: the recipe's techniques folded over the incumbent, each measured and gated."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import LeanRiskError
from leanrisk.core.measurement import Cost, Measurement
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.schema import Kind
from leanrisk.cost.ledger import Entry, Label
from leanrisk.cost.rates import Quantity
from leanrisk.evaluate.gates import GateResult, accepted, judge
from leanrisk.models.incumbent import Incumbent
from leanrisk.pipelines.contender import Contender, contender, newest_slice
from leanrisk.pipelines.gpu_seconds import charge_gpu
from leanrisk.pipelines.job import BUNDLE, Job
from leanrisk.pipelines.measure import measured
from leanrisk.pipelines.packing import pack
from leanrisk.pipelines.publishing import replace_bundle
from leanrisk.pipelines.recipe import Recipe, Step
from leanrisk.registry.bundle import Bundle
from leanrisk.techniques.base import Bench, Candidate, Teacher
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.lean_model import LeanModel

_SILENT = Silent()

TEACHER, LABELS = "shrink: teacher", "labels"


@dataclass(frozen=True)
class StepRecord:
    """What one step of the recipe did: its verdict with the reason, and the candidate before and after."""

    technique: str
    accepted: bool
    reason: str
    before: Measurement
    after: Measurement | None
    cost: Cost | None
    gates: tuple[GateResult, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the step as result.json holds it."""
        return {
            "technique": self.technique,
            "accepted": self.accepted,
            "reason": self.reason,
            "before": self.before.to_dict(),
            "after": None if self.after is None else self.after.to_dict(),
            "cost": None if self.cost is None else asdict(self.cost),
            "gates": [gate.to_dict() for gate in self.gates],
        }


@dataclass(frozen=True)
class Shrunk:
    """The candidate that the gates let through, and the steps' records as plain values."""

    candidate: Candidate
    steps: tuple[dict[str, Any], ...]
    older: Dataset
    newest: Dataset

    @property
    def model(self) -> LeanModel | None:
        """The lean model, or None where no step was accepted and the incumbent stays."""
        return self.candidate.model if isinstance(self.candidate.model, LeanModel) else None


def shrink(
    dataset: Dataset,
    recipe: Recipe,
    *,
    out: Path | str,
    seed: int = 0,
    resume: bool = False,
    progress: Progress = _SILENT,
) -> Bundle | None:
    """Return the lean bundle made from `dataset`, written to `out/bundle`; None where no technique passed its gates.

    The test part stays closed. `out/work` keeps the finished steps, so that `resume` goes on after a cut. A bundle that
    an earlier run left in `out` does not outlive a shrink that makes none.
    """
    job = Job.open(dataset, recipe, out=out, seed=seed, resume=resume, progress=progress)
    beaten = contender(job)
    done = shrunk(job, beaten)
    if done.model is None:
        replace_bundle(job.out, None, aside=job.checkpoint.folder)
        return None
    card = {"steps": list(done.steps)}
    return pack(job, beaten, done.candidate, taught=done.older, folder=job.out / BUNDLE, card=card)


def shrunk(job: Job, beaten: Contender) -> Shrunk:
    """Return what the recipe's steps make of the incumbent; finished steps come from the checkpoint."""
    older, newest = newest_slice(job.parts.train, job.recipe.refresh.slice, seed=job.seed)
    _count_labels(job)
    fold = _Fold(job, beaten, older, incumbent_candidate(job, beaten))
    for step in job.recipe.steps:
        fold.take(step)
    return Shrunk(fold.candidate, tuple(fold.records), older, newest)


def _count_labels(job: Job) -> None:
    """Put the outcomes that a run needs into its ledger, once; what a label costs is what the rate card says."""
    if all(entry.phase != LABELS for entry in job.ledger.entries):
        rows = job.parts.train.rows + job.parts.valid.rows
        job.ledger.record(Entry(LABELS, Cost(0.0, 0.0, 0.0), Label.ENTERED, {Quantity.LABELS.value: rows}))


def incumbent_candidate(job: Job, beaten: Contender) -> Candidate:
    """Return the incumbent as the candidate that the steps start from, and that stays where none helps.

    Its features are those that an encoder reads; text and images need a model of their own.
    """
    return Candidate(job.dataset.schema.features_of(Kind.NUMERIC, Kind.DATE, Kind.CATEGORY), beaten.model)


class _Fold:
    """The candidate on its way through the steps."""

    def __init__(self, job: Job, beaten: Contender, older: Dataset, start: Candidate) -> None:
        self.job, self.beaten, self.older = job, beaten, older
        self.candidate = start
        self.records: list[dict[str, Any]] = []
        self._accepted: set[str] = set()
        self._lesson: tuple[Teacher, Incumbent] | None = None
        self._measured: tuple[Candidate, Measurement] | None = None

    def take(self, step: Step) -> None:
        """Try one step; what it did is recorded whatever the outcome."""
        if step.unless in self._accepted:
            return
        key = f"step-{step.label}"
        facts = self.job.checkpoint.done(key)
        if facts is None:
            facts = self._tried(step, key)
            self.job.checkpoint.finish(key, facts)
        elif facts["accepted"]:
            model = LeanModel.load(self.job.checkpoint.place(key))
            self.candidate = Candidate(
                self.candidate.features, model, lineage=(*self.candidate.lineage, step.technique)
            )
        if facts["accepted"]:
            self._accepted.add(step.label)
        self.records.append(facts)

    def _tried(self, step: Step, key: str) -> dict[str, Any]:
        before = self._measure(self.candidate)
        try:
            bench, rival = self._prepared()
            with self.job.ledger.phase(f"shrink: {step.label}") as phase:
                after = technique(step.technique, step.settings).apply(self.candidate, bench)
                charge_gpu(phase, after)
        except LeanRiskError as error:
            entry: Entry = self.job.ledger.entries[-1]
            reason = f"The technique could not be applied: {error}"
            return StepRecord(step.label, False, reason, before, None, entry.cost).to_dict()
        results = self._judged(after, rival)
        kept, reason = accepted(results, self.job.recipe.gates)
        record = StepRecord(step.label, kept, reason, before, self._measure(after), phase.cost, results)
        if kept:
            if isinstance(after.model, LeanModel):
                after.model.save(self.job.checkpoint.place(key))
            self.candidate = after
        return record.to_dict()

    def _judged(self, after: Candidate, rival: Incumbent) -> tuple[GateResult, ...]:
        """Judge against the incumbent as fitted on the very rows that the candidate learned from."""
        valid = self.job.parts.valid
        return judge(
            valid.labels,
            rival.predict(valid.frame),
            after.model.predict(valid.frame),
            config=self.job.recipe.gates,
            seed=self.job.seed,
        )

    def _prepared(self) -> tuple[Bench, Incumbent]:
        if self._lesson is None:
            with self.job.ledger.phase(TEACHER):
                self._lesson = self.beaten.lesson(
                    self.older, folds=self.job.recipe.incumbent.gbdt.folds, seed=self.job.seed
                )
        teacher, rival = self._lesson
        bench = Bench(
            train=self.older,
            valid=self.job.parts.valid,
            teacher=teacher,
            measure=self._measure,
            seed=self.job.seed,
            progress=self.job.progress,
        )
        return bench, rival

    def _measure(self, candidate: Candidate) -> Measurement:
        if self._measured is None or self._measured[0] is not candidate:
            found = measured(
                candidate, self.job.parts.valid, config=self.job.recipe.measure, seed=self.job.seed, quick=True
            )
            self._measured = (candidate, found)
        return self._measured[1]
