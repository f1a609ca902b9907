"""Incumbent and lean champion of a book's past: pre-trained on its rows, then taught by the incumbent."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rounds.cohorts import Cohorts
from leanrisk.core.progress import Progress
from leanrisk.core.schema import Kind
from leanrisk.cost.meter import Meter
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.models.gbdt_search import GbdtConfig, train_gbdt_full
from leanrisk.models.pretraining import PretrainingConfig
from leanrisk.models.training_config import TrainingConfig
from leanrisk.pipelines.contender import Contender, reading_of
from leanrisk.pipelines.pretrain import pretrain
from leanrisk.techniques.base import Bench, Candidate, Teacher, unmeasured
from leanrisk.techniques.classroom import Classroom
from leanrisk.techniques.distill import Distill

TREES = EncoderConfig(levels=500, min_level_rows=10)
"""How trees read a book: as a run does."""


@dataclass(frozen=True)
class Effort:
    """How long the incumbent's search and the champion's making may take, and how finely numbers are read."""

    trials: int = 30
    pretraining: int = 6
    epochs: int = 5
    copies: int = 2
    bins: int = 255


def incumbent_of(book: Cohorts, effort: Effort, *, seed: int) -> tuple[Contender, float]:
    """Return LightGBM after its full routine on the past, and the CPU-seconds of that."""
    encoder = Encoder.fit(book.train, TREES)
    with Meter() as meter:
        fit = train_gbdt_full(
            encoder.inputs(book.train.frame),
            book.train.labels,
            encoder.fields,
            reading_of(encoder),
            config=GbdtConfig(trials=effort.trials, folds=3),
            seed=seed,
        )
    return Contender(fit.model, encoder, fit.params, fit.rounds), meter.cost.cpu_s


def champion_of(
    book: Cohorts, beaten: Contender, preset: str, effort: Effort, *, teacher: Teacher, seed: int, progress: Progress
) -> Candidate:
    """Return the lean model of the past; a transformer starts from a base that was pre-trained on the same rows."""
    schema = book.train.schema
    features = schema.features_of(Kind.NUMERIC, Kind.DATE, Kind.CATEGORY)
    bench = Bench(book.train, book.valid, teacher, unmeasured, seed, progress=progress)
    training = TrainingConfig(epochs=effort.epochs)
    classroom = Classroom(copies=effort.copies)
    start = Candidate(features, beaten.model)
    if preset == "swift":
        return Distill(preset=preset, training=training, classroom=classroom).apply(start, bench)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        pretrain(
            book.train,
            out=base,
            preset=preset,
            encoder=EncoderConfig(bins=effort.bins),
            config=PretrainingConfig(epochs=effort.pretraining),
            seed=seed,
            progress=progress,
        )
        return Distill(base=str(base), training=training, classroom=classroom).apply(start, bench)
