"""Who holds an account: persons and companies, the circles they move in, and the rings that may launder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from leanrisk.core.seeding import generator
from leanrisk.data.simulate.draws import Ints, hashed, mixed_ids, picked, prime_up_to, shares
from leanrisk.data.simulate.observation import level_array, plain_array
from leanrisk.data.simulate.rhythm import FIRST_DAY

Reals = npt.NDArray[np.float64]

COUNTRIES = ("DE", "FR", "NL", "IT", "ES", "GB", "US", "PL", "CH", "CN", "AE", "CY")
CURRENCIES = ("EUR", "GBP", "USD", "PLN", "CHF", "CNY", "AED")
CURRENCY_OF = np.array([0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 0])
"""Place of each country's currency."""

COMPANY_SHARE = 0.12
CIRCLE = 211
"""Accounts in the circle that an account mostly deals with: a prime, so that any step visits all of them."""

_COUNTRY_SHARES = np.cumsum((0.28, 0.18, 0.1, 0.1, 0.09, 0.08, 0.06, 0.04, 0.03, 0.02, 0.01, 0.01))
_RING_SIZES = np.array([19, 23, 29, 31])
_ACCOUNTS_PER_RING = 400
_RING_DAYS = 60.0
_FIRST_ID = 4_000_000_000
_OLDEST_DAYS, _YOUNGEST_DAYS = 5_000.0, 5.0


@dataclass(frozen=True)
class Members:
    """Where the accounts of each pattern are drawn from: the j-th is `pool[base + (place + j * step) % size]`.

    `size` is prime and `step` is not a multiple of it, so no account comes twice. Arrays of shape (patterns,).
    """

    base: Ints
    size: Ints
    place: Ints
    step: Ints


class Accounts:
    """The accounts of a book; every array has shape (accounts,).

    company: whether a company holds it. country: place of its country. opened: days since 1970-01-01. scale: log of its
    typical amount. trait: how easily launderers use it, hidden, standard normal. The place of an account in the arrays
    is hidden; the tables show `account_ids`.
    """

    def __init__(self, accounts: int, days: int, seed: int) -> None:
        rng = generator(seed, "aml", "accounts")
        self.count = accounts
        self.company = rng.random(accounts) < COMPANY_SHARE
        self.country = picked(_COUNTRY_SHARES, rng.random(accounts))
        oldest, youngest = np.log(_OLDEST_DAYS), np.log(_YOUNGEST_DAYS)
        self.age = np.exp(youngest + (oldest - youngest) * rng.random(accounts) ** 0.4)
        self.scale = np.where(self.company, 6.6, 5.4) + 0.6 * rng.standard_normal(accounts)
        self.trait = rng.standard_normal(accounts)
        activity = np.exp(rng.standard_normal(accounts)) * np.where(self.company, 5.0, 1.0)
        self._activity = np.cumsum(activity / activity.sum())
        self._salts = [int(salt) for salt in rng.integers(2**62, size=4)]
        self._lay_rings(days, generator(seed, "aml", "rings"))

    def _lay_rings(self, days: int, rng: np.random.Generator) -> None:
        count = max(4, self.count // _ACCOUNTS_PER_RING)
        sizes = rng.choice(_RING_SIZES, count)
        # A place may hold the same account twice in the whole list, but never twice in one ring.
        steps = rng.integers(1, self.count // 40, count)
        begun = rng.integers(self.count, size=count)
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        ring = (np.repeat(begun, sizes) + within * np.repeat(steps, sizes)) % self.count
        self.pool: Ints = np.concatenate([np.arange(self.count), ring])
        self._ring_sizes, self._ring_bases = sizes, self.count + np.cumsum(sizes) - sizes
        self._ring_born = np.sort(rng.uniform(-_RING_DAYS, days, count)) * 24.0
        self.ring_trait = rng.standard_normal(count)
        self._everyone = prime_up_to(self.count)

    def active(self, draws: Reals) -> Ints:
        """Return accounts, the busier the more often; `draws` even in [0, 1)."""
        return picked(self._activity, draws)

    def rings(self, busy: Reals, draws: Reals) -> Ints:
        """Return rings at work at these times (busy hours), each drawn evenly from them; a ring works two months."""
        young = np.searchsorted(self._ring_born, busy, side="right")
        old = np.searchsorted(self._ring_born, busy - _RING_DAYS * 24.0)
        place = old + (draws * (young - old)).astype(np.int64)
        return np.clip(place, 0, self._ring_born.size - 1)

    def circle_of(self, centres: Ints, kinds: Ints, draws: Reals, standing: npt.NDArray[np.bool_]) -> Members:
        """Return members from each centre's circle: the same at every occasion where `standing`, drawn anew elsewhere.

        The centre itself comes first. kinds: occasions of different kinds have different standing members.
        """
        base = np.minimum(centres // CIRCLE * CIRCLE, self.count - CIRCLE)
        lasting = shares(hashed(centres * 64 + kinds, self._salts[0]))
        step = 1 + (np.where(standing, lasting, draws) * (CIRCLE - 1)).astype(np.int64)
        return Members(base, np.full(centres.size, CIRCLE), centres - base, step)

    def anyone(self, centres: Ints, draws: Reals) -> Members:
        """Return members from the whole population, each centre's own place first."""
        size = np.full(centres.size, self._everyone)
        step = 1 + (draws * (self._everyone - 1)).astype(np.int64)
        return Members(np.zeros(centres.size, dtype=np.int64), size, centres % self._everyone, step)

    def ring_members(self, rings: Ints, places: Reals, steps: Reals) -> Members:
        """Return members from each ring, starting anywhere."""
        size = self._ring_sizes[rings]
        place, step = (places * size).astype(np.int64), 1 + (steps * (size - 1)).astype(np.int64)
        return Members(self._ring_bases[rings], size, place, step)

    def contacts(self, accounts: Ints, ranks: Ints) -> Ints:
        """Return the standing contact of each account at each rank: someone of its circle, or a busy account."""
        keys = accounts * 64 + ranks
        base = np.minimum(accounts // CIRCLE * CIRCLE, self.count - CIRCLE)
        near = base + (shares(hashed(keys, self._salts[1])) * CIRCLE).astype(np.int64)
        busy = self.active(shares(hashed(keys, self._salts[2])))
        return np.where(shares(hashed(keys, self._salts[3])) < 0.6, near, busy)

    def table(self) -> pa.Table:
        """Return what a bank knows of its accounts, one row for each, in the order of the ids."""
        ids = account_ids(np.arange(self.count), self.count)
        order = np.argsort(ids)
        opened = int(FIRST_DAY.astype(np.int64)) - np.ceil(self.age[order])
        return pa.table(
            {
                "account_id": plain_array(ids[order]),
                "kind": level_array(self.company[order].astype(np.int16), ("person", "company")),
                "country": level_array(self.country[order], COUNTRIES),
                "currency": level_array(CURRENCY_OF[self.country[order]], CURRENCIES),
                "opened": plain_array(opened.astype(np.int32)).cast(pa.date32()),
            }
        )


def account_ids(places: Ints, accounts: int) -> Ints:
    """Return the ids of accounts, which do not tell who deals with whom; no two accounts share one."""
    return mixed_ids(places, accounts, first=_FIRST_ID)
