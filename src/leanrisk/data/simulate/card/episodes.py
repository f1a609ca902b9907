"""Spells of unusual payments: what a thief does with a card, and what its holder does on holiday or a new phone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from leanrisk.data.simulate.card.holders import FAVOURITES, Flags, Holders, Reals
from leanrisk.data.simulate.draws import Ints
from leanrisk.data.simulate.rhythm import Rhythm


class Fraud(StrEnum):
    """How a fraud is made. The order is that of the numbers in a book."""

    COMPROMISED_TERMINAL = "compromised_terminal"
    """A tapped terminal, for some weeks: cards used there are copied."""
    COMPROMISED_CUSTOMER = "compromised_customer"
    """A copied card: the thief pays here and there for days, between the payments of its holder."""
    TESTING = "testing_then_draining"
    """Small payments try the card, then large ones empty it."""
    BURST = "not_present_burst"
    """Many payments on the web within days, mostly at merchants that are new to the holder."""
    TAKEOVER = "account_takeover"
    """From one day on someone else pays, mostly from another device and in other places."""
    LONE = "lone"
    """A single theft that leaves no trail."""


FRAUDS = tuple(Fraud)


@dataclass(frozen=True)
class Plan:
    """How spells of one kind look, honest or not.

    events: fewest and most payments. hours: median length in busy hours, halved or doubled by tempo. online: share of
    payments on the web. strange, away, device: share of spells that go beyond the holder's habits, to another zone, to
    another device. boost: log of how much larger amounts are. tests: whether the first half of the payments is small.
    """

    fraud: Fraud
    events: tuple[int, int]
    hours: float
    online: float
    strange: float
    away: float
    device: float
    boost: float
    tests: bool = False


PLANS = (
    Plan(Fraud.COMPROMISED_CUSTOMER, (3, 10), 200.0, 0.4, 0.7, 0.4, 0.3, 0.4),
    Plan(Fraud.TESTING, (3, 8), 14.0, 0.95, 0.6, 0.0, 0.4, 0.6, tests=True),
    Plan(Fraud.BURST, (3, 9), 30.0, 1.0, 0.6, 0.0, 0.4, 0.2),
    Plan(Fraud.TAKEOVER, (4, 12), 120.0, 0.6, 0.6, 0.4, 0.5, 0.3),
)

_MOST_HOURS = 400.0
_TEMPO, _STRANGE, _AWAY, _DEVICE, _SHARED, _BOOST, _TRAIT, _WEAK = 0.9, 1.1, 0.4, 0.6, 1.0, 0.3, 0.8, 0.7
_SHARED_DEVICE = 0.4
"""Share of the other devices that many people use; the rest is used in one spell only."""


@dataclass(frozen=True)
class Spells:
    """Spells and their payments. kinds (places in FRAUDS), sizes, log_odds: arrays over spells.

    Arrays over payments, those of a spell side by side: spell (its place), customer, terminal, device, busy (hours),
    log_amount.
    """

    kinds: Ints
    sizes: Ints
    log_odds: Reals
    spell: Ints
    customer: Ints
    terminal: Ints
    device: Ints
    busy: Reals
    log_amount: Reals


@dataclass(frozen=True)
class _Manner:
    """How each spell goes, shape (spells,): its speed and its amounts, standard normal, and what is unusual in it."""

    tempo: Reals
    boost: Reals
    strange: Flags
    away: Flags
    device: Flags

    @classmethod
    def drawn(cls, plan: Ints, rng: np.random.Generator) -> _Manner:
        unusual = (rng.random(plan.size) < _planned(name)[plan] for name in ("strange", "away", "device"))
        return cls(rng.standard_normal(plan.size), rng.standard_normal(plan.size), *unusual)

    def log_odds(self) -> Reals:
        """Return what the manner says about guilt."""
        told = _TEMPO * self.tempo + _BOOST * self.boost + _STRANGE * self.strange
        return np.asarray(told + _AWAY * self.away + _DEVICE * self.device)


def drawn_spells(
    holders: Holders,
    rhythm: Rhythm,
    busy: tuple[float, float],
    events: Reals,
    first_device: int,
    rng: np.random.Generator,
) -> Spells:
    """Return the spells that begin between two times (busy hours).

    events: about how many payments each of `PLANS` has, shape (plans,). first_device: number of the first new device.
    """
    plan, sizes = _drawn_sizes(events, rng)
    spell = np.repeat(np.arange(plan.size), sizes)
    place = np.arange(spell.size) - (np.cumsum(sizes) - sizes)[spell]
    manner = _Manner.drawn(plan, rng)
    customer, begun = holders.active(rng.random(plan.size)), rng.uniform(*busy, plan.size)
    hours = np.minimum(_planned("hours")[plan] * 2.0**-manner.tempo, _MOST_HOURS)
    hours = np.minimum(hours, (rhythm.span - begun) * 0.99)
    device = _devices(holders, customer, manner.device, first_device, rng)
    terminal = _terminals(holders, customer, plan, manner, spell, rng)
    weakness = np.bincount(spell, holders.weakness(terminal, begun[spell]), minlength=plan.size) / sizes
    tests = (_planned("tests")[plan][spell] > 0) & (place < (sizes[spell] + 1) // 2)
    level = holders.scale[customer] + _planned("boost")[plan] + 0.4 * manner.boost
    noise = rng.standard_normal(spell.size)
    hidden = _SHARED * holders.device_trait(device) + _TRAIT * holders.trait[customer] + _WEAK * weakness
    return Spells(
        kinds=np.array([FRAUDS.index(entry.fraud) for entry in PLANS])[plan],
        sizes=sizes,
        log_odds=manner.log_odds() + hidden,
        spell=spell,
        customer=customer[spell],
        terminal=terminal,
        device=device[spell],
        busy=begun[spell] + hours[spell] * _through(place, sizes[spell], tests, rng),
        log_amount=np.where(tests, 0.9 + 0.7 * noise, level[spell] + holders.price[terminal] + 0.6 * noise),
    )


def _planned(name: str) -> Reals:
    return np.array([getattr(entry, name) for entry in PLANS], dtype=np.float64)


def _drawn_sizes(events: Reals, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Return the plan and the number of payments of each spell, those of one plan side by side."""
    fewest, most = np.array([entry.events for entry in PLANS]).T
    counts = np.floor(events / ((fewest + most) / 2) + rng.random(events.size)).astype(np.int64)
    plan = np.repeat(np.arange(counts.size), counts)
    return plan, rng.integers(fewest[plan], most[plan] + 1)


def _through(place: Ints, sizes: Ints, tests: Flags, rng: np.random.Generator) -> Reals:
    """Return how far through its spell each payment comes, 0 to 1, in order; tests come within the first tenth."""
    even = (place + 0.8 * rng.random(place.size)) / sizes
    return np.where(tests, even * 0.1, even)


def _devices(holders: Holders, customer: Ints, other: Flags, first: int, rng: np.random.Generator) -> Ints:
    own = holders.own_device(customer, rng.random(customer.size))
    shared = holders.shared_device(rng.random(customer.size))
    new = first + np.arange(customer.size)
    return np.where(other, np.where(rng.random(customer.size) < _SHARED_DEVICE, shared, new), own)


def _terminals(
    holders: Holders, customer: Ints, plan: Ints, manner: _Manner, spell: Ints, rng: np.random.Generator
) -> Ints:
    """Return the terminal of each payment: a habit of the holder, or anywhere in the zone or on the web."""
    web = rng.random(spell.size) < _planned("online")[plan][spell]
    elsewhere = rng.integers(holders.zones, size=customer.size)
    zone = np.where(manner.away, elsewhere, holders.zone[customer])[spell]
    anywhere = holders.terminal(np.where(web, -1, zone), rng.random(spell.size))
    habit = holders.favourite(customer[spell], rng.integers(FAVOURITES, size=spell.size), web)
    return np.where(manner.strange[spell] | (manner.away[spell] & ~web), anywhere, habit)
