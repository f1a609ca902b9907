"""Lean networks in fp32, each taught by a tuned LightGBM on the training part of a book: what int8 starts from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.remembered.models import SEED, Effort, tuned
from benchmarks.runner import FOLDER
from leanrisk.core.dataset import Dataset
from leanrisk.core.progress import Progress
from leanrisk.core.schema import Kind
from leanrisk.core.seeding import generator
from leanrisk.data.load import load
from leanrisk.data.simulate.sme import simulate_sme, sme_schema
from leanrisk.data.split import SplitConfig, split
from leanrisk.models.training_config import TrainingConfig
from leanrisk.scenarios.catalogue import load_schema
from leanrisk.techniques.base import Bench, Candidate, unmeasured
from leanrisk.techniques.classroom import Classroom
from leanrisk.techniques.distill import Distill
from leanrisk.techniques.lean_model import LeanModel

PUBLIC: Mapping[str, tuple[str, str]] = {
    "sba": ("sba_loans/sba_balanced_30000.parquet", "sba_loans"),
    "taiwan": ("taiwan_credit_default/taiwan_credit.parquet", "taiwan_credit_default"),
    "give_me_some_credit": ("give_me_some_credit/cs_training.parquet", "give_me_some_credit"),
    "hmeq": ("hmeq_home_equity/hmeq.parquet", "hmeq_home_equity"),
}
_MOST_TRAIN, _MOST_TEST = 30_000, 40_000


@dataclass(frozen=True)
class Taught:
    """One book: the lean network in fp32, the bench that int8 is made on, the test part that nothing else sees."""

    name: str
    candidate: Candidate
    model: LeanModel
    bench: Bench
    test: Dataset


def taught_books(full: bool, progress: Progress) -> Iterator[Taught | str]:
    """Yield the books one by one; the name alone of one whose file is not on this machine."""
    folder = Path(os.environ.get("LEANRISK_DATA", FOLDER.parent.parent / "shared" / "data"))
    for name, (file, schema) in PUBLIC.items():
        if (folder / file).is_file():
            yield _taught(name, load(pl.read_parquet(folder / file), load_schema(schema)), "swift", full, progress)
        else:
            yield name
    rows, features = (20_000, 217) if full else (3_000, 40)
    book = load(simulate_sme(rows=rows, features=features, seed=7), sme_schema(features=features))
    yield _taught("simulated", book, "swift", full, progress)
    yield _taught("simulated_tiny", book, "tiny", full, progress)


def _taught(name: str, book: Dataset, preset: str, full: bool, progress: Progress) -> Taught:
    effort = Effort(trials=4, folds=3, epochs=6, copies=2) if full else Effort(trials=1, folds=2, epochs=2, copies=1)
    # Three tenths for the test: what int8 changes is small, and the interval should be, too.
    parts = split(book, SplitConfig(test_share=0.3), seed=SEED)
    train = _sample(parts.train.labelled, _MOST_TRAIN if full else 3000)
    valid, test = parts.valid.labelled, _sample(parts.open_test().labelled, _MOST_TEST)
    features = book.schema.features_of(Kind.NUMERIC, Kind.DATE, Kind.CATEGORY)
    with progress.track(f"{name}: tuning LightGBM"):
        teacher, incumbent = tuned(train.keeping(features), effort).lesson(train, folds=effort.folds, seed=SEED)
    bench = Bench(train, valid, teacher, unmeasured, SEED, progress=progress)
    training = TrainingConfig(epochs=effort.epochs, threads=1)
    step = Distill(preset=preset, training=training, classroom=Classroom(copies=effort.copies))
    candidate = step.apply(Candidate(features, incumbent), bench)
    assert isinstance(candidate.model, LeanModel)
    return Taught(name, candidate, candidate.model, bench, test)


def _sample(rows: Dataset, most: int) -> Dataset:
    if rows.rows <= most:
        return rows
    places = generator(SEED, "sample").permutation(rows.rows)[:most]
    places.sort()
    return rows.take(places)
