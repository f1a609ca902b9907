"""A thin pen for ONNX graphs: each call adds one operator and returns the name of its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_letters
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
"""Operator set of every graph: old enough for the runtimes that banks have, new enough for every operator used."""
TREES = "ai.onnx.ml"
"""Domain of the operators for trees, which is part of ONNX."""
_TREES_OPSET = 3

_WORTH_A_CAST = 12
"""Numbers of a constant from which on a narrower type saves more bytes than the operator that widens it takes."""


_WORTH_A_FILL = 32
"""Numbers of a constant, all alike, from which on it takes fewer bytes to tell one of them and the shape."""


class GraphBuilder:
    """Collects operators and constants of one graph; equal constants are stored once.

    The graph is written operator by operator instead of traced: it has a third of a trace's operators (each costs about
    a microsecond per decision), accepts zero rows, and is ready in milliseconds, which every refresh pays for.

    A `packed` graph takes as few bytes as it can without changing a number: constants that a narrower type holds
    exactly are kept in that, to be widened when the graph is loaded, and results have short names.
    """

    def __init__(self, *, packed: bool = False) -> None:
        self.packed = packed
        self._widened: dict[str, str] = {}
        self._named = 0
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        self._count = 0

    def constant(self, value: np.ndarray | Sequence[int], *, name: str = "c", narrow: bool = False) -> str:
        """Return the name of a constant; a plain sequence of integers becomes int64.

        `narrow` keeps it as a packed graph does, in the narrowest type, for constants of which others are made.
        """
        array = np.array(value, dtype=None if isinstance(value, np.ndarray) else np.int64, order="C")
        if self.packed and array.size >= _WORTH_A_FILL and (array == array.flat[0]).all():
            return self.op("Expand", self.constant(array.reshape(-1)[:1]), self.constant(array.shape))
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            label = self._short() if self.packed else f"{name}_{len(self._constants)}"
            held = _narrowest(array) if (self.packed or narrow) and array.size >= _WORTH_A_CAST else array
            self._constants[key] = numpy_helper.from_array(held, label)
            if held.dtype != array.dtype:
                kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                self._widened[label] = self.op("Cast", label, to=kind)
        label = self._constants[key].name
        return self._widened.get(label, label)

    def number(self, value: float) -> str:
        """Return the name of a float32 constant of shape (1,)."""
        return self.constant(np.array([value], dtype=np.float32))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add one operator with one result and return that result's name."""
        return self.ops(kind, *inputs, results=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, results: int, **attributes: Any) -> tuple[str, ...]:
        """Add one operator with several results and return their names."""
        self._count += 1
        stem = self._short() if self.packed else f"{kind.lower()}_{self._count}"
        between = "" if self.packed else "_"
        names = tuple(stem + (f"{between}{k}" if results > 1 else "") for k in range(results))
        self._nodes.append(helper.make_node(kind, list(inputs), list(names), **attributes))
        return names

    def _short(self) -> str:
        """Return a name that is not taken: letters alone, since the parts of a result are told by digits."""
        self._named += 1
        place, name = self._named, ""
        while place:
            place, letter = divmod(place - 1, len(ascii_letters))
            name = ascii_letters[letter] + name
        return name

    def rename(self, result: str, name: str) -> None:
        """Give a result its public name; a packed graph does so without an operator more."""
        if self.packed:
            self._replace(result, name)
            return
        self._nodes.append(helper.make_node("Identity", [result], [name]))

    def _replace(self, result: str, name: str) -> None:
        for node in self._nodes:
            for names in (node.input, node.output):
                for place, found in enumerate(names):
                    if found == result:
                        names[place] = name

    def model(
        self,
        *,
        inputs: Mapping[str, tuple[int, int | str | tuple[int, ...]]],
        outputs: Sequence[str],
        facts: dict[str, str],
        classes: int | None = None,
    ) -> bytes:
        """Return the checked, serialised model; `inputs` maps a name to (ONNX element type, columns).

        Columns that vary from call to call have a name; a tuple is the shape of one row. Outputs are (rows,), or
        (rows, classes).
        """
        shape: list[str | int | None] = ["rows"] if classes is None else ["rows", classes]
        graph = helper.make_graph(
            self._nodes,
            "leanrisk",
            [
                helper.make_tensor_value_info(n, kind, ["rows", *(width if isinstance(width, tuple) else (width,))])
                for n, (kind, width) in inputs.items()
            ],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in outputs],
            list(self._constants.values()),
        )
        sets = [helper.make_opsetid("", OPSET)]
        if any(node.domain == TREES for node in self._nodes):
            sets.append(helper.make_opsetid(TREES, _TREES_OPSET))
        model = helper.make_model(graph, opset_imports=sets, producer_name="leanrisk", ir_version=9)
        helper.set_model_props(model, facts)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))


def _narrowest(array: np.ndarray) -> np.ndarray:
    """Return the same numbers in the smallest type that holds every one of them exactly."""
    narrower = {"float32": (np.float16,), "int64": (np.int8, np.int16, np.int32)}.get(str(array.dtype), ())
    for kind in narrower:
        # What is too large becomes infinite, and so differs.
        with np.errstate(over="ignore"):
            found = array.astype(kind)
        if np.array_equal(found.astype(array.dtype), array):
            return found
    return array
