"""The same graph through OpenVINO, where that is installed: another runtime, the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Inputs

_BLOCK_ROWS = 512


class OpenvinoSession:
    """One graph compiled by OpenVINO for the CPU; asked as `GraphSession` is.

    Numbers of 32 bits are told to stay so: on a processor that multiplies bf16, OpenVINO takes that for float32 unless
    it is told otherwise, and a score then has three digits. `exact` = False leaves it that choice, to be measured.
    Raises `ModelError` where OpenVINO is not installed, or refuses the graph.
    """

    def __init__(self, graph: bytes, *, threads: int = 1, exact: bool = True) -> None:
        try:
            import openvino
        except ImportError as error:
            raise ModelError(
                "OpenVINO is not installed: the backend is optional. Run: pip install 'leanrisk[openvino]'."
            ) from error
        core = openvino.Core()
        settings: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        if exact:
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        try:
            compiled = core.compile_model(core.read_model(graph, b""), "CPU", settings)
        except RuntimeError as error:
            told = str(error).strip().splitlines()
            raise ModelError(
                f"A graph must load in OpenVINO: this one does not ({told[-1] if told else error}). Export it again, "
                "or serve it by ONNX Runtime."
            ) from error
        self._request = compiled.create_infer_request()
        self._wanted = tuple(entry.any_name for entry in compiled.inputs)
        self._output = compiled.output("probability")

    def probability(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """Return calibrated probabilities, float32 (rows,)."""
        starts = range(0, inputs.rows, _BLOCK_ROWS)
        parts = [self._block(inputs.take(slice(start, start + _BLOCK_ROWS))) for start in starts]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)

    def _block(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        # As in `GraphSession`: one row alone is another product, with other last bits.
        single = inputs.rows == 1
        feed = {name: getattr(inputs, name) for name in self._wanted}
        if single:
            feed = {name: np.repeat(values, 2, axis=0) for name, values in feed.items()}
        found = np.array(self._request.infer(feed)[self._output], dtype=np.float32)
        return found[:1] if single else found
