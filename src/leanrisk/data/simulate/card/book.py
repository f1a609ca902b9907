"""A simulated book of card payments, block by block: usual payments and spells first, then which of them are fraud."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from leanrisk.core.seeding import generator
from leanrisk.data.simulate.blocks import Events
from leanrisk.data.simulate.card.episodes import FRAUDS, PLANS, Fraud, Spells, drawn_spells
from leanrisk.data.simulate.card.holders import CATEGORIES, COUNTRIES, FAVOURITES, Holders, Reals
from leanrisk.data.simulate.judge import Delay, Draft, Judge
from leanrisk.data.simulate.observation import level_array, moment_array, plain_array
from leanrisk.data.simulate.rhythm import Rhythm
from leanrisk.data.simulate.verdicts import Units

BLOCK_PAYMENTS = 131_072
"""Payments that begin in one block, about; fixed, so that no other choice changes a value."""

DELAY = Delay(median=7.0, spread=0.7, horizon=45)
CHANNELS = ("chip", "contactless", "online", "wallet")

_SHARE_OF_FRAUD = {
    Fraud.COMPROMISED_TERMINAL: 0.28,
    Fraud.COMPROMISED_CUSTOMER: 0.18,
    Fraud.TESTING: 0.12,
    Fraud.BURST: 0.18,
    Fraud.TAKEOVER: 0.17,
    Fraud.LONE: 0.07,
}
_SUSPECTS = {
    Fraud.COMPROMISED_TERMINAL: 3.0,
    Fraud.COMPROMISED_CUSTOMER: 4.0,
    Fraud.TESTING: 6.0,
    Fraud.BURST: 7.0,
    Fraud.TAKEOVER: 6.0,
}
"""Payments in tapped terminals or in spells for each one that is fraud."""
_SHOP_SHARE = 0.7
_HABIT, _NEAR = 0.78, 0.94
_NEW_DEVICE = 0.02
_TAPPED, _LONE = FRAUDS.index(Fraud.COMPROMISED_TERMINAL), FRAUDS.index(Fraud.LONE)
_FIRST_PAYMENT_ID = 500_000_000
_PATTERNS_PER_BLOCK = 1_000_000


class Book:
    """The payments of one book; every draft is a pure function of the seed, the share and the number of its block."""

    def __init__(self, *, payments: int, customers: int, terminals: int, days: int, share: float, seed: int) -> None:
        self.payments, self.share, self.seed = payments, share, seed
        self.holders = Holders(customers, terminals, seed)
        self._rhythm = Rhythm.of(days)
        self.blocks = max(1, round(payments / BLOCK_PAYMENTS))

    def judge(self) -> Judge:
        """Return who judges the drafts of this book so that `share` of the payments are fraud."""
        return Judge("card", self.seed, self.share * np.array([_SHARE_OF_FRAUD[fraud] for fraud in FRAUDS]), DELAY)

    def draft(self, block: int) -> Draft:
        """Return a block with everything but its verdicts; safe to call from several threads."""
        rng = generator(self.seed, "card", str(block))
        begun, ended = (self._rhythm.span * place / self.blocks for place in (block, block + 1))
        rows = self.payments * (block + 1) // self.blocks - self.payments * block // self.blocks
        new_devices = self.holders.devices + block * 4 * BLOCK_PAYMENTS
        wanted = np.array([_SHARE_OF_FRAUD[plan.fraud] * _SUSPECTS[plan.fraud] for plan in PLANS])
        spells = drawn_spells(self.holders, self._rhythm, (begun, ended), wanted * self.share * rows, new_devices, rng)
        usual, usual_units = self._usual((begun, ended), rows - spells.spell.size, new_devices + rows, rng)
        unit, units = _units(spells)
        inside = {**_of_spells(spells), "pattern": block * _PATTERNS_PER_BLOCK + spells.spell}
        events = {name: np.concatenate([values, usual[name]]) for name, values in inside.items()}
        events["moment"] = self._rhythm.moments(events.pop("busy"))
        events["near"] = rng.random(rows) < 0.7
        both = Units(
            *(
                np.concatenate([getattr(one, name) for one in (units, usual_units)])
                for name in ("kinds", "log_odds", "sizes")
            )
        )
        of = np.concatenate([unit, units.kinds.size + np.arange(usual_units.kinds.size)])
        return Draft(events, of, both, int(self._rhythm.moments(np.array([ended]))[0]))

    def _usual(
        self, busy: tuple[float, float], count: int, first_device: int, rng: np.random.Generator
    ) -> tuple[Events, Units]:
        """Return the usual payments of holders; at a tapped terminal each of them may be a thief's."""
        holders = self.holders
        draws = rng.random((7, count))
        customer = holders.active(draws[0])
        web = draws[1] < holders.online[customer]
        habit = holders.favourite(customer, (FAVOURITES * draws[2] ** 2).astype(np.int64), web)
        zone = np.where(draws[3] < _NEAR, holders.zone[customer], (draws[4] * holders.zones).astype(np.int64))
        terminal = np.where(draws[3] < _HABIT, habit, holders.terminal(np.where(web, -1, zone), draws[5]))
        at = rng.uniform(*busy, count)
        size = rng.standard_normal(count)
        share = self.share * _SHARE_OF_FRAUD[Fraud.COMPROMISED_TERMINAL] * _SUSPECTS[Fraud.COMPROMISED_TERMINAL]
        tapped, severity, campaign = holders.skimming(terminal, at, share / _SHOP_SHARE)
        risk = 0.5 * holders.trait[customer] + 0.4 * size
        lone = risk + 0.5 * web + 0.6 * holders.weakness(terminal, at)
        own = holders.own_device(customer, draws[6])
        events = {
            "busy": at,
            "customer": customer,
            "terminal": terminal,
            "device": np.where(rng.random(count) < _NEW_DEVICE, first_device + np.arange(count), own),
            "log_amount": holders.scale[customer] + holders.price[terminal] + 0.7 * size,
            "kind": np.where(tapped, _TAPPED, _LONE),
            "pattern": np.where(tapped, -1 - campaign, 0),
        }
        return events, Units(events["kind"], np.where(tapped, severity + risk, lone), np.ones(count, dtype=np.int64))


def _of_spells(spells: Spells) -> Events:
    return {
        "busy": spells.busy,
        "customer": spells.customer,
        "terminal": spells.terminal,
        "device": spells.device,
        "log_amount": spells.log_amount,
        "kind": spells.kinds[spells.spell],
    }


def _units(spells: Spells) -> tuple[np.ndarray, Units]:
    """Return the unit of each payment and the units: whole spells, but single payments where two people use a card."""
    kinds = spells.kinds[spells.spell]
    single = kinds == FRAUDS.index(Fraud.COMPROMISED_CUSTOMER)
    begins = single | (np.diff(spells.spell, prepend=-1) > 0)
    unit = np.cumsum(begins) - 1
    return unit, Units(kinds[begins], spells.log_odds[spells.spell[begins]], np.bincount(unit).astype(np.int64))


def payment_batch(events: Events, number: int, holders: Holders) -> pa.RecordBatch:
    """Return judged events as a record batch in the same order; the first is the `number`-th payment of the book."""
    honest, plain = ~events["guilty"], events["kind"] == _LONE
    names = tuple(str(fraud) for fraud in FRAUDS)
    web = holders.is_online(events["terminal"])
    # Tapped terminals have campaigns of their own; their numbers are made positive and far from those of spells.
    pattern = np.where(events["pattern"] < 0, (1 << 40) - events["pattern"], events["pattern"])
    columns = {
        "transaction_id": plain_array(_FIRST_PAYMENT_ID + number + np.arange(honest.size)),
        "time": moment_array(events["moment"]),
        "customer_id": plain_array(holders.customer_ids(events["customer"])),
        "terminal_id": plain_array(holders.terminal_ids(events["terminal"])),
        "device_id": plain_array(holders.device_ids(events["device"]), ~web),
        "amount": plain_array(_in_cents(events["log_amount"])),
        "merchant_category": level_array(holders.category[events["terminal"]], CATEGORIES),
        "terminal_country": level_array(holders.country[events["terminal"]], COUNTRIES),
        "card_country": level_array(holders.home_country(events["customer"]), COUNTRIES),
        "channel": level_array(np.where(web, 2, 0) + events["near"], CHANNELS),
        "is_fraud": plain_array(events["guilty"].astype(np.int8)),
        "known_at": moment_array(events["known"]),
        "typology": level_array(events["kind"], names, honest),
        "_pattern": level_array(events["kind"], names, plain),
        "_pattern_id": plain_array(pattern, plain),
        "_true_risk": plain_array(events["chance"].astype(np.float32)),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _in_cents(log_amount: Reals) -> Reals:
    return np.maximum(np.round(np.exp(log_amount), 2), 0.01)
