"""Loans whose risk lies in who guarantees whom: a book on which only the edges tell good from bad."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from leanrisk.core.edge_table import EdgeKind, EdgeTable
from leanrisk.core.memory import Entity, Fact, Memory
from leanrisk.core.schema import Column, Kind, Role, Schema

CIRCLES, MEMBERS = 60, 40
WAIT = 60
PLEDGE = EdgeTable(
    "pledge", "firm", "guarantor", "borrower", "signed", amount="sum", until="released", kind=EdgeKind.GUARANTEE
)
SCHEMA = Schema(
    (
        Column("loan", Kind.CATEGORY, Role.ID),
        Column("decided", Kind.DATE, Role.TIME),
        Column("firm", Kind.CATEGORY, Role.IGNORED, entity="firm"),
        Column("income", Kind.NUMERIC),
        Column("amount", Kind.NUMERIC),
        Column("bad", Kind.NUMERIC, Role.TARGET),
    ),
    name="pledged",
    memory=Memory(
        entities=(Entity("firm", ("firm",), facts=(Fact.RATE,)),),
        edges=(PLEDGE,),
        delay=WAIT,
        maturity=WAIT,
        windows=(90.0, 365.0),
        strength=5.0,
    ),
)
_BEGIN = dt.date(2020, 1, 1)


def pledged(rows: int = 2400, *, seed: int = 0) -> pl.DataFrame:
    """Return loans over 900 days, one for each firm or two; in 3 of 10 circles most turn bad."""
    rng = np.random.default_rng(seed)
    firm = rng.permutation(np.arange(rows) % (CIRCLES * MEMBERS))
    circle, income = firm % CIRCLES, rng.normal(size=rows)
    bad = rng.random(rows) < 1 / (1 + np.exp(1.5 + 0.4 * income - 3.0 * (circle % 10 < 3)))
    days = np.sort(rng.integers(0, 900, rows))
    return pl.DataFrame(
        {
            "loan": [f"L{place:05d}" for place in range(rows)],
            "decided": [_BEGIN + dt.timedelta(days=int(day)) for day in days],
            "firm": [f"firm {number}" for number in firm],
            "income": income,
            "amount": rng.lognormal(3, 1, rows),
            "bad": bad.astype(np.int8),
        }
    )


def pledges() -> pl.DataFrame:
    """Return the guarantees: the first firm of each circle stands for all others, from before the book begins."""
    firm = np.arange(CIRCLES, CIRCLES * MEMBERS)
    return pl.DataFrame(
        {
            "guarantor": [f"firm {number % CIRCLES}" for number in firm],
            "borrower": [f"firm {number}" for number in firm],
            "signed": [_BEGIN - dt.timedelta(days=1)] * firm.size,
            "released": pl.Series([None] * firm.size, dtype=pl.Date),
            "sum": np.full(firm.size, 100.0),
        }
    )
