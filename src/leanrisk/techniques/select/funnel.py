"""The audit funnel: every feature with why it went or stayed, none left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from leanrisk.techniques.select.audit import Portrait

STAGES = (
    "fixed",
    "missing",
    "constant",
    "leak_suspect",
    "over_budget",
    "unstable",
    "redundant",
    "low_shap",
    "dear",
    "kept",
)
"""Why a feature stayed or went, in the order in which it is asked."""


@dataclass(frozen=True)
class Fate:
    """What became of one feature: the stage that decided, in words, and the figures that stood behind it.

    `shap` is the mean absolute Shapley value in the last round that held it (log-odds), `round` the number of that
    round, `kept_share` how often bootstraps kept it; None where it never came that far.
    """

    name: str
    stage: str
    reason: str
    portrait: Portrait
    price: float
    latency_ms: float
    look_up: str
    shap: float | None = None
    shap_error: float | None = None
    round: int | None = None
    kept_share: float | None = None

    @property
    def stays(self) -> bool:
        """Whether the feature is in the chosen set."""
        return self.stage in ("fixed", "kept")

    def to_dict(self) -> dict[str, Any]:
        """Return the fate as plain values, the portrait's figures among them."""
        plain = asdict(self)
        return {**{name: value for name, value in plain.items() if name != "portrait"}, **plain["portrait"]}


@dataclass(frozen=True)
class Limits:
    """Where a feature's own figures send it away before any model is fitted."""

    missing: float
    leak_auc: float
    psi: float


def first_look(
    portraits: Mapping[str, Portrait], *, limits: Limits, fixed: frozenset[str]
) -> dict[str, tuple[str, str]]:
    """Return the stage and reason of each feature that goes by its own figures; those that go on are not in it."""
    found = {}
    for name, one in portraits.items():
        if name not in fixed and (verdict := _verdict(one, limits)) is not None:
            found[name] = verdict
    return found


def moving(portraits: Mapping[str, Portrait], *, limits: Limits, fixed: frozenset[str]) -> dict[str, str]:
    """Return for each feature that is not stable from month to month what its figures say.

    No verdict yet: over twenty years of loans nearly every honest column moves, and the ranking may need it.
    """
    return {
        name: f"its PSI reaches {one.psi:.2f} in one month (limit {limits.psi:.2f})"
        for name, one in portraits.items()
        if name not in fixed and one.psi is not None and one.psi > limits.psi
    }


def _verdict(one: Portrait, limits: Limits) -> tuple[str, str] | None:
    if one.distinct == 0 or one.missing > limits.missing:
        return "missing", f"{one.missing:.1%} of its values are missing (limit {limits.missing:.1%})"
    if one.distinct < 2 and one.missing == 0.0:
        return "constant", "it has one value"
    if one.lone_auc is not None and one.lone_auc >= limits.leak_auc:
        return "leak_suspect", f"it alone ranks the outcome with AUC {one.lone_auc:.3f} (limit {limits.leak_auc:.2f})"
    return None
