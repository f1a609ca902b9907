"""The simulated books that stand in where a run is given no file: frame, schema and a name for each."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from leanrisk.core.schema import Schema
from leanrisk.pipelines.recipe import SimulatedData

TRANSFERS_PER_ACCOUNT = 20


@dataclass(frozen=True)
class SimulatedBook:
    """A simulated table with its schema and the name it goes by."""

    frame: pl.DataFrame
    schema: Schema
    name: str


def simulated_book(asked: SimulatedData, *, seed: int) -> SimulatedBook:
    """Return the book that a recipe asks for; raises `ConfigError` where a size is out of range."""
    return {"sme": _loans, "card": _payments, "aml": _transfers}[asked.book](asked, seed)


def _loans(asked: SimulatedData, seed: int) -> SimulatedBook:
    from leanrisk.data.simulate.sme import simulate_sme, sme_schema

    frame = simulate_sme(rows=asked.rows, features=asked.features, seed=seed, text=asked.text)
    return SimulatedBook(frame, sme_schema(features=asked.features, text=asked.text), "Simulated SME loan book")


def _payments(asked: SimulatedData, seed: int) -> SimulatedBook:
    from leanrisk.data.simulate.card.payments import SHARE, CardSize, card_schema, simulate_card

    size = CardSize(asked.rows, asked.accounts or None, share=asked.share or SHARE, seed=seed)
    return SimulatedBook(simulate_card(size), card_schema(), "Simulated card payments")


def _transfers(asked: SimulatedData, seed: int) -> SimulatedBook:
    from leanrisk.data.simulate.aml.transfers import SHARE, AmlSize, simulate_aml, transfers_schema

    accounts = asked.accounts or asked.rows // TRANSFERS_PER_ACCOUNT
    size = AmlSize(accounts, asked.rows, share=asked.share or SHARE, seed=seed)
    transfers, _ = simulate_aml(size)
    return SimulatedBook(transfers, transfers_schema(), "Simulated transfers")
