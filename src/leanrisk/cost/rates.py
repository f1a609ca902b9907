"""What seconds, labels and look-ups cost in money: a rate card the user can replace."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from importlib.resources import as_file, files
from pathlib import Path

from leanrisk.core.config import configured, read_toml
from leanrisk.core.errors import ConfigError
from leanrisk.core.measurement import Cost

_HOUR_S = 3600.0


class Quantity(StrEnum):
    """What a phase can use beside seconds; `money` is an amount already in the card's currency (an invoice)."""

    LABELS = "labels"
    FEATURE_LOOKUPS = "feature_lookups"
    ANALYST_DAYS = "analyst_days"
    STORAGE_GB_MONTHS = "storage_gb_months"
    MONEY = "money"


@dataclass(frozen=True)
class RateCard:
    """Prices per unit in one currency; every one is entered by a person, and `notes` says what each stands for.

    `gpu_hour` maps a card type (lower case) to its price. Raises `ConfigError` for a negative or non-finite price.
    """

    currency: str
    cpu_core_hour: float
    label: float
    feature_lookup: float
    analyst_day: float
    storage_gb_month: float = 0.0
    gpu_hour: Mapping[str, float] = field(default_factory=dict)
    name: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (len(self.currency) == 3 and self.currency.isalpha() and self.currency.isupper()):
            raise ConfigError(f"A currency is an ISO 4217 code such as CNY: it is {self.currency!r}. Correct it.")
        prices = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), float)}
        prices |= {f"gpu_hour.{kind}": price for kind, price in self.gpu_hour.items()}
        for key, price in prices.items():
            if not (math.isfinite(price) and price >= 0.0):
                raise ConfigError(f"A price is a finite number, 0 or more: {key} is {price!r}. Correct the rate card.")

    @classmethod
    def read(cls, path: Path | str) -> RateCard:
        """Return the rate card in a TOML file; raises `ConfigError`."""
        return configured(cls, read_toml(path), where=str(path))

    @classmethod
    def default(cls) -> RateCard:
        """Return the shipped card: yuan renminbi, assumed prices."""
        with as_file(files("leanrisk.cost") / "rates_cny.toml") as path:
            return cls.read(path)

    def price(self, cost: Cost, quantities: Mapping[str, float] | None = None, *, gpu: str = "") -> float | None:
        """Return the money for a phase: CPU and GPU time at the hour's price, and each quantity at its own.

        `quantities` maps `Quantity` names to counts; `gpu` names the card type where `cost` has GPU-seconds. None where
        that card type has no price: a run of hours must not end for it, and nothing is priced at 0 unseen (see
        `unpriced`). Raises `ConfigError` for an unknown quantity.
        """
        counts = checked_quantities(quantities or {})
        if self.unpriced(cost, gpu=gpu):
            return None
        money = cost.cpu_s / _HOUR_S * self.cpu_core_hour
        if cost.gpu_s > 0.0:
            money += cost.gpu_s / _HOUR_S * self.gpu_hour[gpu.lower()]
        return money + sum(count * self._unit_price(kind) for kind, count in counts.items())

    def unpriced(self, cost: Cost, *, gpu: str) -> str:
        """Return why a phase has no price and the way out; an empty text where it has one."""
        if cost.gpu_s <= 0.0 or gpu.lower() in self.gpu_hour:
            return ""
        known = ", ".join(self.gpu_hour) or "none"
        return f"No price for GPU '{gpu or 'unknown'}': the rate card has {known}. Add it under gpu_hour."

    def _unit_price(self, kind: Quantity) -> float:
        prices = {
            Quantity.LABELS: self.label,
            Quantity.FEATURE_LOOKUPS: self.feature_lookup,
            Quantity.ANALYST_DAYS: self.analyst_day,
            Quantity.STORAGE_GB_MONTHS: self.storage_gb_month,
            Quantity.MONEY: 1.0,
        }
        return prices[kind]


def checked_quantities(quantities: Mapping[str, float]) -> dict[Quantity, float]:
    """Return the quantities by kind; raises `ConfigError` for an unknown name or a negative or non-finite count."""
    checked: dict[Quantity, float] = {}
    for name, count in quantities.items():
        if name not in set(Quantity):
            raise ConfigError(f"A priced quantity is one of {', '.join(Quantity)}: '{name}' is not. Use one of them.")
        if not (math.isfinite(count) and count >= 0.0):
            raise ConfigError(f"A quantity is a finite number, 0 or more: {name} is {count!r}. Correct it.")
        checked[Quantity(name)] = float(count)
    return checked


def break_even(one_off: float, before_per_round: float, after_per_round: float) -> int | None:
    """Return after how many rounds `one_off` is paid for by the saving of each; None where a round saves nothing.

    All three in the same unit (money, or CPU-seconds). A one-off cost of 0 or less is paid for after 0 rounds.
    """
    if one_off <= 0.0:
        return 0
    saving = before_per_round - after_per_round
    if saving <= 0.0:
        return None
    # The small factor undoes float noise, so that 0.3 paid by 0.1 a round takes 3 rounds and not 4.
    return math.ceil(one_off / saving * (1.0 - 1e-12))
