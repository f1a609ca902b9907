"""What a memory knew before one record's own decision: from its counters, or from its events for another time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import MemoryStoreError
from leanrisk.graph.keys import named_record
from leanrisk.graph.store import MemoryStore

Record = Mapping[str, Any]
FARTHEST = 366.0
"""How far ahead of its memory's clock a decision may be, in days or the unit of a time that counts."""


@dataclass(frozen=True)
class Present:
    """Callable: a record in, the facts of `store` as of its own decision out, float32 (facts,).

    `moment` reads a record's decision time; `past` works the facts out from the events themselves, for a decision
    before the store's clock, whose later facts are in the counters by now, and for one so far ahead that the store
    would take it for its present from then on. That is slower. `codes` are the missing codes of columns that name
    entities: they name nobody.
    """

    store: MemoryStore
    moment: Callable[[Record], float]
    past: Callable[[Record], npt.NDArray[np.float32]]
    codes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __call__(self, record: Record) -> npt.NDArray[np.float32]:
        """Return the facts; raises what `moment` raises for a record without a decision time."""
        at, store = self.moment(record), self.store
        if self.codes:
            record = named_record(record, self.codes)
        store.keep_up()
        if 0 <= at - store.clock <= FARTHEST:
            # Another thread may move the clock past this moment between the question and the answer.
            with contextlib.suppress(MemoryStoreError):
                return store.lookup(record, at)
        return self.past(record)
