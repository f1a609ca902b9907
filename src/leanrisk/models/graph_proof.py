"""What an exported graph is made of: bytes of its constants by type, and the operators that are left when it runs."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort

from leanrisk.core.errors import ModelError

INTEGER_OPERATORS = ("MatMulInteger", "MatMulIntegerToFloat", "QLinearMatMul", "DynamicQuantizeMatMul")
"""Operators of ONNX and of ONNX Runtime that multiply whole numbers."""


def graph_proof(graph: bytes) -> dict[str, Any]:
    """Return `bytes` (type of constant -> bytes on disk), `whole` (bytes of the graph) and `operators` (name -> count).

    The operators are those of the graph as ONNX Runtime runs it, after its optimisations: what was folded or fused away
    is not among them. Raises `ModelError` for a graph that does not load.
    """
    held: Counter[str] = Counter()
    for constant in onnx.load_from_string(graph).graph.initializer:
        held[onnx.TensorProto.DataType.Name(constant.data_type).lower()] += len(constant.raw_data)
    return {"whole": len(graph), "bytes": dict(sorted(held.items())), "operators": optimised_operators(graph)}


def optimised_operators(graph: bytes) -> dict[str, int]:
    """Return how often each operator stands in the graph that ONNX Runtime makes of this one, most frequent first."""
    with tempfile.TemporaryDirectory(prefix="leanrisk-graph-") as folder:
        file = Path(folder) / "optimised.onnx"
        options = ort.SessionOptions()
        # Above an error: that an optimised graph fits this machine alone is what it is written for.
        options.log_severity_level = 4
        options.optimized_model_filepath = str(file)
        try:
            ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            # ONNX Runtime's exceptions share no public base but Exception.
            raise ModelError(
                f"A graph must load in ONNX Runtime: this one does not ({error}). Export it again."
            ) from error
        return dict(Counter(node.op_type for node in onnx.load(file).graph.node).most_common())
