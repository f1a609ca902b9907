"""The edges of one table that hold at this moment: who is near whom, kept up to date edge by edge."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection

Pair = list[tuple[float, float]]
"""Edges between two entities that hold: when each became known, and its amount, earliest first."""
Order = list[tuple[float, int]]
"""Neighbours by the time at which the earliest edge to them became known, then by key."""

_NOBODY: dict[int, Pair] = {}
_NO_ORDER: Order = []


class EdgeWeb:
    """Entities by key. `out` and `into` hold the pairs of an entity by the other end, the same lists on both sides."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self.out: dict[int, dict[int, Pair]] = {}
        self.into: dict[int, dict[int, Pair]] = {}
        self._receivers: dict[int, Order] = {}
        self._near: dict[int, Order] = {}
        # Sums are worked out anew once an edge has ended: what is added and taken off again leaves its rounding behind.
        self._weights: dict[int, float] = {}

    def begin(self, source: int, target: int, known: float, amount: float) -> None:
        """Take in an edge that holds from now on."""
        self._change(source, target, (known, amount), insort)
        if source in self._weights:
            self._weights[source] += amount

    def end(self, source: int, target: int, known: float, amount: float) -> None:
        """Take out an edge that was taken in."""
        self._change(source, target, (known, amount), list.remove)
        self._weights.pop(source, None)

    def _change(
        self, source: int, target: int, edge: tuple[float, float], change: Callable[[Pair, tuple[float, float]], None]
    ) -> None:
        pair = self.out.setdefault(source, {}).setdefault(target, [])
        self.into.setdefault(target, {})[source] = pair
        back = self.out.get(target, _NOBODY).get(source)
        before, near = _first(pair), _earlier(_first(pair), _first(back))
        change(pair, edge)
        now = _first(pair)
        _moved(self._receivers.setdefault(source, []), target, before, now)
        # The two ends of an edge are two entities, so that back is never the pair itself.
        later = _earlier(now, _first(back))
        _moved(self._near.setdefault(source, []), target, near, later)
        _moved(self._near.setdefault(target, []), source, near, later)
        if not pair:
            del self.out[source][target], self.into[target][source]

    def near(self, one: int) -> Order:
        """Return the first `cap` neighbours of an entity, whichever way the edges lead."""
        return self._near.get(one, _NO_ORDER)[: self._cap]

    def receivers(self, one: int) -> Order:
        """Return the first `cap` entities that an entity has edges to."""
        return self._receivers.get(one, _NO_ORDER)[: self._cap]

    def degree(self, one: int, side: dict[int, dict[int, Pair]]) -> int:
        """Return the number of neighbours on one side, `out` or `into`."""
        return len(side.get(one, _NOBODY))

    def weight(self, one: int) -> float:
        """Return the sum of the amounts on an entity's edges to others."""
        found = self._weights.get(one)
        if found is None:
            pairs = self.out.get(one, _NOBODY).values()
            found = self._weights[one] = sum(amount for pair in pairs for _, amount in pair)
        return found

    def next_ring(self, side: Callable[[int], Order], ring: Collection[int], visited: Collection[int]) -> list[int]:
        """Return the first `cap` neighbours of a ring's entities, without those visited."""
        found: dict[int, float] = {}
        for one in ring:
            for known, other in side(one):
                if other not in visited and known < found.get(other, float("inf")):
                    found[other] = known
        if len(found) <= self._cap:
            return list(found)
        return [other for _, other in sorted(zip(found.values(), found, strict=True))[: self._cap]]


def _first(pair: Pair | None) -> float | None:
    return pair[0][0] if pair else None


def _earlier(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _moved(order: Order, other: int, before: float | None, now: float | None) -> None:
    if before == now:
        return
    if before is not None:
        del order[bisect_left(order, (before, other))]
    if now is not None:
        insort(order, (now, other))
