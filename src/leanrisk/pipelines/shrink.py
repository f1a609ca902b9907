"""`shrink`: the recipe's techniques folded over the incumbent, each measured and gated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import LeanRiskError, ModelError
from leanrisk.core.measurement import Cost, Measurement
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.schema import Kind
from leanrisk.core.seeding import derived_seed
from leanrisk.cost.ledger import Entry, Label
from leanrisk.cost.rates import Quantity
from leanrisk.evaluate.fidelity import fidelity
from leanrisk.evaluate.gates import GateResult, accepted, judge
from leanrisk.models.gbdt import Gbdt, load_gbdt
from leanrisk.models.incumbent import Incumbent
from leanrisk.models.scorecard import Scorecard, load_scorecard
from leanrisk.pipelines.contender import Contender, contender, reading_of
from leanrisk.pipelines.gpu_seconds import charge_gpu
from leanrisk.pipelines.job import BUNDLE, Job
from leanrisk.pipelines.measure import measured
from leanrisk.pipelines.newest_slice import newest_slice
from leanrisk.pipelines.packing import pack
from leanrisk.pipelines.publishing import replace_bundle
from leanrisk.pipelines.recipe import Recipe, Step
from leanrisk.pipelines.teachers import plugged
from leanrisk.pipelines.unlabelled import unlabelled_rows
from leanrisk.registry.bundle import Bundle
from leanrisk.techniques.base import Bench, Candidate, Enrichment, Teacher
from leanrisk.techniques.catalogue import is_taught, technique
from leanrisk.techniques.graph_model import GraphModel, load_lean
from leanrisk.techniques.synthesize.arm import arm_of

_SILENT = Silent()

Scores = npt.NDArray[np.float64]

TEACHER, LABELS, REPLACED = "shrink: teacher", "labels", "labels that made rows replace"
_MUST_GAIN = frozenset({"memory", "text"})
"""What makes a model dearer to feed stays only where a bound says that it is better, not where it does no harm."""


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
    details: Mapping[str, Any] | None = None
    fidelity: Mapping[str, Any] | None = None
    student: str | None = None

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
            **({} if self.details is None else {"details": dict(self.details)}),
            **({} if self.fidelity is None else {"fidelity": dict(self.fidelity)}),
            **({} if self.student is None else {"student": self.student}),
        }


@dataclass(frozen=True)
class Shrunk:
    """The candidate that the gates let through, and the steps' records as plain values."""

    candidate: Candidate
    steps: tuple[dict[str, Any], ...]
    older: Dataset
    newest: Dataset

    @property
    def model(self) -> GraphModel | None:
        """The lean model, or None where no step was accepted and the incumbent stays."""
        return self.candidate.model if isinstance(self.candidate.model, GraphModel) else None


def shrink(
    dataset: Dataset,
    recipe: Recipe,
    *,
    out: Path | str,
    seed: int = 0,
    resume: bool = False,
    progress: Progress = _SILENT,
    teachers: Mapping[str, Any] | Sequence[Any] = (),
) -> Bundle | None:
    """Return the lean bundle made from `dataset`, written to `out/bundle`; None where no technique passed its gates.

    The test part stays closed. `out/work` keeps the finished steps, so that `resume` goes on after a cut. A bundle that
    an earlier run left in `out` does not outlive a shrink that makes none.

    `teachers`: objects with `predict_proba`, which teach beside the incumbent. One with `fit` and `get_params` is
    fitted anew on each fold; one without is asked as it is, and must not have learned from these rows.
    """
    others = plugged(teachers)
    job = Job.open(
        dataset,
        recipe,
        out=out,
        seed=seed,
        resume=resume,
        progress=progress,
        teachers=tuple(other.identity for other in others),
    )
    beaten = replace(contender(job), others=others)
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
    # A memory alone makes no lean model: where no network was accepted after it, the incumbent stays as it is.
    lean = isinstance(fold.candidate.model, GraphModel)
    candidate = fold.candidate if lean else incumbent_candidate(job, beaten)
    return Shrunk(candidate, tuple(fold.records), older, newest)


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
        self._rival: Incumbent | None = None
        self._lesson: tuple[tuple[tuple[str, ...], Enrichment | None], Teacher] | None = None
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
            self.candidate = self._taken_up(step, key, tuple(facts["features"]))
        if facts["accepted"]:
            self._accepted.add(step.label)
        self.records.append({name: told for name, told in facts.items() if name != "features"})

    def _taken_up(self, step: Step, key: str, features: tuple[str, ...]) -> Candidate:
        """Return the candidate that an accepted step of a run that was cut had made."""
        place, lineage = self.job.checkpoint.place(key), (*self.candidate.lineage, step.technique)
        if is_taught(step.technique):
            lean = load_lean(place)
            return replace(self.candidate, features=features, model=lean, precision=lean.precision, lineage=lineage)
        rows = self.older.keeping(features)
        load = load_scorecard if self.beaten.model.kind == "scorecard" else load_gbdt
        model = load(place, reading_of(self.beaten.seeing(rows).encoder))
        memory = self.job.memory if step.technique == "memory" else self.candidate.memory
        texts = self.candidate.texts
        if step.technique == "text" and self.job.texts is not None:
            texts = self.job.texts.keeping(features)
        told = replace(self.candidate, features=features, model=model, lineage=lineage, memory=memory, texts=texts)
        facts = self.job.checkpoint.done(key) or {}
        return replace(told, enrichment=arm_of(facts["details"])) if step.technique == "synthesize" else told

    def _tried(self, step: Step, key: str) -> dict[str, Any]:
        before = self._measure(self.candidate)
        try:
            bench, rival = self._prepared(step)
            with self.job.ledger.phase(f"shrink: {step.label}") as phase:
                if step.technique == "text" and self.job.unread:
                    raise ModelError(self.job.unread)
                after = technique(step.technique, step.settings).apply(self.candidate, bench)
                charge_gpu(phase, after)
        except LeanRiskError as error:
            entry: Entry = self.job.ledger.entries[-1]
            reason = f"The technique could not be applied: {error}"
            return StepRecord(step.label, False, reason, before, None, entry.cost).to_dict()
        scores = rival.predict(self.job.parts.valid.frame), after.model.predict(self.job.parts.valid.frame)
        results = self._judged(*scores)
        kept, reason = accepted(results, self.job.recipe.gates)
        if kept and step.technique in _MUST_GAIN and not any(gate.lo > 0 for gate in self._gain(after, results)):
            kept, reason = False, f"No gain was shown: {reason}"
        if after.objection:
            kept, reason = False, after.objection
        record = StepRecord(
            step.label,
            kept,
            reason,
            before,
            self._measure(after),
            phase.cost,
            results,
            after.details.get(step.technique),
            *self._followed(step, after, *scores),
        )
        if kept:
            self._count_replaced(after)
            if isinstance(after.model, GraphModel | Gbdt | Scorecard):
                after.model.save(self.job.checkpoint.place(key))
            self.candidate = after
        return {**record.to_dict(), "features": list(after.features)}

    def _count_replaced(self, after: Candidate) -> None:
        """Put into the ledger how many labelled bads the made ones stand for; a figure worked out, and no cost."""
        told = after.details.get("synthesize", {}).get("labels")
        if told is not None and after.enrichment is not self.candidate.enrichment:
            note = (
                f"made rows stand for {told['replaced']:.0f} further labelled bads beside the {told['bads']} there are"
            )
            self.job.ledger.record(Entry(REPLACED, Cost(0.0, 0.0, 0.0), Label.ESTIMATED, note=note))

    def _followed(
        self, step: Step, after: Candidate, old: Scores, new: Scores
    ) -> tuple[Mapping[str, Any] | None, str | None]:
        """Return how the student of a step that teaches follows the incumbent, and its kind."""
        if not is_taught(step.technique):
            return None, None
        return fidelity(self.job.parts.valid.labels, old, new), after.model.kind

    def _judged(self, before: Scores, after: Scores) -> tuple[GateResult, ...]:
        """Judge against the incumbent as fitted on the very rows that the candidate learned from."""
        valid = self.job.parts.valid
        return judge(valid.labels, before, after, config=self.job.recipe.gates, seed=self.job.seed)

    def _gain(self, after: Candidate, results: tuple[GateResult, ...]) -> tuple[GateResult, ...]:
        """Return the verdict on what this step's columns alone bring: over the same kind of model without them.

        An incumbent that was brought along is beaten by new trees that know nothing more, too; and what an earlier
        step brought is no gain of this one.
        """
        if self.beaten.params is not None and not self.candidate.computed:
            return results
        brought = set(after.features) - set(self.candidate.features)
        rows = self.older.keeping(name for name in after.features if name not in brought)
        blind = self.beaten.anew(rows).fitted(rows, seed=self.job.seed)
        valid = self.job.parts.valid.frame
        return self._judged(blind.predict(valid), after.model.predict(valid))

    def _refit(self, rows: Dataset, *, draw: int = 0) -> Incumbent:
        seed = derived_seed(self.job.seed, "refit", str(draw)) if draw else self.job.seed
        return self.beaten.seeing(rows).fitted(rows, seed=seed)

    def _prepared(self, step: Step) -> tuple[Bench, Incumbent]:
        teacher = self._teacher() if is_taught(step.technique) else Teacher(None)
        if self._rival is None:
            with self.job.ledger.phase(TEACHER):
                self._rival = self.beaten.fitted(self.older, seed=self.job.seed)
        bench = Bench(
            train=self.older,
            valid=self.job.parts.valid,
            teacher=teacher,
            measure=self._measure,
            seed=self.job.seed,
            progress=self.job.progress,
            refit=self._refit,
            memory=None if self.job.events is None else lambda: self.job.memory,
            texts=self.job.texts,
            unlabelled=unlabelled_rows(self.job),
            compare=partial(judge, config=self.job.recipe.gates, seed=self.job.seed),
            weighted=self._weighted
            if self.beaten.params is not None and self.beaten.model.kind == "lightgbm"
            else None,
        )
        return bench, self._rival

    def _weighted(self, rows: Dataset, weights: npt.NDArray[np.float32]) -> Gbdt:
        return self.beaten.seeing(rows).weighted(rows, weights, seed=self.job.seed)

    def _teacher(self) -> Teacher:
        """Return the teacher of the rows that reads what the candidate's features show, what is computed included.

        Where an accepted step enriches what models learn from, the teacher is fitted so; the rival is not.
        """
        seen, enriched = self.candidate.computed, self.candidate.enrichment
        if self._lesson is None or self._lesson[0] != (seen, enriched):
            rows = self.older.keeping(self.candidate.features) if seen else self.older
            with self.job.ledger.phase(TEACHER):
                teacher, fitted = replace(self.beaten.seeing(rows), enrichment=enriched).lesson(
                    rows, folds=self.job.recipe.incumbent.gbdt.folds, seed=self.job.seed
                )
            self._lesson = (seen, enriched), teacher
            if not seen and enriched is None:
                self._rival = fitted
        return self._lesson[1]

    def _measure(self, candidate: Candidate) -> Measurement:
        if self._measured is None or self._measured[0] is not candidate:
            found = measured(
                candidate, self.job.parts.valid, config=self.job.recipe.measure, seed=self.job.seed, quick=True
            )
            self._measured = (candidate, found)
        return self._measured[1]
