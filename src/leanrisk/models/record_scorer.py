"""From one record to its answer in one pass: the very route that serves, and so the one whose latency is measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import local
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import DataError, Fault, ModelError
from leanrisk.core.inputs import Inputs
from leanrisk.models.onnx_session import GraphSession

Record = Mapping[str, Any]
Facts = Callable[[Record], npt.NDArray[np.float32]]
"""From a record to numbers that are computed for it: what a memory knew, what a text model reads."""


@dataclass(frozen=True)
class Beside:
    """Numbers that come beside a record: what they are, in words, their `names`, and who is asked for them."""

    what: str
    names: Sequence[str]
    ask: Facts


def beside_each(parts: Sequence[Beside]) -> tuple[Sequence[str], Facts | None]:
    """Return the names of all parts' numbers and the one function that gives them; None where there is no part."""
    if len(parts) <= 1:
        return (parts[0].names, parts[0].ask) if parts else ((), None)
    asked = [part.ask for part in parts]
    return [name for part in parts for name in part.names], lambda record: np.concatenate(
        [ask(record) for ask in asked]
    )


class Writer(Protocol):
    """What puts a record into a row (`features.record.RecordWriter`)."""

    def plain(self, record: Record) -> dict[str, Any]:
        """Return the record's entries, which no reader can be told otherwise; raises `DataError` for no mapping."""
        ...

    def write(self, record: Record, row: Inputs, told: npt.NDArray[np.float32] | None = None) -> None:
        """Write the record into the first row."""
        ...

    def infinite(self, row: Inputs) -> list[Fault]:
        """Return a fault for every infinite number of the first row."""
        ...


class RecordScorer:
    """Callable: a record in, the calibrated probability (regression: the value) out; any number of threads may call.

    `writing` makes the writer for the names of numbers that come beside the record; `facts` looks them up. Each thread
    has arrays of its own, which the runtime reads where they lie.
    """

    def __init__(
        self,
        session: GraphSession,
        writing: Callable[[Sequence[str]], Writer],
        names: Sequence[str] = (),
        facts: Facts | None = None,
    ) -> None:
        self.session, self._writing, self.facts = session, writing, facts
        self.writer = writing(names)
        self._write, self._infinite = self.writer.write, self.writer.infinite
        self._own = local()

    def told(self, names: Sequence[str], facts: Facts) -> RecordScorer:
        """Return the same scorer with these numbers beside each record, computed in the same pass."""
        return RecordScorer(self.session, self._writing, names, facts)

    def __call__(self, record: Record) -> float:
        """Return the answer; raises `DataError` naming every field at fault, `ModelError` where it is no number."""
        try:
            row = self._own.row
        except AttributeError:
            row = self._own.row = self.session.row()
        if type(record) is not dict:
            record = self.writer.plain(record)
        told = None if self.facts is None else self.facts(record)
        self._write(record, row.inputs, told)
        faults = self._infinite(row.inputs)
        if faults:
            raise DataError(faults)
        answer: float = row.answer()
        if not math.isfinite(answer):
            raise no_number(answer)
        return answer


def no_number(answer: float) -> ModelError:
    """Return the error of a graph whose answer is no number."""
    return ModelError(f"A model's answer is a number: this graph gave {answer}. Restore the bundle, or shrink again.")
