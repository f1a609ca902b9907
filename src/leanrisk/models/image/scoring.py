"""The image model that scores: an ONNX graph and its facts in one folder. Needs no training library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.files import replacing_folder, sha256_of, write_json
from leanrisk.models.image.check import ImageShape, checked_images, shown
from leanrisk.models.image.session import ImageSession

GRAPH, FACTS, MANIFEST = "model.onnx", "image.json", "manifest.json"
_FILES = (GRAPH, FACTS)
_FORMAT = 1
_EDGE = 1e-6

Label = str | int
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ImageModel:
    """Puts images of one shape into classes on one thread of a CPU; `facts` say how it was taught."""

    graph: bytes = field(repr=False)
    shape: ImageShape
    classes: tuple[Label, ...]
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def predict_proba(self, images: npt.NDArray[Any]) -> Floats:
        """Return the probability of each class, float32 (rows, classes), in the order of `classes`.

        images: (rows, channels, height, width), uint8 from 0 to 255 or floats from 0 to 1. Each image has the same bits
        alone as among others. Raises `DataError` for another size, other channels, another type, NaN or values out of
        range: nothing is scaled or cut in silence.
        """
        return self._session.each(shown(checked_images(images, self.shape)))

    def predict(self, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the likeliest class of each image, (rows,)."""
        likeliest: npt.NDArray[Any] = np.array(self.classes)[self.predict_proba(images).argmax(axis=1)]
        return likeliest

    def log_odds(self, images: npt.NDArray[Any]) -> Floats:
        """Return the log-odds of the second of two classes, float32 (rows,); a feature for a table's model.

        Raises `ConfigError` for a model of more than two classes.
        """
        if len(self.classes) != 2:
            raise ConfigError(f"Log-odds are of two classes: this model has {len(self.classes)}. Use predict_proba.")
        bad = np.clip(self.predict_proba(images)[:, 1].astype(np.float64), _EDGE, 1 - _EDGE)
        return np.log(bad / (1 - bad)).astype(np.float32)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of everything needed to score."""
        return len(self.graph) + len(json.dumps(self._told()).encode())

    def save(self, folder: Path | str) -> None:
        """Write graph, facts and manifest into `folder` in one step; raises `OutputError` where it cannot."""
        with replacing_folder(folder) as part:
            (part / GRAPH).write_bytes(self.graph)
            write_json(part / FACTS, self._told())
            write_json(part / MANIFEST, {"format": _FORMAT, "files": {name: sha256_of(part / name) for name in _FILES}})

    @classmethod
    def load(cls, folder: Path | str) -> ImageModel:
        """Return the model that `save` wrote, each file checked against the manifest; raises `ModelError`."""
        place = Path(folder)
        try:
            manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
            if manifest["format"] != _FORMAT:
                raise ModelError(
                    f"This version reads image models of format {_FORMAT}: '{place}' has another. Teach it again."
                )
            altered = [name for name in _FILES if sha256_of(place / name) != manifest["files"][name]]
            if altered:
                raise ModelError(f"An image model must be as it was written: in '{place}' '{altered[0]}' was altered.")
            told = json.loads((place / FACTS).read_text(encoding="utf-8"))
            shape = ImageShape(*(int(told["shape"][name]) for name in ("channels", "height", "width")))
            model = cls((place / GRAPH).read_bytes(), shape, tuple(told["classes"]), dict(told["facts"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelError(
                f"An image model is a folder with {MANIFEST}, {', '.join(_FILES)}: '{place}' is not whole ({error}). "
                "Restore it from its source."
            ) from error
        model.check()
        return model

    def check(self) -> None:
        """Raise `ModelError` unless the graph reads images of this shape and knows as many classes."""
        blank = np.zeros((1, self.shape.channels, self.shape.height, self.shape.width), dtype=np.float32)
        answer = self._session.batch(blank)
        if answer.shape != (1, len(self.classes)):
            raise ModelError(
                f"An image model knows its classes: its graph answers {answer.shape} for {len(self.classes)} of them. "
                "Restore it from its source."
            )

    def __getstate__(self) -> dict[str, Any]:
        # A copy opens its own session: ONNX Runtime's cannot leave the process.
        return {name: getattr(self, name) for name in ("graph", "shape", "classes", "facts")}

    def _told(self) -> dict[str, Any]:
        shape = {"channels": self.shape.channels, "height": self.shape.height, "width": self.shape.width}
        return {"classes": list(self.classes), "shape": shape, "facts": dict(self.facts)}

    @cached_property
    def _session(self) -> ImageSession:
        return ImageSession(self.graph)
