"""From rows and a teacher to a taught, calibrated network: what `distill` and `refresh` have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.inputs import Lookups
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.seeding import derived_seed, generator
from leanrisk.features.encoder import Encoder
from leanrisk.models.calibration import Calibration, fit_calibration, standardising
from leanrisk.models.frontier import FreezeConfig
from leanrisk.models.lesson import Lesson
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import predict_logits, train
from leanrisk.models.training_config import TrainingConfig
from leanrisk.models.training_loop import TrainingLog
from leanrisk.techniques.base import Ask, Teacher
from leanrisk.techniques.perturbed import perturbed_rows

_SILENT = Silent()
_LEAST_SPREAD = 0.01
"""Standard deviation of logits below which they are noise about one value."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Classroom:
    """How much the teacher is asked: `copies` of the rows with a `swap` share of values from elsewhere.

    `held_out` is the share of rows that only decide when to stop.
    """

    copies: int = 3
    swap: float = 0.3
    held_out: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.copies <= 50:
            raise ConfigError(f"distill.copies must lie in 0..50: it is {self.copies}. Choose another number.")
        if not 0 < self.swap <= 1 or not 0 < self.held_out < 1:
            raise ConfigError("distill.swap must lie in (0, 1] and held_out in (0, 1). Correct them.")


@dataclass(frozen=True)
class Scale:
    """The unit of a regression target in the network: `(value - mean) / spread`; (0, 1) for log-odds.

    Log-variances keep their unit, which QLIKE is made for, about the logarithm of the mean variance.
    """

    mean: float = 0.0
    spread: float = 1.0

    @classmethod
    def of(cls, targets: Floats, objective: str) -> Scale:
        """Return the scale of these targets; a constant target keeps a spread of one.

        Raises `ModelError` for a regression without rows, or with an unknown amount.
        """
        if objective == "binary":
            return cls()
        if not targets.size or not np.isfinite(targets).all():
            unknown = int((~np.isfinite(targets)).sum())
            raise ModelError(
                f"A regression needs rows with known amounts: {unknown} of {targets.size} are unknown. Leave them out."
            )
        if objective == "variance":
            highest = float(targets.max())
            return cls(highest + math.log(float(np.exp(targets.astype(np.float64) - highest).mean())), 1.0)
        return cls(float(targets.mean()), float(targets.std()) or 1.0)

    def down(self, values: npt.NDArray[Any]) -> Floats:
        """Return the values in the network's unit."""
        return ((np.asarray(values, dtype=np.float64) - self.mean) / self.spread).astype(np.float32)


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
    progress: Progress = _SILENT,
) -> TrainingLog:
    """Teach `network` in place on `rows` and on perturbed copies that the teacher scores; return the log.

    `freeze` and `cache` as in `models.training.train`.
    Raises `ModelError` for fewer than two rows of either outcome, or a teacher without opinions.
    """
    chosen = _stopping_rows(rows.labels, classroom.held_out, seed=seed, objective=objective)
    learned, stopped = rows.where(~chosen), rows.where(chosen)
    lessons = []
    if teacher.margins is not None:
        lessons.append(_lesson(encoder, learned, scale, teacher.margins[~chosen]))
    if classroom.copies and teacher.ask is not None:
        lessons.append(_opinions(encoder, learned, teacher.ask, classroom, scale, seed=seed, objective=objective))
    if not lessons and teacher.ask is not None:
        raise ModelError(
            "A teacher that has seen the rows can only be asked about perturbed copies of them: classroom.copies is 0. "
            "Set it to 1 or more."
        )
    if not lessons:
        raise ModelError("A teacher must have opinions: this one has no scores and cannot be asked. Name another.")
    lesson = _joined(lessons)
    # The loss averages its label part over the labelled rows alone, which copies make rare: weighed by their share, an
    # outcome counts as much as one opinion on its row.
    known = float(np.isfinite(lesson.targets).mean())
    if teacher.margins is None and teacher.ask is not None:
        # A teacher that has seen these rows too is asked about copies of them: outcomes alone are too few to stop by.
        held_out = _opinions(encoder, stopped, teacher.ask, classroom, scale, seed=seed, objective=objective)
    else:
        held_out = _lesson(encoder, stopped, scale, None if teacher.margins is None else teacher.margins[chosen])
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


def calibrated(
    network: RiskTransformer, encoder: Encoder, valid: Dataset, *, scale: Scale, seed: int, objective: str
) -> Calibration:
    """Return the map from logit to probability fitted on validation rows; a regression's way back to its own unit.

    A network that hardly tells these rows apart is only moved to their share of bads.
    """
    if objective != "binary":
        return standardising(scale.mean, scale.spread)
    logits = predict_logits(network, encoder.lookups(encoder.inputs(valid.frame)))
    fitted = fit_calibration(valid.labels, logits, seed=seed)
    # A line through logits that all but agree is steep enough to blow their rounding up to a visible difference.
    return fitted if float(logits.std()) >= _LEAST_SPREAD else _levelled(valid.labels, logits)


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


def _lesson(encoder: Encoder, rows: Dataset, scale: Scale, margins: Floats | None) -> Lesson:
    opinions = None if margins is None else scale.down(margins)
    return Lesson(encoder.lookups(encoder.inputs(rows.frame)), scale.down(rows.labels), opinions)


def _opinions(
    encoder: Encoder, rows: Dataset, ask: Ask, classroom: Classroom, scale: Scale, *, seed: int, objective: str
) -> Lesson:
    frame = perturbed_rows(rows, copies=classroom.copies, share=classroom.swap, seed=seed)
    opinion = scale.down(ask(frame))
    # In a regression a perturbed row has no outcome of its own; the teacher's opinion stands in for it.
    outcome = opinion if objective == "regression" else np.full(frame.height, np.nan, dtype=np.float32)
    return Lesson(encoder.lookups(encoder.inputs(frame)), outcome, opinion)


def _joined(lessons: list[Lesson]) -> Lesson:
    if len(lessons) == 1:
        return lessons[0]
    lookups = Lookups(
        np.concatenate([lesson.lookups.index for lesson in lessons]),
        np.concatenate([lesson.lookups.weight for lesson in lessons]),
    )
    opinions = [lesson.targets if lesson.teacher is None else lesson.teacher for lesson in lessons]
    return Lesson(lookups, np.concatenate([lesson.targets for lesson in lessons]), np.concatenate(opinions))
