"""Tensors of the Open Inference Protocol, version 2, to columns of records and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leanrisk.core.schema import Kind
from leanrisk.serve.lineup import Seat
from leanrisk.serve.refusal import Refusal

_WHOLE = {
    "INT8": (-(2**7), 2**7 - 1),
    "INT16": (-(2**15), 2**15 - 1),
    "INT32": (-(2**31), 2**31 - 1),
    "INT64": (-(2**63), 2**63 - 1),
    "UINT8": (0, 2**8 - 1),
    "UINT16": (0, 2**16 - 1),
    "UINT32": (0, 2**32 - 1),
    "UINT64": (0, 2**64 - 1),
}
_REAL = {"FP16": 65_504.0, "FP32": 3.4028235677973366e38, "FP64": 1.7976931348623157e308}
DATATYPES = ("BOOL", *_WHOLE, *_REAL, "BYTES")
OUTPUTS = {"probability": "FP32", "points": "FP64", "decision": "BYTES", "decision_id": "BYTES"}


def described(seat: Seat) -> list[dict[str, Any]]:
    """Return the tensors that a model reads, one a column, as its metadata tells them."""
    schema = seat.scorer.bundle.schema
    return [
        {"name": name, "datatype": "FP64" if schema[name].kind is Kind.NUMERIC else "BYTES", "shape": [-1]}
        for name in seat.scorer.bundle.features
    ]


def outputs() -> list[dict[str, Any]]:
    """Return the tensors that every model gives, as its metadata tells them."""
    return [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in OUTPUTS.items()]


def records_of(inputs: Any, most: int) -> list[dict[str, Any]]:
    """Return a record for each row of the input tensors, each a column of shape [rows] or [rows, 1].

    Raises `Refusal` (400) for what breaks the protocol, (413) for more rows than `most`.
    """
    if type(inputs) is not list or not inputs:
        raise bad("'inputs' must be a list with a tensor for each column")
    columns: dict[str, list[Any]] = {}
    rows: int | None = None
    for place, tensor in enumerate(inputs):
        name, values = _column(tensor, place)
        if name in columns:
            raise bad("two input tensors have the same name")
        if rows is not None and len(values) != rows:
            raise bad(f"input tensors have the same number of rows: {rows} and {len(values)}")
        rows, columns[name] = len(values), values
    if not rows:
        raise bad("input tensors have at least one row")
    if rows > most:
        raise Refusal(413, "too-many-rows", f"A request has up to {most:,} rows: this one has {rows:,}.")
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def asked_outputs(told: Any) -> list[str]:
    """Return the names of the outputs that are wanted, all where nothing is said; raises `Refusal` (400)."""
    if told is None:
        return list(OUTPUTS)
    if type(told) is not list or not all(type(entry) is dict for entry in told):
        raise bad("'outputs' must be a list of {\"name\": ...}")
    names = [entry.get("name") for entry in told]
    if not all(type(name) is str and name in OUTPUTS for name in names) or len(set(names)) < len(names):
        raise bad(f"'outputs' names some of {', '.join(OUTPUTS)}, each once")
    return names or list(OUTPUTS)


def parameters_of(told: Any) -> Mapping[str, Any]:
    """Return the parameters of a request; raises `Refusal` (400) for what is no table."""
    if told is not None and type(told) is not dict:
        raise bad("'parameters' must be an object")
    return told or {}


def bad(what: str) -> Refusal:
    """Return the refusal of a request that breaks the protocol."""
    return Refusal(400, "bad-tensors", f"The Open Inference Protocol is version 2: {what}.")


def _column(tensor: Any, place: int) -> tuple[str, list[Any]]:
    if type(tensor) is not dict:
        raise bad(f"input {place} must be an object")
    name, kind, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
    if type(name) is not str or not name:
        raise bad(f"input {place} needs a name")
    if type(kind) is not str or kind not in DATATYPES:
        raise bad(f"input {place} needs a datatype, one of {', '.join(DATATYPES)}")
    if type(shape) is not list or not shape or not all(type(size) is int and size >= 0 for size in shape):
        raise bad(f"input {place} needs a shape of whole numbers")
    if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
        raise bad(f"input {place} is one column: its shape is [rows] or [rows, 1]")
    parameters_of(tensor.get("parameters"))
    values = tensor.get("data")
    if type(values) is not list:
        raise bad(f"input {place} needs its data as a list; binary data is not taken")
    if len(shape) == 2 and values and all(type(value) is list and len(value) == 1 for value in values):
        values = [value[0] for value in values]
    if len(values) != shape[0]:
        raise bad(f"input {place} has {len(values)} values where its shape says {shape[0]}")
    _check(values, kind, place)
    return name, values


def _check(values: list[Any], kind: str, place: int) -> None:
    for value in values:
        # JSON has no NaN, so null stands for a missing value; the protocol does not forbid it.
        if value is None:
            continue
        if kind == "BYTES":
            right = type(value) is str
        elif kind == "BOOL":
            right = type(value) is bool
        elif kind in _WHOLE:
            low, high = _WHOLE[kind]
            right = type(value) is int and low <= value <= high
        else:
            right = type(value) in (int, float) and abs(value) <= _REAL[kind]
        if not right:
            raise bad(f"input {place} has values that are no {kind}")
