"""Loans whose risk lies in who brokered them: a book on which only a memory of outcomes tells good from bad."""

from __future__ import annotations

import datetime as dt
import tomllib

import numpy as np
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.memory import Entity, Fact, Memory
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data.load import load
from leanrisk.pipelines.recipe import Recipe
from tests.pipelines.tiny import RECIPE

BANKS = 60
WAIT = 60
"""Days until the outcome of a loan is known."""
SCHEMA = Schema(
    (
        Column("loan", Kind.CATEGORY, Role.ID),
        Column("decided", Kind.DATE, Role.TIME),
        Column("bank", Kind.CATEGORY, Role.IGNORED, entity="bank"),
        Column("income", Kind.NUMERIC),
        Column("amount", Kind.NUMERIC),
        Column("bad", Kind.NUMERIC, Role.TARGET),
    ),
    name="brokered",
    memory=Memory(
        entities=(Entity("bank", ("bank",), facts=(Fact.COUNT, Fact.RATE)),),
        amount="amount",
        delay=WAIT,
        maturity=WAIT,
        windows=(90.0, 365.0),
    ),
)
STEPS = """
[[steps]]
technique = "memory"
[[steps]]
technique = "distill"
[steps.settings.training]
epochs = 4
threads = 1
[steps.settings.classroom]
copies = 1
"""


def brokered(rows: int, *, seed: int = 0, later: int = 0) -> pl.DataFrame:
    """Return loans over the 900 days from 2020-01-01 (or `later` days after it); 3 in 10 banks bring mostly bads."""
    rng = np.random.default_rng(seed)
    bank = rng.integers(0, BANKS, rows)
    income = rng.normal(size=rows)
    bad = rng.random(rows) < 1 / (1 + np.exp(1.5 + 0.4 * income - 3.0 * (bank % 10 < 3)))
    days = np.sort(rng.integers(0, 900, rows)) + later
    return pl.DataFrame(
        {
            "loan": [f"L{later}-{place:05d}" for place in range(rows)],
            "decided": [dt.date(2020, 1, 1) + dt.timedelta(days=int(day)) for day in days],
            "bank": [f"bank {number}" for number in bank],
            "income": income,
            "amount": rng.lognormal(3, 1, rows),
            "bad": bad.astype(np.int8),
        }
    )


def brokered_data(rows: int = 2400, *, seed: int = 0, later: int = 0) -> Dataset:
    """Return the loans as checked data."""
    return load(brokered(rows, seed=seed, later=later), SCHEMA)


def memory_recipe(*changes: str) -> Recipe:
    """Return the tiny recipe with a memory before the network; its gates ask for no loss worth naming."""
    plain = tomllib.loads(RECIPE)
    return Recipe.from_dict({**plain, "steps": tomllib.loads(STEPS)["steps"]}, changes=changes)
