"""What a selection is told: limits, effort, what never goes and what the set may cost."""

from __future__ import annotations

from dataclasses import dataclass

from leanrisk.core.errors import ConfigError
from leanrisk.data.leaks import LEAK_AUC
from leanrisk.techniques.select.funnel import Limits
from leanrisk.techniques.select.prices import Basket


@dataclass(frozen=True)
class Budget:
    """The most that one decision may cost: features, money and milliseconds of look-ups; 0 leaves a limit out."""

    features: int = 0
    money: float = 0.0
    latency_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.features < 0 or self.money < 0 or self.latency_ms < 0:
            raise ConfigError("select.budget must not be negative: 0 leaves a limit out. Correct it.")

    def holds(self, basket: Basket) -> bool:
        """Return whether a set costs no more than the budget."""
        pairs = (
            (basket.features, self.features),
            (basket.money, self.money),
            (basket.latency_ms, self.latency_ms),
        )
        return all(not limit or cost <= limit for cost, limit in pairs)

    def __str__(self) -> str:
        limits = {"features": self.features, "money": self.money, "latency_ms": self.latency_ms}
        return ", ".join(f"{name} {limit:g}" for name, limit in limits.items() if limit) or "no limit"


@dataclass(frozen=True)
class Criteria:
    """How features are selected, and what never goes.

    First go features that their own figures condemn (missing above `missing`, one value, lone AUC of `leak_auc`) and
    look-ups that alone cost more than the `budget`; then those with a PSI of a month above `psi`, where the ranking is
    not inferior without them; then all but one of each cluster with rank correlations of `correlation`, then a `share`
    of the rest a round by Shapley values, down to `least`; then whole look-ups, the dearest first. The newest share
    `newest` of the rows is scored by models of the older ones and must agree. `repeats` bootstraps say how often each
    feature would be kept. At most `rows` rows are looked at. `keep` names features that never go. With `whole_calls`
    the features of one look-up stay or go as one. `weights` names a column that says what a row counts in fitting;
    `balance` makes bads count as much as goods.
    """

    keep: tuple[str, ...] = ()
    budget: Budget = Budget()
    share: float = 0.3
    least: int = 5
    folds: int = 4
    repeats: int = 8
    correlation: float = 0.95
    missing: float = 0.99
    leak_auc: float = LEAK_AUC
    psi: float = 0.25
    newest: float = 0.2
    rows: int = 30_000
    balance: bool = False
    weights: str = ""
    whole_calls: bool = False

    def __post_init__(self) -> None:
        for name in ("share", "correlation", "missing", "leak_auc"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise ConfigError(f"select.{name} must lie in (0, 1]: it is {value}. Correct it.")
        if not 0 <= self.newest <= 0.5 or self.psi <= 0:
            raise ConfigError("select.newest must lie in [0, 0.5] and select.psi be above 0. Correct them.")
        if self.least < 1 or self.folds < 2 or not 0 <= self.repeats <= 1000 or self.rows < 500:
            raise ConfigError(
                "select.least must be at least 1, folds at least 2, repeats in 0..1000, rows at least 500. Correct it."
            )
        if self.share == 1:
            raise ConfigError("select.share must leave something to rank: it is 1. Choose for example 0.2.")

    @property
    def limits(self) -> Limits:
        """Where a feature's own figures send it away."""
        return Limits(missing=self.missing, leak_auc=self.leak_auc, psi=self.psi)
