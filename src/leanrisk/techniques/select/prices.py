"""What a set of features costs to fetch for one decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from leanrisk.core.schema import Column, Schema


@dataclass(frozen=True)
class Basket:
    """What one decision pays: `money` in the schema's currency, `latency_ms` of all look-ups one after the other."""

    money: float
    latency_ms: float
    features: int

    @property
    def order(self) -> tuple[float, float, int]:
        """Sorts sets by money, then by waiting time, then by number."""
        return (self.money, self.latency_ms, self.features)

    def __str__(self) -> str:
        return f"{self.features} features, {self.money:.2f} in money and {self.latency_ms:g} ms"


@dataclass(frozen=True)
class Prices:
    """The look-ups that features come from: columns of one look-up are bought together and paid once."""

    columns: Mapping[str, Column]

    @classmethod
    def of(cls, schema: Schema) -> Prices:
        """Return the prices that a schema states."""
        return cls(dict(schema.by_name))

    def look_up(self, name: str) -> str:
        """Return the name of the call that brings this feature; a feature bought by itself is its own call."""
        column = self.columns.get(name)
        return name if column is None or column.lookup is None else column.lookup

    def basket(self, names: Iterable[str]) -> Basket:
        """Return what these features cost together; a look-up's price is the dearest that its columns state."""
        names = tuple(names)
        money: dict[str, float] = {}
        waits: dict[str, float] = {}
        for name in names:
            call, column = self.look_up(name), self.columns.get(name)
            if column is not None:
                money[call] = max(money.get(call, 0.0), column.price)
                waits[call] = max(waits.get(call, 0.0), column.latency_ms)
        return Basket(sum(money.values()), sum(waits.values()), len(names))

    def over(self, names: Iterable[str], holds: Callable[[Basket], bool]) -> dict[str, str]:
        """Return the features whose whole look-up alone costs more than `holds` allows, each with what it costs."""
        found = {}
        for call, held in self.calls(names).items():
            basket = self.basket(held)
            if not holds(Basket(basket.money, basket.latency_ms, 1)):
                found.update(dict.fromkeys(held, f"'{call}' costs {basket.money:.2f} and {basket.latency_ms:g} ms"))
        return found

    def calls(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return the features of each call that costs money or time, the dearest call first."""
        grouped: dict[str, list[str]] = {}
        for name in names:
            grouped.setdefault(self.look_up(name), []).append(name)
        priced = {call: tuple(held) for call, held in grouped.items() if self.basket(held).order[:2] > (0.0, 0.0)}
        return dict(sorted(priced.items(), key=lambda entry: self.basket(entry[1]).order, reverse=True))
