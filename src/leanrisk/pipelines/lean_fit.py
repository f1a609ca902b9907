"""One lean model in one call: a LightGBM teacher, its out-of-fold opinions, a taught and calibrated network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError
from leanrisk.core.seeding import derived_seed, generator
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.models.gbdt_search import GbdtConfig, train_gbdt_full
from leanrisk.models.incumbent import Reading
from leanrisk.models.training_config import TrainingConfig
from leanrisk.techniques.base import Bench, Candidate, Teacher
from leanrisk.techniques.classroom import Classroom
from leanrisk.techniques.distill import Distill
from leanrisk.techniques.graph_model import GraphModel

_ROWS_PER_TRIAL = 200
_TAUGHT_ROWS = 4000
_STEPS_PER_EPOCH = 8


@dataclass(frozen=True)
class Effort:
    """How hard one fit works: search `trials` and `folds` of the teacher, perturbed `copies` and `epochs` of the pupil.

    What pays off depends on the number of rows: see `search` and `distill`.
    """

    preset: str = "swift"
    trials: int = 10
    folds: int = 3
    copies: int = 3
    epochs: int = 20
    threads: int = 1

    def search(self, rows: int) -> GbdtConfig:
        """Return the teacher's routine: at most one trial for every 200 rows, since fewer cannot tell trials apart."""
        trials = min(self.trials, max(1, rows // _ROWS_PER_TRIAL))
        return GbdtConfig(trials=trials, folds=self.folds, threads=self.threads)

    def distill(self, rows: int) -> Distill:
        """Return the technique, with more copies and smaller batches where rows are few.

        Copies are added up to 4,000 rows in all, or half as many copies as rows: a pupil of few rows learns little
        more than what it is asked.
        """
        copies = max(self.copies, min(_TAUGHT_ROWS // rows, rows // 2)) if self.copies else 0
        batch = min(256, max(16, rows * (1 + copies) // _STEPS_PER_EPOCH))
        return Distill(
            preset=self.preset,
            training=TrainingConfig(epochs=self.epochs, batch=batch, threads=self.threads),
            classroom=Classroom(copies=copies),
        )


def lean_fit(rows: Dataset, valid: Dataset, *, effort: Effort, objective: str, seed: int) -> GraphModel:
    """Return a lean model taught on `rows` and, for the objective "binary", calibrated on `valid`.

    Equal arguments give equal predictions. Raises `ModelError` where `rows` are too few to teach from.
    """
    technique, search = effort.distill(rows.rows), effort.search(rows.rows)
    encoder = Encoder.fit(rows, EncoderConfig(levels=500, min_level_rows=10))
    teacher = train_gbdt_full(
        encoder.inputs(rows.frame),
        rows.labels,
        encoder.fields,
        Reading(encoder.inputs, encoder.record),
        config=search,
        seed=derived_seed(seed, "teacher"),
        objective=objective,
    )

    def ask(frame: pl.DataFrame) -> npt.NDArray[np.float32]:
        return teacher.model.margin(encoder.inputs(frame)).astype(np.float32)

    bench = Bench(rows, valid, Teacher(teacher.oof.margin, ask), _unmeasured, seed, objective)
    model = technique.apply(Candidate(rows.features, teacher.model), bench).model
    assert isinstance(model, GraphModel)
    return model


def parts_to_teach_and_calibrate(rows: Dataset, share: float, *, seed: int) -> tuple[Dataset, Dataset]:
    """Return (rows to teach on, rows to calibrate on): this share of each outcome, at least one row, is held out.

    Where an outcome has fewer than three rows both parts are all rows, since teaching needs two of each.
    """
    rng = generator(seed, "calibration rows")
    held = np.zeros(rows.rows, dtype=np.bool_)
    for value in (0, 1):
        places = rng.permutation(np.flatnonzero(rows.labels == value))
        if places.size < 3:
            return rows, rows
        held[places[: min(max(1, round(share * places.size)), places.size - 2)]] = True
    return rows.where(~held), rows.where(held)


def _unmeasured(candidate: Candidate) -> NoReturn:
    raise ConfigError(
        f"An estimator's fit measures no candidate ({'/'.join(candidate.lineage) or 'the teacher'}): a technique that "
        "measures belongs into a recipe. Use leanrisk.shrink."
    )
