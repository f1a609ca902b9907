"""A table of edges that are no decisions: who guarantees, owns or pays whom, and who shares an address."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from leanrisk.core.errors import ConfigError

_MOST_HOPS, _MOST_DEPTH, _MOST_CAP = 2, 6, 256


class EdgeKind(StrEnum):
    """What an edge means, and with it which facts are remembered where none are named."""

    GUARANTEE = "guarantee"
    """The source stands for the target, with an amount."""
    OWNERSHIP = "ownership"
    """The source owns a share of the target."""
    TRANSFER = "transfer"
    """The source pays the target, and nobody decides on that."""
    SHARED = "shared"
    """The source uses the target: an address, a telephone, a device. The target is no entity itself."""


class EdgeFact(StrEnum):
    """A family of facts about one entity, from the edges that hold at the moment and the outcomes known before it."""

    DEGREE = "degree"
    """Entities that it has edges to, and that have edges to it; of a shared thing: how many things it uses."""
    FAN = "fan"
    """Edges from it, and to it, that became known in each window."""
    RISK = "risk"
    """Outcomes known of its neighbours' own decisions, bads among them, and their smoothed rate, over `hops` hops."""
    CHAIN = "chain"
    """Amounts down the chain over `depth` steps; entities reached, their bads and their smoothed rate."""
    CLUSTER = "cluster"
    """Other entities that use the same things, their bads and their smoothed rate."""


_USUAL = {
    EdgeKind.GUARANTEE: (EdgeFact.DEGREE, EdgeFact.RISK, EdgeFact.CHAIN),
    EdgeKind.OWNERSHIP: (EdgeFact.DEGREE, EdgeFact.RISK, EdgeFact.CHAIN),
    EdgeKind.TRANSFER: (EdgeFact.DEGREE, EdgeFact.FAN, EdgeFact.RISK),
    EdgeKind.SHARED: (EdgeFact.DEGREE, EdgeFact.CLUSTER),
}
_OF_ENTITIES = frozenset({EdgeFact.RISK, EdgeFact.CHAIN})


@dataclass(frozen=True)
class EdgeTable:
    """Edges in a file of their own, each known from its `time` on and holding up to and with its `until`.

    `source`, `target`, `time`, `until` and `amount` are columns of that file; without `until` an edge holds for good,
    without `amount` it weighs nothing. `entity` is the entity of the memory, named by one column of the book, whose
    values the ends are (of a shared thing the source alone). `cap` bounds how many neighbours of one entity, and how
    many entities of one ring, are looked at, the earliest known first: a hub cannot make a decision slow.
    """

    name: str
    entity: str
    source: str
    target: str
    time: str
    file: str = ""
    until: str = ""
    amount: str = ""
    kind: EdgeKind = EdgeKind.TRANSFER
    facts: tuple[EdgeFact, ...] = ()
    hops: int = 2
    depth: int = 3
    cap: int = 32

    def __post_init__(self) -> None:
        columns = [name for name in (self.source, self.target, self.time, self.until, self.amount) if name]
        if not self.source or not self.target or not self.time or len(set(columns)) < len(columns):
            raise ConfigError(
                f"edges '{self.name}' need the columns source, target and time, and a column serves once: {columns}. "
                "Correct them."
            )
        if not 1 <= self.hops <= _MOST_HOPS or not 1 <= self.depth <= _MOST_DEPTH or not 1 <= self.cap <= _MOST_CAP:
            raise ConfigError(
                f"edges '{self.name}': hops lies in 1..{_MOST_HOPS}, depth in 1..{_MOST_DEPTH} and cap in "
                f"1..{_MOST_CAP}: they are {self.hops}, {self.depth} and {self.cap}. Correct them."
            )
        if EdgeFact.CLUSTER in self.facts and self.kind is not EdgeKind.SHARED:
            raise ConfigError(f"edges '{self.name}': a cluster is of shared things. Take it out, or set the kind so.")
        if self.kind is EdgeKind.SHARED and _OF_ENTITIES & set(self.facts):
            raise ConfigError(
                f"edges '{self.name}': a shared thing has no outcomes and passes nothing on. Name 'cluster' instead."
            )

    @property
    def families(self) -> tuple[EdgeFact, ...]:
        """The facts that are remembered: those named, or the usual ones of the kind."""
        return tuple(dict.fromkeys(self.facts)) or _USUAL[self.kind]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the file that are read."""
        return tuple(filter(None, (self.source, self.target, self.time, self.until, self.amount)))
