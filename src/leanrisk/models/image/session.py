"""A loaded image graph: dots to probabilities through ONNX Runtime. Imports no training library."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError
from leanrisk.models.onnx_session import cpu_session

Floats = npt.NDArray[np.float32]


class ImageSession:
    """One ONNX Runtime session over an image graph, on the CPU with a fixed number of threads."""

    def __init__(self, graph: bytes, *, threads: int = 1) -> None:
        self._session: Any = cpu_session(graph, threads=threads)
        inputs = self._session.get_inputs()
        if [(entry.name, entry.type, len(entry.shape)) for entry in inputs] != [("image", "tensor(float)", 4)]:
            read = ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in inputs)
            raise ModelError(
                f"An image graph reads 'image' of floats (rows, channels, height, width): this one reads {read}. "
                "Export it again."
            )
        if "probability" not in [entry.name for entry in self._session.get_outputs()]:
            raise ModelError("An image graph answers 'probability': this one does not. Export it again.")

    def each(self, images: Floats) -> Floats:
        """Return probabilities float32 (rows, classes), each image asked by itself.

        So an image has the same bits alone as among others; on one thread a batch is no faster, since the layers of
        many images do not fit the cache together.
        """
        rows = [self.batch(images[row : row + 1]) for row in range(len(images))]
        return np.concatenate(rows) if rows else self.batch(images)

    def batch(self, images: Floats) -> Floats:
        """Return probabilities float32 (rows, classes) in one call; raises `ModelError` for images it cannot read."""
        try:
            return np.asarray(self._session.run(("probability",), {"image": images})[0])
        except Exception as error:
            raise ModelError(
                f"A graph must read images of its shape: this one refuses {images.shape} ({error}). Export it again."
            ) from error
