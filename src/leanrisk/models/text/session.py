"""A loaded text graph: token numbers to probabilities through ONNX Runtime. Imports no training library."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError
from leanrisk.models.onnx_session import cpu_session

Floats = npt.NDArray[np.float32]


class TextSession:
    """One ONNX Runtime session over a text graph, on the CPU with a fixed number of threads."""

    def __init__(self, graph: bytes, *, threads: int = 1) -> None:
        self._session: Any = cpu_session(graph, threads=threads)
        names = [entry.name for entry in self._session.get_inputs()]
        if names != ["tokens"]:
            raise ModelError(f"A text graph reads 'tokens': this one reads {', '.join(names)}. Restore it.")

    def each(self, tokens: npt.NDArray[np.int64]) -> Floats:
        """Return probabilities float32 (rows, classes), each text asked by itself and without padding.

        So a text has the same bits alone as among others, and none pays for the longest.
        """
        lengths = np.maximum((tokens != 0).sum(axis=1), 1)
        rows = [self.batch(tokens[row : row + 1, : lengths[row]]) for row in range(len(tokens))]
        return np.concatenate(rows) if rows else self.batch(tokens)

    def batch(self, tokens: npt.NDArray[np.int64]) -> Floats:
        """Return probabilities float32 (rows, classes) in one call, padding and all."""
        return np.asarray(self._session.run(("probability",), {"tokens": tokens})[0])
