"""A loaded graph: rows of `Inputs` to probabilities through ONNX Runtime. Imports no training library."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Inputs

_BLOCK_ROWS = 512
"""Rows per call in batches: the front end's intermediate tensors of that many rows still fit the cache."""


class GraphSession:
    """One ONNX Runtime session over a serialised graph, on the CPU with a fixed number of threads."""

    def __init__(self, graph: bytes, *, threads: int = 1) -> None:
        self._session = cpu_session(graph, threads=threads)
        self._wanted = tuple(entry.name for entry in self._session.get_inputs())
        self._run = self._session.run

    @property
    def facts(self) -> dict[str, str]:
        """What the graph tells of itself: its metadata."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def probability(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """Return calibrated probabilities, float32 (rows,); the same bits whatever rows stand beside a row."""
        if inputs.rows <= _BLOCK_ROWS:
            return self._block(inputs)
        blocks = range(0, inputs.rows, _BLOCK_ROWS)
        return np.concatenate([self._block(inputs.take(slice(start, start + _BLOCK_ROWS))) for start in blocks])

    def _block(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        if inputs.rows == 1:
            # A product with one row takes another kernel, which rounds differently in the last bit. Two rows cost next
            # to nothing more and give every row the same bits alone as in a batch.
            feed: dict[str, Any] = {name: np.repeat(getattr(inputs, name), 2, axis=0) for name in self._wanted}
            return np.asarray(self._run(("probability",), feed)[0][:1])
        feed = {name: getattr(inputs, name) for name in self._wanted}
        return np.asarray(self._run(("probability",), feed)[0])


def cpu_session(graph: bytes, *, threads: int) -> Any:
    """Return an ONNX Runtime session over a serialised graph on the CPU; raises `ModelError` where it does not load."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads that spin would steal the CPU-seconds of whoever shares the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"A graph must load in ONNX Runtime: this one does not ({error}). Export it again.") from error
