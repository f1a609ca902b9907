"""From rows and a teacher to a taught, calibrated student: what `distill` and `refresh` have in common."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ModelError
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.seeding import derived_seed, generator
from leanrisk.features.encoder import Encoder
from leanrisk.models.calibration import Calibration, fit_calibration, standardising
from leanrisk.models.frontier import FreezeConfig
from leanrisk.models.hint import checked_hints
from leanrisk.models.lesson import Lesson, TaughtRows
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import predict_logits, train
from leanrisk.models.training_config import TrainingConfig
from leanrisk.models.training_loop import TrainingLog
from leanrisk.techniques.base import Ask, Represent, Teacher
from leanrisk.techniques.classroom import Classroom, Scale
from leanrisk.techniques.perturbed import perturbed_rows

_SILENT = Silent()
_LEAST_SPREAD = 0.01
"""Standard deviation of logits below which they are noise about one value."""

Floats = npt.NDArray[np.float32]


def teach(
    network: RiskTransformer,
    encoder: Encoder,
    rows: Dataset,
    teacher: Teacher,
    *,
    classroom: Classroom,
    training: TrainingConfig,
    scale: Scale,
    seed: int,
    objective: str = "binary",
    freeze: FreezeConfig | None = None,
    cache: Path | None = None,
    unlabelled: pl.DataFrame | None = None,
    represent: Represent | None = None,
    progress: Progress = _SILENT,
) -> TrainingLog:
    """Teach `network` in place on what `taught_rows` gives; return the log.

    `freeze` and `cache` as in `models.training.train`; `represent` gives the hints that `training.hint_weight` weighs.
    Raises `ModelError` as `taught_rows` does.
    """
    taught, stopping = taught_rows(
        encoder,
        rows,
        teacher,
        classroom=classroom,
        scale=scale,
        seed=seed,
        objective=objective,
        unlabelled=unlabelled,
        represent=represent,
    )
    lesson, held_out = (
        Lesson(encoder.lookups(part.inputs), part.targets, part.teacher, part.hints) for part in (taught, stopping)
    )
    # The loss averages its label part over the labelled rows alone, which copies make rare: weighed by their share, an
    # outcome counts as much as one opinion on its row.
    known = float(taught.known.mean())
    # The loop seeds torch's own generator; the caller's random numbers must not depend on that.
    with torch.random.fork_rng(devices=[]):
        return train(
            network,
            lesson,
            held_out=held_out,
            config=replace(training, label_weight=training.label_weight * known),
            seed=derived_seed(seed, "training"),
            objective=objective,
            freeze=freeze,
            cache=cache,
            progress=progress,
        )


def taught_rows(
    encoder: Encoder,
    rows: Dataset,
    teacher: Teacher,
    *,
    classroom: Classroom,
    scale: Scale,
    seed: int,
    objective: str = "binary",
    unlabelled: pl.DataFrame | None = None,
    represent: Represent | None = None,
) -> tuple[TaughtRows, TaughtRows]:
    """Return (what is learned, what only decides when to stop), for a student of any kind.

    Learned are the rows with their outcomes and the teacher's opinions, perturbed copies of them, and `unlabelled` rows
    of nobody known to be good or bad: the last two by the teacher's opinion alone; each with the hidden state that
    `represent` gives it. Raises `ModelError` for fewer than
    two rows of either outcome, or a teacher without opinions.
    """
    chosen = _stopping_rows(rows.labels, classroom.held_out, seed=seed, objective=objective)
    learned, stopped = rows.where(~chosen), rows.where(chosen)
    lessons = []
    if teacher.margins is not None:
        own = _lesson(encoder, learned, scale, teacher.margins[~chosen])
        lessons.append(own if represent is None else replace(own, hints=_states(represent, learned.frame)))
    if classroom.copies and teacher.ask is not None:
        copies = perturbed_rows(learned, copies=classroom.copies, share=classroom.swap, seed=seed)
        lessons.append(_asked(encoder, copies, teacher.ask, scale, objective, represent))
    if unlabelled is not None and unlabelled.height and teacher.ask is not None:
        lessons.append(_asked(encoder, unlabelled, teacher.ask, scale, objective, represent))
    if not lessons and teacher.ask is not None:
        raise ModelError(
            "A teacher that has seen the rows can only be asked about perturbed copies of them: classroom.copies is 0. "
            "Set it to 1 or more."
        )
    if not lessons:
        raise ModelError("A teacher must have opinions: this one has no scores and cannot be asked. Name another.")
    if teacher.margins is None and teacher.ask is not None:
        # A teacher that has seen these rows too is asked about copies of them: outcomes alone are too few to stop by.
        copies = perturbed_rows(stopped, copies=classroom.copies, share=classroom.swap, seed=seed)
        held_out = _asked(encoder, copies, teacher.ask, scale, objective)
    else:
        held_out = _lesson(encoder, stopped, scale, None if teacher.margins is None else teacher.margins[chosen])
    return TaughtRows.joined(lessons), held_out


def calibrated_logits(
    logits: Floats, labels: Floats, *, scale: Scale, seed: int, objective: str = "binary"
) -> Calibration:
    """Return the map from a student's logits on validation rows to probabilities; a regression's way back to its unit.

    A student that hardly tells these rows apart is only moved to their share of bads.
    """
    if objective != "binary":
        return standardising(scale.mean, scale.spread)
    fitted = fit_calibration(labels, logits, seed=seed)
    # A line through logits that all but agree is steep enough to blow their rounding up to a visible difference.
    return fitted if float(logits.std()) >= _LEAST_SPREAD else _levelled(labels, logits)


def calibrated(
    network: RiskTransformer, encoder: Encoder, valid: Dataset, *, scale: Scale, seed: int, objective: str
) -> Calibration:
    """Return the network's map from logit to probability, fitted on validation rows (see `calibrated_logits`)."""
    if objective != "binary":
        return standardising(scale.mean, scale.spread)
    logits = predict_logits(network, encoder.lookups(encoder.inputs(valid.frame)))
    return calibrated_logits(logits, valid.labels, scale=scale, seed=seed)


def _levelled(labels: Floats, logits: Floats) -> Calibration:
    share = (float(labels.sum()) + 1.0) / (labels.size + 2.0)
    level = math.log(share / (1.0 - share)) - float(logits.mean(dtype=np.float64))
    return Calibration(kind="level", intercept=level)


def _stopping_rows(labels: Floats, share: float, *, seed: int, objective: str) -> npt.NDArray[np.bool_]:
    """Return a mask of the rows that only decide when to stop: this share of each outcome, at least one, never all.

    Drawn by outcome, since where bads are scarce a plain draw could hold none, and no AUC could be told from it.
    """
    groups = [labels == 1, labels == 0] if objective == "binary" else [~np.isnan(labels)]
    rng = generator(seed, "held-out")
    chosen = np.zeros(labels.size, dtype=np.bool_)
    for group in groups:
        places = np.flatnonzero(group)
        if places.size < 2:
            what = "of each outcome" if objective == "binary" else "with a value"
            raise ModelError(f"Teaching needs at least 2 rows {what}: there are {places.size} of one. Bring more rows.")
        count = min(max(1, round(share * places.size)), places.size - 1)
        chosen[rng.permutation(places)[:count]] = True
    return chosen


def _lesson(encoder: Encoder, rows: Dataset, scale: Scale, margins: Floats | None) -> TaughtRows:
    opinions = None if margins is None else scale.down(margins)
    return TaughtRows(encoder.inputs(rows.frame), scale.down(rows.labels), opinions)


def _states(represent: Represent, frame: pl.DataFrame) -> Floats:
    return checked_hints(represent(frame), frame.height, "the teacher of the hints")


def _asked(
    encoder: Encoder,
    frame: pl.DataFrame,
    ask: Ask,
    scale: Scale,
    objective: str,
    represent: Represent | None = None,
) -> TaughtRows:
    opinion = scale.down(ask(frame))
    # In a regression such a row has no outcome of its own; the teacher's opinion stands in for it.
    outcome = opinion if objective == "regression" else np.full(frame.height, np.nan, dtype=np.float32)
    hints = None if represent is None else _states(represent, frame)
    return TaughtRows(encoder.inputs(frame), outcome, opinion, hints)
