"""Which parts of a network are int8 and how their numbers are rounded: symmetric, one step for each output channel."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int8]
Arithmetic = Literal["unpacked", "int8", "dynamic"]

LARGEST = 127
"""Codes lie in -127..127: without -128 the range is symmetric, so that zero is exact and no offset is needed."""
TABLE = "table"
ARITHMETIC = "leanrisk.arithmetic"
"""Key of a graph's metadata under which it tells how it reckons; a graph in fp32 that is not packed has none."""
_BYTE = 255
WORTH_A_BYTE = 128
"""Numbers of a vector from which on a byte each saves more than the operators that widen them take."""
_HALF_LEAST, _HALF_MOST = 6.2e-5, 65_000.0
_LEAST_STEP = 1e-30


@dataclass(frozen=True)
class Quantization:
    """The `parts` (names of the network's modules) whose weights are int8 codes, and how the graph reckons with them.

    `arithmetic` "unpacked": codes are on disk, and the runtime turns them into float32 once, when it loads the graph.
    "int8": the inputs of dense layers are rounded too, each by its fixed step in `steps` (part -> step), and the
    products are sums of whole numbers. "dynamic": as before, but with a step worked out anew from the rows of each
    call, so that a row's score depends on its company: a control, never shipped. `route` says how the weights came
    about ("static", "qat" or "dynamic"), `settings` how to quantize again after a later teaching.
    """

    parts: tuple[str, ...]
    arithmetic: Arithmetic = "unpacked"
    steps: Mapping[str, float] = field(default_factory=dict)
    route: str = "static"
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.arithmetic not in get_args(Arithmetic):
            known = ", ".join(get_args(Arithmetic))
            raise ModelError(f"A quantization's arithmetic is one of {known}: it is {self.arithmetic!r}. Choose one.")
        dense = {part for part in self.parts if part != TABLE}
        if self.arithmetic == "int8" and set(self.steps) != dense:
            raise ModelError(
                f"Every dense int8 part needs the step of its inputs: {', '.join(sorted(dense ^ set(self.steps)))} has "
                "none, or is no part. Calibrate the network again."
            )
        wrong = [part for part, step in self.steps.items() if not (math.isfinite(step) and step > 0)]
        if wrong:
            raise ModelError(f"A step must be a positive number: that of '{wrong[0]}' is {self.steps[wrong[0]]}.")

    def step(self, part: str) -> float | None:
        """Return the step of a part's inputs where they are rounded by a fixed one, else None."""
        return self.steps[part] if self.arithmetic == "int8" and part in self.steps else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values that `from_dict` reads back."""
        return {
            "parts": list(self.parts),
            "arithmetic": self.arithmetic,
            "steps": dict(self.steps),
            "route": self.route,
            # As JSON has it, where a tuple is a list.
            "settings": json.loads(json.dumps(dict(self.settings))),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Quantization:
        """Return what `to_dict` wrote; raises `ModelError` where it is damaged."""
        try:
            return cls(
                tuple(map(str, values["parts"])),
                values["arithmetic"],
                {str(part): float(step) for part, step in values["steps"].items()},
                str(values["route"]),
                dict(values["settings"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"A quantization must be whole: it is not ({error!r}). Quantize again.") from error


def channel_steps(weight: Floats, axis: int | None) -> Floats:
    """Return the step of each output channel, of `weight`'s shape with 1 along the input `axis`.

    The largest weight of a channel becomes `LARGEST`. With no axis there is one step for all. A channel of next to
    nothing has the step 1, and so the codes 0.
    """
    largest = np.abs(weight).max(axis=axis, keepdims=True, initial=0.0)
    return in_byte(_positive(largest / np.float32(LARGEST)))


def in_byte(steps: Floats) -> Floats:
    """Return positive steps, each rounded up to a whole number of units of which 255 reach the largest of them.

    No weight falls outside its codes for it, and no step grows by more than a 255th of the largest. Few steps are kept
    in 16 bits instead: for them the unit would take more bytes than it saves.
    """
    if steps.size < WORTH_A_BYTE:
        return in_half(steps)
    unit = _unit(float(steps.max()) / _BYTE)
    # What is a whole number of units but for its last bit stays that number.
    return np.asarray(np.ceil(steps / unit * np.float32(1 - 1e-6)).clip(1, _BYTE) * unit, dtype=np.float32)


def in_signed_byte(values: Floats) -> Floats:
    """Return numbers of either sign, each the nearest whole number of units of which 127 reach the largest of them.

    Few of them, or none but zeros, stay as they are.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if values.size < WORTH_A_BYTE or not _LEAST_STEP < largest < np.inf:
        return values
    unit = _unit(largest / LARGEST)
    return np.asarray(np.rint(values / unit).clip(-LARGEST, LARGEST) * unit, dtype=np.float32)


def bytes_of(values: Floats) -> tuple[npt.NDArray[np.integer], np.float32] | None:
    """Return whole numbers of one byte and their unit, whose products are exactly these; None where there are none.

    What `in_byte` and `in_signed_byte` give has them.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if values.size < WORTH_A_BYTE or not _LEAST_STEP < largest < np.inf:
        return None
    for kind, most in ((np.uint8, _BYTE), (np.int8, LARGEST)):
        unit = _unit(largest / most)
        whole = np.rint(values / unit)
        fits = whole.min() >= np.iinfo(kind).min and whole.max() <= np.iinfo(kind).max
        if fits and np.array_equal(whole.astype(np.float32) * unit, values):
            return whole.astype(kind), unit
    return None


def _unit(size: float) -> np.float32:
    """Return the next number of 11 binary digits: its multiples by a byte are exact, so that they tell it again."""
    bits = (np.array([size], dtype=np.float32).view(np.int32) + 0x1FFF) & ~0x1FFF
    return np.float32(bits.view(np.float32)[0])


def _positive(steps: npt.NDArray[np.floating]) -> Floats:
    """Return the steps as float32, 1 in place of those so small that a quotient by them would overflow."""
    return np.where(steps > _LEAST_STEP, steps, 1.0).astype(np.float32)


def in_half(values: Floats) -> Floats:
    """Return float32 numbers rounded to what 16 bits hold, where that is as exact as 11 binary digits; others stay."""
    size = np.abs(values)
    fits = (size == 0) | ((size >= _HALF_LEAST) & (size <= _HALF_MOST))
    with np.errstate(over="ignore"):
        return np.where(fits, values.astype(np.float16).astype(np.float32), values)


@dataclass(frozen=True)
class TableSteps:
    """The steps of a field table: that of a row and column is `fields[field of the row] * columns[column]`.

    Two short vectors hold what a step for each field and column would take as many numbers for as the table's own rows.
    """

    fields: Floats
    columns: Floats
    owner: npt.NDArray[np.int64]

    @classmethod
    def of(cls, table: Floats, owner: npt.NDArray[np.int64]) -> TableSteps:
        """Return steps that no number of the table (rows, columns) exceeds; `owner`, the rows' fields, never falls."""
        starts = np.searchsorted(owner, np.arange(int(owner.max(initial=-1)) + 1))
        largest = np.maximum.reduceat(np.abs(table), starts, axis=0)
        columns = in_half(_positive(np.sqrt(np.mean(largest.astype(np.float64) ** 2, axis=0))))
        fields = in_half(_positive((largest / columns).max(axis=1, initial=0.0) / np.float32(LARGEST)))
        return cls(fields, columns, owner)

    @property
    def whole(self) -> Floats:
        """The step of every number of the table, (rows, columns)."""
        return np.asarray(self.fields[self.owner][:, None] * self.columns)


def codes_of(weight: Floats, steps: Floats) -> Codes:
    """Return the int8 codes of `weight`: the nearest whole number of steps, even where two are as near."""
    return np.asarray(np.clip(np.rint(weight / steps), -LARGEST, LARGEST), dtype=np.int8)


def row_owners(runs: tuple[tuple[int, int], ...], rows: int) -> npt.NDArray[np.int64]:
    """Return the field of each row of a table, (rows,), from its `runs` (see `FieldTable`); one field without them."""
    sizes = [single + knots for single, knots in runs] or [rows]
    return np.repeat(np.arange(len(sizes)), sizes)
