"""A simulated book of transfers, block by block: patterns and plain payments first, then who of them launders."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from leanrisk.core.seeding import generator
from leanrisk.data.simulate.aml.accounts import CURRENCIES, CURRENCY_OF, Accounts, account_ids
from leanrisk.data.simulate.aml.patterns import (
    AMOUNT_SPREAD,
    CHANNEL_SHARES,
    CHANNELS,
    drawn_currency,
    drawn_patterns,
    rounded,
)
from leanrisk.data.simulate.aml.shapes import TYPOLOGIES, Typology
from leanrisk.data.simulate.blocks import Events
from leanrisk.data.simulate.draws import picked
from leanrisk.data.simulate.judge import Delay, Draft, Judge
from leanrisk.data.simulate.observation import level_array, moment_array, plain_array
from leanrisk.data.simulate.rhythm import Rhythm
from leanrisk.data.simulate.verdicts import Units

BLOCK_TRANSFERS = 131_072
"""Transfers that begin in one block, about; fixed, so that no other choice changes a value."""

DELAY = Delay(median=18.0, spread=0.6, horizon=60)

_SHARE_OF_LAUNDERING = {
    Typology.FAN_IN: 0.15,
    Typology.FAN_OUT: 0.15,
    Typology.CYCLE: 0.13,
    Typology.SCATTER_GATHER: 0.15,
    Typology.BIPARTITE: 0.12,
    Typology.STACKED: 0.13,
    Typology.RANDOM: 0.17,
}
_CONTACTS = 12
_TO_CONTACT, _TO_BUSY = 0.62, 0.8
_FIRST_TRANSFER_ID = 100_000_000
_PATTERNS_PER_BLOCK = 1_000_000


class Book:
    """The transfers of one book; every draft is a pure function of the seed and the number of its block."""

    def __init__(self, *, accounts: int, transfers: int, days: int, seed: int) -> None:
        self.transfers, self.seed = transfers, seed
        self.accounts = Accounts(accounts, days, seed)
        self._rhythm = Rhythm.of(days)
        self.blocks = max(1, round(transfers / BLOCK_TRANSFERS))

    def judge(self, share: float) -> Judge:
        """Return who judges the drafts of this book so that `share` of the transfers launder."""
        quotas = share * np.array([_SHARE_OF_LAUNDERING[typology] for typology in TYPOLOGIES])
        return Judge("aml", self.seed, quotas, DELAY)

    def draft(self, block: int) -> Draft:
        """Return a block with everything but its verdicts; safe to call from several threads."""
        rng = generator(self.seed, "aml", str(block))
        begun, ended = (self._rhythm.span * place / self.blocks for place in (block, block + 1))
        rows = self.transfers * (block + 1) // self.blocks - self.transfers * block // self.blocks
        patterns = drawn_patterns(self.accounts, self._rhythm, (begun, ended), rows, rng)
        payments = self._payments((begun, ended), rows - patterns.source.size, rng)
        of = patterns.pattern
        inside = {
            "moment": patterns.moment,
            "source": patterns.source,
            "sink": patterns.sink,
            "amount": patterns.amount,
            "channel": patterns.channel[of],
            "currency": patterns.currency[of],
            "kind": patterns.kinds[of],
            "pattern": block * _PATTERNS_PER_BLOCK + of,
        }
        events = {name: np.concatenate([values, payments[name]]) for name, values in inside.items()}
        closed = int(self._rhythm.moments(np.array([ended]))[0])
        return Draft(events, of, Units(patterns.kinds, patterns.log_odds, patterns.edges), closed)

    def _payments(self, busy: tuple[float, float], count: int, rng: np.random.Generator) -> Events:
        accounts = self.accounts
        draws = rng.random((4, count))
        source = accounts.active(draws[0])
        contact = accounts.contacts(source, (_CONTACTS * draws[1] ** 2).astype(np.int64))
        anyone = (draws[3] * accounts.count).astype(np.int64)
        sink = np.where(
            draws[2] < _TO_CONTACT, contact, np.where(draws[2] < _TO_BUSY, accounts.active(draws[3]), anyone)
        )
        sink = np.where(sink == source, (sink + 1) % accounts.count, sink)
        size = accounts.scale[source] + AMOUNT_SPREAD * rng.standard_normal(count)
        return {
            "moment": self._rhythm.moments(rng.uniform(*busy, count)),
            "source": source,
            "sink": sink,
            "amount": rounded(np.exp(size), rng),
            "channel": picked(CHANNEL_SHARES, rng.random(count)),
            "currency": drawn_currency(CURRENCY_OF[accounts.country[source]], rng)[0],
            "kind": np.full(count, -1),
            "pattern": np.full(count, -1),
        }


def transfer_batch(events: Events, number: int, accounts: int) -> pa.RecordBatch:
    """Return judged events as a record batch in the same order; the first is the `number`-th transfer of the book."""
    plain, honest = events["kind"] < 0, ~events["guilty"]
    names = tuple(str(typology) for typology in TYPOLOGIES)
    columns = {
        "transfer_id": plain_array(_FIRST_TRANSFER_ID + number + np.arange(honest.size)),
        "time": moment_array(events["moment"]),
        "from_account": plain_array(account_ids(events["source"], accounts)),
        "to_account": plain_array(account_ids(events["sink"], accounts)),
        "amount": plain_array(events["amount"]),
        "currency": level_array(events["currency"], CURRENCIES),
        "channel": level_array(events["channel"], CHANNELS),
        "is_laundering": plain_array(events["guilty"].astype(np.int8)),
        "known_at": moment_array(events["known"]),
        "typology": level_array(np.maximum(events["kind"], 0), names, honest),
        "_pattern": level_array(np.maximum(events["kind"], 0), names, plain),
        "_pattern_id": plain_array(events["pattern"], plain),
        "_true_risk": plain_array(events["chance"].astype(np.float32)),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
