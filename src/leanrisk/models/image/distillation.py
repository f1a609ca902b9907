"""`distill_image`: from images with outcomes, and a teacher where there is one, to a small image model that scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.progress import Progress, Silent
from leanrisk.models.adapter import network_digest
from leanrisk.models.class_labels import (
    Floats,
    Label,
    balance,
    class_codes,
    classes_of,
    fitted_temperature,
    judges,
    opinions_as_logits,
)
from leanrisk.models.image.batches import ImageBatches, Spread
from leanrisk.models.image.check import Images, ImageShape, checked_images
from leanrisk.models.image.graph import check_image_parity, image_graph
from leanrisk.models.image.network import ImageBody, ask_image, image_network
from leanrisk.models.image.scoring import ImageModel
from leanrisk.models.image.teacher import ImageTeacher, ImageTeacherConfig, taught_image_teacher
from leanrisk.models.opinion_cache import array_digest, cached_opinions
from leanrisk.models.pair_config import PairConfig
from leanrisk.models.pair_lesson import PairLesson
from leanrisk.models.pair_training import PairLog, answers, teach

_SILENT = Silent()
_PARITY_IMAGES = 16


class Opinionated(Protocol):
    """Whatever has opinions on images: an `ImageTeacher`, an `ImageModel`, an ensemble of both."""

    def predict_proba(self, images: npt.NDArray[Any], /) -> npt.NDArray[Any]:
        """Return the probability of each class, (rows, classes), classes in sorted order."""
        ...


@dataclass(frozen=True)
class ImageConfig:
    """How an image student is made.

    `valid` is the share held out, for the best epoch and for the temperature of the probabilities. With `balanced` each
    class weighs the same; probabilities are then those of a book where classes are equally frequent. `teacher` is how a
    folder is taught, where one is named. `cache`: a folder for the opinions of an `ImageTeacher`; empty for none.
    """

    body: ImageBody = field(default_factory=ImageBody)
    valid: float = 0.1
    balanced: bool = False
    training: PairConfig = field(default_factory=lambda: PairConfig(epochs=15, batch=64, learning_rate=2e-3))
    teacher: ImageTeacherConfig = field(default_factory=ImageTeacherConfig)
    cache: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.valid < 0.9:
            raise ConfigError(f"image.valid must lie in (0, 0.9): it is {self.valid}. Take 0.1.")


def distill_image(
    images: npt.NDArray[Any],
    labels: Sequence[Label | None],
    *,
    teacher: Opinionated | npt.NDArray[Any] | Path | str | None = None,
    config: ImageConfig | None = None,
    held_out: tuple[npt.NDArray[Any], Sequence[Label]] | None = None,
    seed: int = 0,
    progress: Progress = _SILENT,
) -> ImageModel:
    """Return a small image model taught by `teacher` and the outcomes; by the outcomes alone where there is none.

    `images`: (rows, channels, height, width), uint8 or floats from 0 to 1. `labels`: a class for each (a text or a
    whole number), None where it is unknown: the teacher alone judges such an image. `teacher`: a local Hugging Face
    folder (taught first, see `ImageTeacherConfig`), anything with `predict_proba` on images, or its probabilities
    (rows, classes) of these very images; give `held_out` its own images then all the same. An `ImageTeacher` also lends
    its pooled states, where `training.hint_weight` is above 0. `held_out` replaces the share held out. Raises
    `ConfigError` for fewer than two classes, `ModelError` for opinions that cannot be used, `DataError` for what is no
    image.
    """
    used = config or ImageConfig()
    classes = classes_of(labels)
    rows = _Rows(checked_images(images), class_codes(labels, classes))
    if len(rows.images) != len(rows.codes):
        raise ConfigError(
            f"Images and labels must align: {len(rows.images)} against {len(rows.codes)}. One label each."
        )
    if isinstance(teacher, np.ndarray):
        rows = replace(rows, logits=opinions_as_logits(teacher, len(rows.codes), len(classes)))
    taught, judged = _parts(rows, held_out, classes, used.valid, seed)
    asked = _asked(teacher, taught, judged, len(classes), used, seed, progress)
    hinted = used.training.hint_weight > 0
    taught, judged = (_judged(part, asked, len(classes), used.cache, hinted, progress) for part in (taught, judged))
    return _student(taught, judged, classes, used, seed, progress)


@dataclass(frozen=True)
class _Rows:
    """Images, their class numbers as floats (NaN = unknown), and what the teacher makes of them, None without one."""

    images: Images
    codes: Floats
    logits: Floats | None = None
    states: Floats | None = None

    def take(self, rows: npt.NDArray[np.bool_]) -> _Rows:
        return _Rows(self.images[rows], self.codes[rows], None if self.logits is None else self.logits[rows])

    def lesson(self, spread: Spread) -> PairLesson:
        return PairLesson(ImageBatches(self.images, spread), torch.from_numpy(self.codes), self.logits, self.states)


def _student(
    taught: _Rows, judged: _Rows, classes: tuple[Label, ...], config: ImageConfig, seed: int, progress: Progress
) -> ImageModel:
    shape = ImageShape.of(taught.images)
    spread = Spread.even(shape.channels)
    network = image_network(
        config.body, channels=shape.channels, size=shape.height, labels=len(classes), seed=seed
    )  # fmt: skip
    training = config.training
    if config.balanced:
        training = replace(training, class_weights=balance(taught.codes, len(classes)))
    check = judged.lesson(spread)
    log = teach(
        network,
        taught.lesson(spread),
        held_out=check,
        config=training,
        seed=seed,
        ask=ask_image,
        what="teaching the image student",
        progress=progress,
    )
    logits, _ = answers(network, check.batches, what="asking the image student", progress=progress)
    temperature = fitted_temperature(logits, judged.codes)
    graph = image_graph(network, shape, spread=spread, temperature=temperature)
    few = judged.images[:_PARITY_IMAGES]
    parity = check_image_parity(graph, network, few, spread=spread, temperature=temperature)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    facts = _facts(config, taught, log, parameters) | {"temperature": temperature, "parity": parity, "seed": seed}
    return ImageModel(graph, shape, classes, facts)


def _facts(config: ImageConfig, taught: _Rows, log: PairLog, parameters: int) -> dict[str, Any]:
    return {
        "body": config.body.kind,
        "width": config.body.width,
        "parameters": parameters,
        "taught_by": "outcomes" if taught.logits is None else "teacher and outcomes",
        "images": len(taught.images),
        "unlabelled": int(np.isnan(taught.codes).sum()),
        "epochs": len(log.losses),
        "best_epoch": log.best_epoch,
    }


def _parts(
    rows: _Rows,
    held_out: tuple[npt.NDArray[Any], Sequence[Label]] | None,
    classes: tuple[Label, ...],
    share: float,
    seed: int,
) -> tuple[_Rows, _Rows]:
    """Return (rows that teach, rows held out), the latter drawn by class where none are given."""
    if held_out is None:
        held = judges(rows.codes, classes=len(classes), share=share, seed=seed, name="image-valid")
        return rows.take(~held), rows.take(held)
    kept = checked_images(held_out[0], ImageShape.of(rows.images), what="held-out images")
    codes = class_codes(held_out[1], classes)
    if len(kept) != len(codes) or not len(codes):
        raise ConfigError(f"Held-out images and labels must align: {len(kept)} against {len(codes)}. One label each.")
    return rows, _Rows(kept, codes)


def _asked(
    teacher: object, taught: _Rows, judged: _Rows, labels: int, config: ImageConfig, seed: int, progress: Progress
) -> Opinionated | None:
    """Return whom to ask, None where nobody can be; a folder's network is taught first."""
    if teacher is None or isinstance(teacher, np.ndarray):
        return None
    if not isinstance(teacher, Path | str):
        if not callable(getattr(teacher, "predict_proba", None)):
            raise ConfigError(
                "An image teacher is a local folder, an array of probabilities, or has predict_proba: a "
                f"{type(teacher).__name__} is none of these. Wrap it."
            )
        if isinstance(teacher, ImageTeacher) and teacher.labels != labels:
            raise ModelError(
                f"Teacher and student must know the same classes: {teacher.labels} against {labels}. Label as many."
            )
        return cast(Opinionated, teacher)
    known = taught.take(~np.isnan(taught.codes))
    return taught_image_teacher(
        known.images,
        known.codes.astype(np.int64),
        held_out=(judged.images, judged.codes.astype(np.int64)),
        labels=labels,
        config=replace(config.teacher, folder=str(teacher)),
        seed=seed,
        progress=progress,
    )


def _judged(rows: _Rows, asked: Opinionated | None, labels: int, cache: str, hinted: bool, progress: Progress) -> _Rows:
    if asked is None:
        return rows
    if not isinstance(asked, ImageTeacher):
        return replace(rows, logits=opinions_as_logits(asked.predict_proba(rows.images), len(rows.codes), labels))

    def ask() -> Floats:
        logits, states = asked.opinions(rows.images, progress=progress)
        return logits if not hinted or states is None else np.hstack([logits, states])

    found = cached_opinions(
        Path(cache) if cache else None,
        teacher=network_digest(asked.network) if cache else "",
        data=array_digest(rows.images) if cache else "",
        rows=len(rows.images),
        what=f"image logits{' and states' if hinted else ''} {asked.spread} {asked.precision}",
        make=ask,
    )
    states = found[:, labels:] if hinted and found.shape[1] > labels else None
    return replace(rows, logits=found[:, :labels], states=states)
