"""Where a fact comes from, in words that a reason code can carry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from leanrisk.core.edge_table import EdgeKind

_WORDS = {
    EdgeKind.GUARANTEE: ("guarantees", "guaranteed by"),
    EdgeKind.OWNERSHIP: ("owns", "owned by"),
    EdgeKind.TRANSFER: ("pays", "paid by"),
}
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
        moment = _told_moment(self.at, dated=dated)
        if self.unknown:
            return f"{self.level} {self.value}: never seen before {moment}; rated as what it belongs to"
        return f"{self.level} {self.value}: {self.bads:,} of {self.known:,} matured outcomes bad, as of {moment}"


@dataclass(frozen=True)
class EdgeProvenance:
    """What the facts of an edge table rest on: an entity's neighbours, and the outcomes known of their own decisions.

    out, into: neighbours by edges out of the entity and to it; of shared things how many it uses, and how many others
    use them. `known` and `bads` are counted over the first neighbours, as the table's cap says.
    """

    edges: str
    kind: EdgeKind
    entity: str
    value: str
    out: int
    into: int
    known: int
    bads: int
    at: float

    def __str__(self) -> str:
        return self.told()

    def told(self, *, dated: bool = True) -> str:
        """Return such as "firm X: guarantees 3, guaranteed by 0; 1 of 2 matured outcomes of these bad, as of DATE"."""
        moment = _told_moment(self.at, dated=dated)
        if self.kind is EdgeKind.SHARED:
            near = f"shares {self.out} {self.edges} with {self.into} others"
        else:
            near = ", ".join(
                f"{word} {count}" for word, count in zip(_WORDS[self.kind], (self.out, self.into), strict=True)
            )
        return (
            f"{self.entity} {self.value}: {near}; {self.bads:,} of {self.known:,} matured outcomes of these bad, "
            f"as of {moment}"
        )


def _told_moment(at: float, *, dated: bool) -> str:
    return f"{_EPOCH + timedelta(days=at):%Y-%m-%d}" if dated and abs(at) < 7e5 else f"{at:g}"
