"""What every row of a table keeps to: ranges, whole numbers, sums, and columns that never lie before others."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from leanrisk.core.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """A number's limits, both included; an infinite one is none. Raises `ConfigError` where no number fits."""

    column: str
    least: float = -math.inf
    most: float = math.inf

    def __post_init__(self) -> None:
        if math.isnan(self.least) or math.isnan(self.most) or self.least > self.most:
            raise ConfigError(
                f"Constraints must not contradict each other: '{self.column}' is at least {self.least} and at most "
                f"{self.most}. Correct one of the two."
            )


@dataclass(frozen=True)
class Sum:
    """A number that is the sum of others, in every row where all of them are known."""

    total: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Order:
    """A date or number `later` that is never less than `earlier`, in every row where both are known."""

    earlier: str
    later: str


@dataclass(frozen=True)
class Constraints:
    """The [constraints] section of a schema. Raises `ConfigError` where its rules contradict each other.

    `whole` names numbers that are integers, whatever type the file gives them. A column is worked out from others by
    one rule at most, and never from itself.
    """

    ranges: tuple[Range, ...] = ()
    whole: tuple[str, ...] = ()
    sums: tuple[Sum, ...] = ()
    orders: tuple[Order, ...] = ()

    def __post_init__(self) -> None:
        for entry in self.sums:
            if len(set(entry.parts)) < 2:
                raise ConfigError(f"A sum has at least two different parts: that of '{entry.total}' has not. Name two.")
        made = [*(entry.total for entry in self.sums), *(entry.later for entry in self.orders)]
        twice = sorted({name for name in made if made.count(name) > 1})
        if twice:
            raise ConfigError(
                f"Constraints must not contradict each other: '{twice[0]}' is worked out by two rules (sums, orders). "
                "Keep one of them."
            )
        limited = [entry.column for entry in self.ranges]
        twice = sorted({name for name in limited if limited.count(name) > 1})
        if twice:
            raise ConfigError(f"A column has one range: '{twice[0]}' has two. Join them.")
        self.steps()

    @property
    def sources(self) -> dict[str, tuple[str, ...]]:
        """The columns that each worked-out column comes from."""
        return {entry.total: entry.parts for entry in self.sums} | {
            entry.later: (entry.earlier,) for entry in self.orders
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that some rule names."""
        named = [*(entry.column for entry in self.ranges), *self.whole]
        for made, sources in self.sources.items():
            named += [made, *sources]
        return tuple(dict.fromkeys(named))

    def steps(self) -> tuple[str, ...]:
        """Return the worked-out columns in an order in which each comes after those it needs; refuses circles."""
        waiting, done = self.sources, list[str]()
        while waiting:
            ready = [name for name, needs in waiting.items() if not set(needs) & set(waiting)]
            if not ready:
                raise ConfigError(
                    f"Constraints must not contradict each other: {', '.join(waiting)} wait for each other in a "
                    "circle. Take one rule out."
                )
            done += ready
            waiting = {name: needs for name, needs in waiting.items() if name not in ready}
        return tuple(done)

    def keeping(self, names: Iterable[str]) -> Constraints:
        """Return the rules all of whose columns are among `names`."""
        kept = set(names)
        return Constraints(
            tuple(entry for entry in self.ranges if entry.column in kept),
            tuple(name for name in self.whole if name in kept),
            tuple(entry for entry in self.sums if {entry.total, *entry.parts} <= kept),
            tuple(entry for entry in self.orders if {entry.earlier, entry.later} <= kept),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the rules as plain values (defaults left out) that read back to equal constraints."""
        plain = {
            "ranges": [_limits(entry) for entry in self.ranges],
            "whole": list(self.whole),
            "sums": [{"total": entry.total, "parts": list(entry.parts)} for entry in self.sums],
            "orders": [{entry.name: getattr(order, entry.name) for entry in fields(Order)} for order in self.orders],
        }
        return {key: value for key, value in plain.items() if value}


def _limits(entry: Range) -> dict[str, Any]:
    ends = {"least": entry.least, "most": entry.most}
    return {"column": entry.column, **{name: value for name, value in ends.items() if math.isfinite(value)}}
