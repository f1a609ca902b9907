"""Feature selection: fewer columns to buy and to keep, as long as the ranking is not inferior."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from leanrisk.core.errors import ConfigError
from leanrisk.techniques.base import Bench, Candidate
from leanrisk.techniques.select.criteria import Criteria
from leanrisk.techniques.select.curve import Point
from leanrisk.techniques.select.prices import Prices
from leanrisk.techniques.select.search import Found, search

_NOTHING = "No smaller set of features ranks as well as all of them, by the rows that there are."


@dataclass(frozen=True)
class Select(Criteria):
    """Keeps the cheapest set of features whose KS is not inferior to that of all of them (see `Criteria`)."""

    name: str = "select"

    def apply(self, candidate: Candidate, bench: Bench) -> Candidate:
        """Return the candidate with fewer features and the incumbent's kind of model refitted on them.

        That holds for a network, too, whose own Shapley values then rank the features: a lesson after it is taught on
        what is left.
        The audit funnel and the curve of KS against cost stand in its `details`. Raises `ConfigError` for a regression,
        for a fixed feature that is none, where all are fixed, or where no set fits the budget; `ModelError` for rows of
        too few outcomes.
        """
        if bench.refit is None or bench.compare is None or bench.objective != "binary":
            raise ConfigError(
                "Features are selected in a run, for an outcome that is bad or good: this round has neither. Leave the "
                "step out of it."
            )
        prices = Prices.of(bench.train.schema)
        self._check(candidate, prices)
        found = search(bench.train.keeping(candidate.features), self, prices, bench, model=candidate.model)
        kept = self._affordable(found, prices)
        return replace(
            candidate,
            features=kept,
            model=found.model,
            lineage=(*candidate.lineage, self.name),
            details={**candidate.details, self.name: self._told(found, kept)},
            objection="" if len(kept) < len(candidate.features) else _NOTHING,
        )

    def _check(self, candidate: Candidate, prices: Prices) -> None:
        lost = [name for name in self.keep if name not in candidate.features]
        if lost:
            raise ConfigError(f"select.keep must name features: {', '.join(lost)} is none here. Correct it.")
        if set(self.keep) >= set(candidate.features):
            raise ConfigError(
                f"There must be something to select from: all {len(candidate.features)} features are fixed by "
                "select.keep. Take some out of it, or leave the step out."
            )
        bought = {prices.look_up(name) for name in self.keep} if self.whole_calls else set()
        fixed = [name for name in candidate.features if name in self.keep or prices.look_up(name) in bought]
        if not self.budget.holds(prices.basket(fixed)):
            raise ConfigError(
                f"What is fixed must fit the budget: {', '.join(self.keep)} cost {prices.basket(fixed)}, the "
                f"budget is {self.budget}. Raise the budget, or free one of them."
            )

    def _affordable(self, found: Found, prices: Prices) -> tuple[str, ...]:
        kept = found.names(found.chosen)
        if self.budget.holds(found.chosen.basket):
            return kept
        raise ConfigError(
            f"A set must be within the budget and not inferior: the cheapest that is not inferior costs "
            f"{prices.basket(kept)}, the budget is {self.budget}. Raise the budget, or accept a larger loss "
            "(gates.ks_margin)."
        )

    def _told(self, found: Found, kept: tuple[str, ...]) -> dict[str, Any]:
        return {
            "offered": len(found.fates),
            "kept": len(kept),
            "rows": found.rows,
            "attribution": found.attribution,
            "funnel": [fate.to_dict() for fate in found.fates],
            "curve": [_marked(point, found.chosen) for point in found.points],
        }


def _marked(point: Point, chosen: Point) -> dict[str, Any]:
    return {**point.to_dict(), "chosen": point is chosen}
