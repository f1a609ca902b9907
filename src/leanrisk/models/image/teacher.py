"""The dear side of a pair of image models: ResNet-50 from scratch, or any local Hugging Face folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import AutoModelForImageClassification

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.progress import Progress, Silent
from leanrisk.models.class_labels import Floats
from leanrisk.models.image.batches import ImageBatches, Spread
from leanrisk.models.image.check import Images, ImageShape, checked_images
from leanrisk.models.image.network import RESNET_50, ImageBody, ask_image, image_network
from leanrisk.models.pair_config import PairConfig
from leanrisk.models.pair_lesson import PairLesson
from leanrisk.models.pair_training import PairLog, answers, teach
from leanrisk.models.text.hugging_face_folder import checked_folder, folder_config, folder_network, reading

_SILENT = Silent()
_WHAT, _TESTED = "An image model", "ResNet, MobileNetV2 and ViT"
_PROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True)
class ImageTeacherConfig:
    """Which teacher, and how it is taught.

    `folder`: a local Hugging Face folder, whose weights are gone on from; empty: `body` from scratch, by default
    ResNet-50. With `as_it_is` a folder's classifier is asked without any training.
    """

    folder: str = ""
    body: ImageBody = RESNET_50
    as_it_is: bool = False
    training: PairConfig = field(default_factory=lambda: PairConfig(epochs=10, batch=64, learning_rate=1e-3))

    def __post_init__(self) -> None:
        if self.as_it_is and not self.folder:
            raise ConfigError("teacher.as_it_is is for a folder's weights: from scratch there are none. Name a folder.")


@dataclass(frozen=True)
class ImageTeacher:
    """A network that has opinions on images of one shape. Needs torch."""

    network: nn.Module = field(repr=False)
    shape: ImageShape
    spread: Spread
    labels: int
    precision: str = "fp32"
    log: PairLog | None = None

    @property
    def parameters(self) -> int:
        """Number of its parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def opinions(self, images: Images, *, progress: Progress = _SILENT) -> tuple[Floats, Floats | None]:
        """Return class logits (rows, classes) and pooled states (rows, width), None where it has no such state."""
        batches = ImageBatches(checked_images(images, self.shape), self.spread)
        return answers(
            self.network, batches, batch=64, ask=ask_image, precision=self.precision, progress=progress
        )  # fmt: skip

    def predict_proba(self, images: npt.NDArray[Any]) -> Floats:
        """Return the probability of each class, float32 (rows, classes). Raises `DataError` as `checked_images`."""
        logits, _ = self.opinions(images)
        return torch.softmax(torch.from_numpy(logits), dim=1).numpy()


def taught_image_teacher(
    images: Images,
    codes: npt.NDArray[np.int64],
    *,
    held_out: tuple[Images, npt.NDArray[np.int64]],
    labels: int,
    config: ImageTeacherConfig,
    seed: int,
    progress: Progress = _SILENT,
) -> ImageTeacher:
    """Return a teacher taught on these images and class numbers, the best epoch by `held_out`'s loss.

    Offline: a folder is opened by the rules of `hugging_face_folder`. Raises `ModelError` as those do, and for a folder
    that cannot read images of this shape.
    """
    teacher = new_image_teacher(ImageShape.of(images), labels=labels, config=config, seed=seed)
    if config.as_it_is:
        return teacher
    log = teach(
        teacher.network,
        PairLesson(ImageBatches(images, teacher.spread), torch.from_numpy(codes)),
        held_out=PairLesson(ImageBatches(held_out[0], teacher.spread), torch.from_numpy(held_out[1])),
        config=config.training,
        seed=seed,
        ask=ask_image,
        what="teaching the teacher",
        progress=progress,
    )
    return ImageTeacher(teacher.network, teacher.shape, teacher.spread, labels, config.training.precision, log)


def new_image_teacher(shape: ImageShape, *, labels: int, config: ImageTeacherConfig, seed: int) -> ImageTeacher:
    """Return a teacher before its training: a folder's network, or one drawn from `seed`."""
    precision = config.training.precision
    if config.folder:
        network, spread = load_image_network(
            config.folder, shape, labels=labels, seed=seed, headless=not config.as_it_is
        )
        return ImageTeacher(network, shape, spread, labels, precision)
    network = image_network(config.body, channels=shape.channels, size=shape.height, labels=labels, seed=seed)
    return ImageTeacher(network, shape, Spread.even(shape.channels), labels, precision)


def load_image_network(
    folder: Path | str, shape: ImageShape, *, labels: int, seed: int = 0, headless: bool = True
) -> tuple[nn.Module, Spread]:
    """Return the image classifier in a local folder for `labels` classes, and how its images are spread.

    With `headless` a head that the folder does not hold, or that is for another number of classes, is drawn from
    `seed`. The spread is that of its preprocessor_config.json, or even where there is none. Nothing is fetched,
    unpickled or imported from the folder. Raises `ModelError`, also where it reads other images than these.
    """
    place = checked_folder(folder, what=_WHAT)
    with reading(place, what=_WHAT, tested=_TESTED, seed=seed):
        config = folder_config(place, labels)
        network, _ = folder_network(place, config, AutoModelForImageClassification, what=_WHAT, headless=headless)
        spread = _spread(place, shape.channels)
    _try(network.train(False), shape, place)
    return network, spread


def _spread(place: Path, channels: int) -> Spread:
    file = place / _PROCESSOR
    if not file.is_file():
        return Spread.even(channels)
    told = json.loads(file.read_text(encoding="utf-8"))
    if not told.get("do_normalize", True) or "image_mean" not in told:
        return Spread((0.0,) * channels, (1.0,) * channels)
    mean, std = (tuple(float(value) for value in told[name]) for name in ("image_mean", "image_std"))
    if not len(mean) == len(std) == channels or min(std) <= 0:
        raise ModelError(
            f"An image model and its images have the same channels: {_PROCESSOR} in '{place}' spreads {len(mean)} of "
            f"them, the images have {channels}. Render as many."
        )
    return Spread(mean, std)


def _try(network: nn.Module, shape: ImageShape, place: Path) -> None:
    blank = torch.zeros(1, shape.channels, shape.height, shape.width)
    try:
        with torch.inference_mode():
            network(pixel_values=blank)
    except (ValueError, RuntimeError) as error:
        told = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"An image model must read images of {shape}: the one in '{place}' does not ({told}). Render them at the "
            "shape that it was made for."
        ) from error
