"""The choice among sets: folds rule out, validation rows decide, the cheapest that is not inferior is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from leanrisk.core.progress import Progress
from leanrisk.techniques.select.curve import Point, cheapest, decided, left_standing
from leanrisk.techniques.select.prices import Basket


class Confirming(Protocol):
    """Whoever answers for the validation rows (`Referee`)."""

    def confirmed(self, point: Point, names: Sequence[str]) -> Point:
        """Return the point with what validation says of it; `names` are those of all columns, by position."""
        ...

    def averaged(self, point: Point, names: Sequence[str]) -> Point:
        """Return a confirmed point with what they say of the mean of several fits."""
        ...


@dataclass(frozen=True)
class Choice:
    """Puts sets to the validation rows and picks one; `names` are those of all columns, `holds` asks the budget."""

    referee: Confirming
    names: Sequence[str]
    holds: Callable[[Basket], bool]

    def asked(self, points: Sequence[Point], progress: Progress) -> list[Point]:
        """Return the points, largest set first, with what the validation rows say of those that they were asked about.

        They are asked about all features and then, from the smallest set up, about what the folds let through, until
        one is proven that is borne out by the next larger one. Larger sets cost no less, so none could be preferred.
        """
        let = left_standing(points, self.holds)
        let = let if len(let) > 1 else left_standing(points, lambda basket: True)
        whole, smaller = let[0], let[1:]
        found = {id(whole): self.referee.confirmed(whole, self.names)}
        with progress.track("judging sets on validation", total=len(smaller)) as advance:
            for place in range(len(smaller) - 1, -1, -1):
                found[id(smaller[place])] = self.referee.confirmed(smaller[place], self.names)
                advance(1)
                seen = [found[id(point)].on_valid for point in smaller[place:]]
                best = cheapest([found[id(whole)].on_valid, *seen], self.holds)
                # The first of `seen` still lacks the larger neighbour that would have to bear it out.
                if best is not None and decided(best) and any(best is point for point in seen[1:]):
                    break
        return [found.get(id(point), point) for point in points]

    def confirmed(self, point: Point) -> Point:
        """Return a point with what the validation rows say of it, where the folds let it through."""
        return self.referee.confirmed(point, self.names) if point.borne else point

    def best(self, points: Sequence[Point], progress: Progress) -> tuple[Point, list[Point]]:
        """Return the cheapest of the points by the validation rows, within the budget where any is, and all points.

        Sets that one fit lets through are fitted again before, and so are their larger neighbours.
        """
        judged = [point for point in points if point.valid]
        passed = [place for place, point in enumerate(judged) if place and point.on_valid.passing]
        again = sorted({near for place in passed for near in (place - 1, place)})
        with progress.track("fitting the nearest sets again", total=len(again)) as advance:
            for place in again:
                judged[place] = self.referee.averaged(judged[place], self.names)
                advance(1)
        seen = [point.on_valid for point in judged]
        found = cheapest(seen, self.holds) or cheapest(seen) or seen[0]
        chosen = judged[next(place for place, point in enumerate(seen) if point is found)]
        calmer = {id(point.round): point for point in judged}
        return chosen, [calmer.get(id(point.round), point) for point in points]
