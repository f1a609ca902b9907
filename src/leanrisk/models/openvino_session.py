"""The same graph through OpenVINO, where that is installed: another runtime, the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Inputs
from leanrisk.models.onnx_session import GraphSession
from leanrisk.models.quantization import ARITHMETIC

_BLOCK_ROWS = 512
_TOLERANCE = 1e-4
"""Largest difference between two runtimes: between 32-bit rounding, which is a tenth of it, and bf16."""


class OpenvinoSession:
    """One graph compiled by OpenVINO for the CPU; asked as `GraphSession` is.

    Numbers of 32 bits are told to stay so: on a processor that multiplies bf16, OpenVINO takes that for float32 unless
    it is told otherwise, and a score then has three digits. `exact` = False leaves it that choice, to be measured.

    What it answers for the rows of `probe` (a bundle's reference rows) is compared with ONNX Runtime: in 2026.4 a
    number counts as no less than NaN, so that a graph that looks for missing values answers wrongly, without a word.
    Raises `ModelError` where OpenVINO is not installed, refuses the graph or answers otherwise, and for a graph whose
    codes are unpacked: 2026.4 was seen to end the process when it is asked one.
    """

    def __init__(self, graph: bytes, probe: Inputs, *, threads: int = 1, exact: bool = True) -> None:
        try:
            import openvino
        except ImportError as error:
            raise ModelError(
                "OpenVINO is not installed: the backend is optional. Run in a checkout: pip install '.[openvino]'."
            ) from error
        usual = GraphSession(graph)
        _check_arithmetic(usual.facts)
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
        _check_answers(self.probability(probe), usual.probability(probe))

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


def _check_arithmetic(facts: Mapping[str, str]) -> None:
    if facts.get(ARITHMETIC) == "unpacked":
        raise ModelError(
            "OpenVINO runs graphs in fp32 and of whole numbers: this one unpacks int8 codes. Quantize with "
            "arithmetic = 'int8', or serve it by ONNX Runtime."
        )


def _check_answers(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> None:
    worst = float(np.max(np.abs(found - expected) / np.maximum(1.0, np.abs(expected)), initial=0.0))
    if not worst <= _TOLERANCE:
        raise ModelError(
            f"Two runtimes must agree within {_TOLERANCE}: OpenVINO answers otherwise, by {worst:.2e}. Serve this "
            "graph by ONNX Runtime."
        )
