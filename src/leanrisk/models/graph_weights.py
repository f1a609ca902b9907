"""How the graph holds weights and multiplies by them: float32 as they are, or int8 codes with their steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from onnx import TensorProto
from torch import nn

from leanrisk.models.graph_builder import GraphBuilder
from leanrisk.models.quantization import Quantization, bytes_of, channel_steps, codes_of
from leanrisk.models.risk_transformer import MemberLinear, RiskTransformer

Floats = npt.NDArray[np.float32]

_ZERO = 128
"""Code of zero where inputs are rounded: symmetric codes, shifted to whole numbers without a sign, since processors
multiply unsigned by signed bytes; products of signed ones took ONNX Runtime ten times as long."""


@dataclass(frozen=True)
class GraphWeights:
    """Writes the products of one network's layers into one graph, by its `plan` where there is one.

    Codes that are unpacked are written as `Cast` and `Mul` of constants, which every runtime folds when it loads the
    graph: a `DequantizeLinear` of a constant would be left standing, and be worked out anew for each decision.
    """

    graph: GraphBuilder
    network: RiskTransformer
    plan: Quantization | None = None

    @cached_property
    def _names(self) -> dict[int, str]:
        return {id(module): name for name, module in self.network.named_modules()}

    def linear(self, layer: nn.Linear, state: str) -> str:
        """Add a dense layer for (..., in) and return (..., out)."""
        product = self._product(self._names[id(layer)], array_of(layer.weight).T, state)
        return self.graph.op("Add", product, self.vector(array_of(layer.bias)))

    def members(self, layer: MemberLinear, state: str, *, lanes: int = 1) -> str:
        """Add each member's dense layer for (members or 1, rows, in); `lanes` repeats the outputs that many times."""
        weight = array_of(layer.weight)
        product = self._product(self._names[id(layer)], weight, state, lanes=lanes)
        return self.graph.op("Add", product, self.vector(array_of(layer.bias)))

    def first_hidden(self, layer: MemberLinear, state: str) -> str:
        """Add each member's dense layer and its ReLU for the same inputs (rows, in); return (members, rows, out).

        Members that read the same inputs are one product with all their columns side by side, which a runtime prepares
        when it loads the graph and joins with what follows it.
        """
        graph, plan, weight = self.graph, self.plan, array_of(layer.weight)
        members, inputs, outputs = weight.shape
        part = self._names[id(layer)]
        if plan is not None and part in plan.parts and plan.arithmetic != "unpacked":
            return graph.op("Relu", self.members(layer, state))
        if plan is None or part not in plan.parts:
            columns = graph.constant(weight.transpose(1, 0, 2).reshape(inputs, -1))
        else:
            steps = channel_steps(weight, 1)
            columns = graph.op(
                "Transpose", self._unpacked(graph.constant(codes_of(weight, steps)), steps), perm=[1, 0, 2]
            )
            columns = graph.op("Reshape", columns, graph.constant([inputs, members * outputs]))
        state = graph.op("Relu", graph.op("Gemm", state, columns, self.vector(array_of(layer.bias).ravel())))
        return graph.op("Transpose", graph.op("Reshape", state, graph.constant([0, members, outputs])), perm=[1, 0, 2])

    def vector(self, values: Floats) -> str:
        """Add biases or steps and return their name; in a packed graph as bytes and a unit, where those say them."""
        found = bytes_of(values) if self.graph.packed else None
        if found is None:
            return self.graph.constant(values)
        whole, unit = found
        widened = self.graph.op("Cast", self.graph.constant(whole), to=TensorProto.FLOAT)
        return self.graph.op("Mul", widened, self.graph.constant(np.array(unit)))

    def _unpacked(self, codes: str, steps: Floats) -> str:
        return self.graph.op("Mul", self.graph.op("Cast", codes, to=TensorProto.FLOAT), self.vector(steps))

    def _product(self, part: str, weight: Floats, state: str, *, lanes: int = 1) -> str:
        graph, plan = self.graph, self.plan
        if plan is None or part not in plan.parts:
            return graph.op("MatMul", state, graph.constant(np.repeat(weight, lanes, axis=-1)))
        steps = channel_steps(weight, weight.ndim - 2)
        codes = self._repeated(graph.constant(codes_of(weight, steps)), weight, lanes)
        if plan.arithmetic == "unpacked":
            return graph.op("MatMul", state, self._unpacked(codes, steps))
        if plan.arithmetic == "dynamic":
            rounded, step, zero = graph.ops("DynamicQuantizeLinear", state, results=3)
            whole = graph.op("Cast", graph.op("MatMulInteger", rounded, codes, zero), to=TensorProto.FLOAT)
            return graph.op("Mul", whole, graph.op("Mul", step, graph.constant(steps)))
        step_of_inputs = np.float32(plan.steps[part])
        step, zero = graph.constant(np.array(step_of_inputs)), graph.constant(np.array(_ZERO, dtype=np.uint8))
        rounded = graph.op("QuantizeLinear", state, step, zero)
        if weight.ndim > 2:
            # No runtime fuses a batch of products with steps of their own, so it is spelled out.
            whole = graph.op("Cast", graph.op("MatMulInteger", rounded, codes, zero), to=TensorProto.FLOAT)
            return graph.op("Mul", whole, graph.constant(steps * step_of_inputs))
        zeros = graph.constant(np.zeros(steps.size, dtype=np.int8))
        shown = graph.op("DequantizeLinear", codes, self.vector(steps.ravel()), zeros, axis=1)
        return graph.op("MatMul", graph.op("DequantizeLinear", rounded, step, zero), shown)

    def _repeated(self, name: str, weight: Floats, lanes: int) -> str:
        if lanes == 1:
            return name
        shape = (*weight.shape[:-1], weight.shape[-1] * lanes)
        # Of a constant, and so worked out when the graph is loaded.
        return self.graph.op("Expand", name, self.graph.constant(list(shape)))


def array_of(parameter: object) -> Floats:
    """Return a parameter as float32 numbers."""
    return np.asarray(parameter.detach().cpu().numpy(), dtype=np.float32)  # type: ignore[attr-defined]
