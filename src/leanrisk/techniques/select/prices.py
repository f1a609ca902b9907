"""What a set of features costs to fetch for one decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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

    def shared(self, names: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return what each of `names` adds to their price, float64 (names, 2): money and milliseconds.

        Each bears an equal share of its look-up with the others of `names` that the look-up brings: the fewer are left,
        the dearer is each of them.
        """
        found = np.zeros((len(names), 2))
        place = {name: number for number, name in enumerate(names)}
        for held in self.calls(names).values():
            basket = self.basket(held)
            found[[place[name] for name in held]] = basket.money / len(held), basket.latency_ms / len(held)
        return found

    def over(self, names: Iterable[str], holds: Callable[[Basket], bool], *, whole: bool = False) -> dict[str, str]:
        """Return the features whose look-up alone costs more than `holds` allows, each with what it costs.

        A look-up may be bought for one of its features, unless it stays or goes as a `whole`.
        """
        found = {}
        for call, held in self._grouped(names).items():
            basket = self.basket(held)
            features = basket.features if whole else 1
            if not holds(Basket(basket.money, basket.latency_ms, features)):
                said = f"'{call}' costs {basket.money:.2f} and {basket.latency_ms:g} ms"
                found.update(dict.fromkeys(held, f"{said} for {features} features" if whole else said))
        return found

    def calls(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return the features of each call that costs money or time, the dearest call first."""
        grouped = self._grouped(names)
        priced = {call: held for call, held in grouped.items() if self.basket(held).order[:2] > (0.0, 0.0)}
        return dict(sorted(priced.items(), key=lambda entry: self.basket(entry[1]).order, reverse=True))

    def _grouped(self, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        grouped: dict[str, list[str]] = {}
        for name in names:
            grouped.setdefault(self.look_up(name), []).append(name)
        return {call: tuple(held) for call, held in grouped.items()}
