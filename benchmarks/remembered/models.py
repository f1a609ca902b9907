"""The four models of a book: LightGBM and the lean network, each without the memory and with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.remembered.books import FAMILIES, Book
from leanrisk.core.dataset import Dataset
from leanrisk.core.progress import Progress
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.models.gbdt_search import GbdtConfig, train_gbdt_full
from leanrisk.models.training_config import TrainingConfig
from leanrisk.pipelines.contender import Contender, reading_of
from leanrisk.techniques.base import Bench, Candidate, unmeasured
from leanrisk.techniques.classroom import Classroom
from leanrisk.techniques.distill import Distill

TREES = EncoderConfig(levels=500, min_level_rows=10)
"""How trees read a book: as a run does."""
SEED = 0

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Effort:
    """How long the search of LightGBM and the teaching of the network may take, and how finely the network reads."""

    trials: int = 12
    folds: int = 3
    epochs: int = 6
    copies: int = 2
    bins: int = 48


def tuned(rows: Dataset, effort: Effort) -> Contender:
    """Return LightGBM after its full routine on the features of these rows."""
    encoder = Encoder.fit(rows, TREES)
    config = GbdtConfig(trials=effort.trials, folds=effort.folds)
    inputs = encoder.inputs(rows.frame)
    fit = train_gbdt_full(inputs, rows.labels, encoder.fields, reading_of(encoder), config=config, seed=SEED)
    return Contender(fit.model, encoder, fit.params, fit.rounds)


def without_memory(book: Book, effort: Effort) -> Contender:
    """Return the tuned LightGBM that sees no fact: what every other model is compared with."""
    return tuned(book.train.keeping(book.plain), effort)


def with_facts(book: Book, beaten: Contender, facts: Sequence[str]) -> Scores:
    """Return test scores of LightGBM with these facts too and the same parameters: what the technique `memory` fits."""
    rows = book.train.keeping((*book.plain, *facts))
    return beaten.seeing(rows).fitted(rows, seed=SEED).predict(book.test.frame)


def lean(book: Book, beaten: Contender, facts: Sequence[str], effort: Effort, progress: Progress) -> Scores:
    """Return test scores of the lean network with these facts, taught by LightGBM with the same ones."""
    features = (*book.plain, *facts)
    rows, valid = book.train.keeping(features), book.valid.keeping(features)
    teacher, model = beaten.seeing(rows).lesson(rows, folds=effort.folds, seed=SEED)
    bench = Bench(rows, valid, teacher, unmeasured, SEED, progress=progress)
    training, classroom = TrainingConfig(epochs=effort.epochs), Classroom(copies=effort.copies)
    taught = Distill(preset="swift", encoder=EncoderConfig(bins=effort.bins), training=training, classroom=classroom)
    return taught.apply(Candidate(features, model), bench).model.predict(book.test.frame)


def families(book: Book, beaten: Contender) -> dict[str, Scores]:
    """Return test scores of LightGBM with one family of facts alone, for each that the book has."""
    held = {name: book.family(name) for name in FAMILIES}
    return {name: with_facts(book, beaten, facts) for name, facts in held.items() if facts}
