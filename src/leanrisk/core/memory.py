"""What a memory holds and when a fact counts as known: the [memory] section of a schema, as frozen values."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from typing import Any

from leanrisk.core.edge_table import EdgeTable
from leanrisk.core.errors import ConfigError

PREFIX = "memory."
"""First letters of every column that a memory computes, so that none is taken for a column of the table."""
_MOST_WINDOWS, _MOST_HOPS = 8, 2


class Fact(StrEnum):
    """A family of facts about one entity."""

    COUNT = "count"
    """Events in each window."""
    VOLUME = "volume"
    """Sum of the amounts in each window."""
    RATE = "rate"
    """Share of bads among all outcomes known, smoothed towards the coarser entity; and how many are known."""
    WINDOW_RATE = "window_rate"
    """The same among the outcomes that became known in each window."""
    DECAYED_RATE = "decayed_rate"
    """The same with weights that halve every `half_life` days."""
    RECENCY = "recency"
    """Days since the latest and since the first event."""
    NOVELTY = "novelty"
    """1 where no event was known before, else 0."""


class LinkFact(StrEnum):
    """A family of facts about the two ends of an edge."""

    DEGREE = "degree"
    """Counterparties known so far, out of the source and into the target, and each end the other way round."""
    FAN = "fan"
    """Counterparties met anew in each window: fan-out of the source, fan-in of the target."""
    PAIR = "pair"
    """Earlier events from source to target, days since the latest, and 1 where there was none."""
    RECIPROCITY = "reciprocity"
    """Earlier events from target back to source, and their volume as a share of both ways."""
    RISK = "risk"
    """Bads known among the neighbours of each end, over `hops` hops."""
    CYCLE = "cycle"
    """Ways back from target to source over one account between: cycles that this edge would close."""
    SCATTER = "scatter"
    """Ways from source to target over one account between: scatter-gather."""
    CHAIN = "chain"
    """Amount that hangs on each end along the edges (a guarantor's guarantees), over `hops` hops."""


@dataclass(frozen=True)
class Entity:
    """A node of the graph: the columns whose values name it, and what is remembered of it.

    Several `columns` make a crossed entity (bank x industry). `prefixes` adds the coarser levels of a code that are its
    first letters, finest first (6-digit industry: 4, 3, 2). `under` names the entity that a rate is smoothed towards
    where there is no coarser level; empty: the whole book.
    """

    name: str
    columns: tuple[str, ...]
    prefixes: tuple[int, ...] = ()
    under: str = ""
    facts: tuple[Fact, ...] = (Fact.COUNT, Fact.RATE, Fact.WINDOW_RATE, Fact.RECENCY)

    def __post_init__(self) -> None:
        _check_name(self.name, "entity")
        if not self.columns or len(set(self.columns)) < len(self.columns):
            raise ConfigError(f"entity '{self.name}' needs columns, each once: {list(self.columns)}. Correct them.")
        if list(self.prefixes) != sorted(set(self.prefixes), reverse=True) or any(size < 1 for size in self.prefixes):
            raise ConfigError(f"entity '{self.name}': prefixes fall from fine to coarse, as in [4, 3, 2]. Order them.")
        if self.prefixes and len(self.columns) > 1:
            raise ConfigError(f"entity '{self.name}': a crossed entity has no prefixes. Give it 'under' instead.")
        if not self.facts:
            raise ConfigError(f"entity '{self.name}' must remember some facts: it names none. Name some or remove it.")

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the entity and its coarser levels, finest first: ("naics", "naics_4", "naics_2")."""
        return (self.name, *(f"{self.name}_{size}" for size in self.prefixes))


@dataclass(frozen=True)
class Link:
    """An edge that each row draws from the entity in column `source` to the one in `target`.

    `cap` bounds how many neighbours of one entity are looked at, the earliest known first, so that a hub cannot make a
    decision slow.
    """

    name: str
    source: str
    target: str
    facts: tuple[LinkFact, ...] = tuple(LinkFact)
    hops: int = 1
    cap: int = 64

    def __post_init__(self) -> None:
        _check_name(self.name, "link")
        if self.source == self.target or not self.source or not self.target:
            raise ConfigError(f"link '{self.name}' joins two columns: '{self.source}', '{self.target}'. Name two.")
        if not 1 <= self.hops <= _MOST_HOPS or self.cap < 1:
            raise ConfigError(f"link '{self.name}': hops lies in 1..{_MOST_HOPS} and cap is 1 or more. Correct them.")
        if not self.facts:
            raise ConfigError(f"link '{self.name}' must remember some facts: it names none. Name some or remove it.")


@dataclass(frozen=True)
class Memory:
    """Entities, links and edge tables whose facts are looked up at decision time, as known at that moment.

    A row is known to have happened at its decision time. Its outcome is known at the time in column `known`; where that
    is null or not given, a bad is known `delay` and a good `maturity` days after the decision. With `whole_cohorts` no
    outcome counts before `maturity`: bads are known sooner than the goods of their day, and alone they would tell how
    young an entity is and not how risky.

    `amount` is the column that volumes add up. `windows`, `half_life`, `delay` and `maturity` are in days, or in the
    unit of a decision time that counts. `strength` is the number of outcomes that the coarser entity's rate weighs in a
    smoothed rate.
    """

    entities: tuple[Entity, ...] = ()
    links: tuple[Link, ...] = ()
    edges: tuple[EdgeTable, ...] = ()
    amount: str = ""
    known: str = ""
    delay: float = 0.0
    maturity: float = 0.0
    whole_cohorts: bool = False
    windows: tuple[float, ...] = (1.0, 7.0, 30.0, 90.0, 365.0)
    half_life: float = 365.0
    strength: float = 20.0

    def __post_init__(self) -> None:
        if not self.entities and not self.links:
            raise ConfigError("A memory needs entities or links: there are none. Add some, or remove [memory].")
        if not 0 < len(self.windows) <= _MOST_WINDOWS or list(self.windows) != sorted(set(self.windows)):
            raise ConfigError(f"memory.windows: one to {_MOST_WINDOWS} rising numbers of days, not {self.windows}.")
        if self.windows[0] <= 0 or self.half_life <= 0 or self.strength < 0:
            raise ConfigError("memory.windows and half_life must be above 0, strength not below. Correct them.")
        if self.delay < 0 or self.maturity < self.delay:
            raise ConfigError(
                f"memory.maturity ({self.maturity}) must not be below delay ({self.delay}), which is 0 or more: a good "
                "is not known before a bad. Correct them."
            )
        names = [level for entity in self.entities for level in entity.levels]
        names += [*(link.name for link in self.links), *(table.name for table in self.edges)]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f"Names in a memory must be unique: '{twice}' stands twice. Rename one.")
        self._check_under()
        self._check_edges()

    def to_dict(self) -> dict[str, Any]:
        """Return the memory as plain TOML values, defaults left out."""
        plain: dict[str, Any] = _told(self)
        return plain

    def _check_under(self) -> None:
        coarser = {entity.name: entity.under for entity in self.entities}
        known = {level for entity in self.entities for level in entity.levels}
        for name, named in coarser.items():
            under = named
            if under and under not in known:
                raise ConfigError(f"entity '{name}': under = '{under}' is no entity of this memory. Correct it.")
            seen = [name]
            while under:
                owner = next(entity.name for entity in self.entities if under in entity.levels)
                if owner in seen:
                    raise ConfigError(f"A hierarchy must not turn in a circle: {' -> '.join([*seen, owner])}. Cut it.")
                seen.append(owner)
                under = coarser[owner]

    def _check_edges(self) -> None:
        entities = {entity.name: entity for entity in self.entities}
        for table in self.edges:
            _check_name(table.name, "edge table")
            own = entities.get(table.entity)
            if own is None or len(own.columns) > 1:
                raise ConfigError(
                    f"edges '{table.name}': entity = '{table.entity}' must be an entity of this memory that one column "
                    f"names. There are: {', '.join(name for name in entities if len(entities[name].columns) == 1)}."
                )

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table that name entities, each once, in the order of their first use."""
        named = [name for entity in self.entities for name in entity.columns]
        named += [name for link in self.links for name in (link.source, link.target)]
        return tuple(dict.fromkeys(named))


def _told(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_told(item) for item in value]
    if isinstance(value, Entity | Link | EdgeTable | Memory):
        held = {entry.name: (getattr(value, entry.name), entry.default) for entry in fields(value)}
        return {name: _told(own) for name, (own, usual) in held.items() if usual is MISSING or own != usual}
    return value.value if isinstance(value, StrEnum) else value


def _check_name(name: str, what: str) -> None:
    if not name.isidentifier():
        raise ConfigError(f"A memory's {what} is named by letters, digits and underscores: '{name}' is not. Rename it.")
