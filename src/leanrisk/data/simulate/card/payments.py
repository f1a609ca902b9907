"""A simulated book of card payments with fraud in it, in memory or as a stream of blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import polars as pl
import pyarrow as pa

from leanrisk.core.errors import ConfigError
from leanrisk.core.memory import Entity, Fact, Memory
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data.simulate.blocks import Events, in_time_order, made_ahead
from leanrisk.data.simulate.card.book import DELAY, Book, payment_batch
from leanrisk.data.simulate.card.holders import Holders

MOST_PAYMENTS, MOST_HOLDERS = 1_000_000_000, 20_000_000
FEWEST_CUSTOMERS, FEWEST_TERMINALS = 100, 50
PAYMENTS_PER_CUSTOMER = 100
SHARE, LARGEST_SHARE = 0.007, 0.05
DAYS, FEWEST_DAYS, MOST_DAYS = 180, 30, 3_650
_CUSTOMERS_PER_TERMINAL = 50
_FEWEST_FRAUDS = 10


@dataclass(frozen=True)
class CardSize:
    """How large a book of card payments is, and how much of it is fraud.

    payments: up to a billion. customers: 100 to 20 million; None takes one for each 100 payments. terminals: shops and
    web shops, 50 or more and at least one for each 50 customers; None takes as many as customers. share: of the
    payments that are fraud, above 0 and up to 0.05. days: 30 to 3,650. Raises `ConfigError` where one of them is out of
    range, or where the book expects fewer than 10 frauds.
    """

    payments: int
    customers: int | None = None
    terminals: int | None = None
    share: float = SHARE
    days: int = DAYS
    seed: int = 7

    def __post_init__(self) -> None:
        if not 1 <= self.payments <= MOST_PAYMENTS:
            raise _outside("A book has", 1, MOST_PAYMENTS, "payments", self.payments)
        if not FEWEST_CUSTOMERS <= self.holders <= MOST_HOLDERS:
            raise _outside("A book has", FEWEST_CUSTOMERS, MOST_HOLDERS, "customers", self.holders)
        fewest = max(FEWEST_TERMINALS, -(-self.holders // _CUSTOMERS_PER_TERMINAL))
        if not fewest <= self.shops <= MOST_HOLDERS:
            raise _outside(f"{self.holders:,} customers have", fewest, MOST_HOLDERS, "terminals", self.shops)
        if not 0.0 < self.share <= LARGEST_SHARE:
            raise ConfigError(
                f"The share of fraud lies above 0 and is at most {LARGEST_SHARE}, since most payments of every pattern "
                f"must stay honest: {self.share} was asked for. Choose for example {SHARE}."
            )
        if not FEWEST_DAYS <= self.days <= MOST_DAYS:
            raise _outside("A book covers", FEWEST_DAYS, MOST_DAYS, "days", self.days)
        if self.seed < 0:
            raise ConfigError(f"A seed must not be negative: it is {self.seed}. Choose 0 or any larger whole number.")
        if self.payments * self.share < _FEWEST_FRAUDS:
            raise ConfigError(
                f"A book needs {_FEWEST_FRAUDS} frauds: {self.payments:,} payments at a share of {self.share} hold "
                f"{self.payments * self.share:.1f}. Ask for more payments or for a larger share."
            )

    @property
    def holders(self) -> int:
        """Number of customers."""
        if self.customers is not None:
            return self.customers
        return max(FEWEST_CUSTOMERS, self.payments // PAYMENTS_PER_CUSTOMER)

    @property
    def shops(self) -> int:
        """Number of terminals."""
        return self.holders if self.terminals is None else self.terminals


def simulate_card(size: CardSize, *, workers: int | None = None) -> pl.DataFrame:
    """Return the payments in the order of time, under the columns of `card_schema`.

    Equal for equal `size` whatever the number of `workers`.
    """
    with card_batches(size, workers=workers) as batches:
        table = pa.Table.from_batches(list(batches))
    frame = cast(pl.DataFrame, pl.from_arrow(table))
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


@contextlib.contextmanager
def card_batches(size: CardSize, *, workers: int | None = None) -> Iterator[Iterator[pa.RecordBatch]]:
    """Yield an iterator over the payments in record batches, in the order of time; only a few are in memory at a time.

    Category columns are dictionaries that are the same in every batch. Leaving the context, early or not, ends the
    `workers` (threads; as many as cores, up to 4, by default).
    """
    book = Book(
        payments=size.payments,
        customers=size.holders,
        terminals=size.shops,
        days=size.days,
        share=size.share,
        seed=size.seed,
    )
    judge = book.judge()
    with made_ahead(book.draft, book.blocks, workers) as drafts:
        yield _batches(in_time_order(judge.judged(draft) for draft in drafts), book.holders)


def card_schema() -> Schema:
    """Return the schema of the payments."""
    key = "A key: raw material of the graph memory."
    truth = "The simulator's truth; no bank has it."
    return Schema(
        columns=(
            Column("transaction_id", Kind.NUMERIC, Role.ID),
            Column("time", Kind.DATE, Role.TIME),
            Column("customer_id", Kind.CATEGORY, Role.IGNORED, entity="customer", note=key),
            Column("terminal_id", Kind.CATEGORY, Role.IGNORED, entity="terminal", note=key),
            Column("device_id", Kind.CATEGORY, Role.IGNORED, entity="device", note=f"Empty in shops. {key}"),
            Column("amount", Kind.NUMERIC),
            Column("merchant_category", Kind.CATEGORY, entity="merchant_category"),
            Column("terminal_country", Kind.CATEGORY, entity="country"),
            Column("card_country", Kind.CATEGORY),
            Column("channel", Kind.CATEGORY),
            Column("is_fraud", Kind.NUMERIC, Role.TARGET),
            Column(
                "known_at",
                Kind.DATE,
                Role.OUTCOME_TIME,
                note=f"A fraud is known once it is reported, all else after {DELAY.horizon} days.",
            ),
            Column(
                "typology", Kind.CATEGORY, Role.EXPOST, note="Says how the fraud was made; empty where there is none."
            ),
            Column("_pattern", Kind.CATEGORY, Role.EXPOST, note=f"What it is part of, honest or not. {truth}"),
            Column("_pattern_id", Kind.NUMERIC, Role.EXPOST, note=truth),
            Column("_true_risk", Kind.NUMERIC, Role.EXPOST, note=truth),
        ),
        positive=(1,),
        negative=(0,),
        name="simulated-card",
        description="Simulated card payments: fraud in shops and on the web among honest payments that look alike.",
        memory=card_memory(),
    )


def card_memory() -> Memory:
    """Return what is remembered of the payments: customers, terminals and devices over a day, a week and a month."""
    busy = (Fact.COUNT, Fact.VOLUME, Fact.RATE, Fact.WINDOW_RATE, Fact.RECENCY)
    return Memory(
        entities=(
            Entity("customer", ("customer_id",), facts=busy),
            Entity("terminal", ("terminal_id",), facts=busy),
            Entity("device", ("device_id",), facts=(Fact.COUNT, Fact.RATE, Fact.RECENCY)),
            Entity("customer_terminal", ("customer_id", "terminal_id"), facts=(Fact.COUNT, Fact.NOVELTY)),
            Entity("customer_device", ("customer_id", "device_id"), facts=(Fact.COUNT, Fact.NOVELTY)),
            Entity("customer_country", ("customer_id", "terminal_country"), facts=(Fact.COUNT, Fact.NOVELTY)),
            Entity("merchant", ("merchant_category",), facts=(Fact.WINDOW_RATE,)),
        ),
        amount="amount",
        known="known_at",
        delay=DELAY.median,
        maturity=float(DELAY.horizon),
        windows=(1.0, 7.0, 30.0),
        half_life=30.0,
    )


def _outside(what: str, fewest: int, most: int, unit: str, asked: int) -> ConfigError:
    return ConfigError(
        f"{what} {fewest:,} to {most:,} {unit}: {asked:,} were asked for. Choose a number in that range."
    )


def _batches(ordered: Iterator[Events], holders: Holders) -> Iterator[pa.RecordBatch]:
    number = 0
    for events in ordered:
        batch = payment_batch(events, number, holders)
        number += batch.num_rows
        yield batch
