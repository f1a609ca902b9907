"""Where a fact comes from, in words that a reason code can carry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Provenance:
    """What a rate rests on: `bads` of `known` outcomes of the entity `value` at `level`, as known before `at`.

    `rate` is the smoothed rate over all outcomes. `unknown`: the entity was never seen, so that its rate is that of the
    coarser one.
    """

    level: str
    value: str
    known: int
    bads: int
    rate: float
    at: float
    unknown: bool

    def __str__(self) -> str:
        return self.told()

    def told(self, *, dated: bool = True) -> str:
        """Return a sentence such as "bank X: 41 of 312 matured outcomes bad, as of 2009-06-30".

        `dated`: moments are days since 1970; otherwise the moment itself is told, as for a time that counts.
        """
        moment = f"{_EPOCH + timedelta(days=self.at):%Y-%m-%d}" if dated and abs(self.at) < 7e5 else f"{self.at:g}"
        if self.unknown:
            return f"{self.level} {self.value}: never seen before {moment}; rated as what it belongs to"
        return f"{self.level} {self.value}: {self.bads:,} of {self.known:,} matured outcomes bad, as of {moment}"
