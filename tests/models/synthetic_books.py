"""A small table of every kind of column, with gaps, a sum, an order of dates and a rare class."""

from __future__ import annotations

import functools

import numpy as np
import polars as pl

from leanrisk.core.constraints import Constraints, Order, Range, Sum
from leanrisk.models.synthesis.row_generator import Learned, learn
from leanrisk.models.synthesis.settings import GeneratorConfig, Kind

RULES = Constraints(
    ranges=(Range("age", 18, 70),),
    whole=("age",),
    sums=(Sum("total", ("principal", "interest")),),
    orders=(Order("opened", "decided"),),
)
QUICK = GeneratorConfig(width=64, latent=8, batch=100, steps=400)
QUICK_VAE = GeneratorConfig(Kind.VAE, width=48, latent=8, batch=64, steps=250)


@functools.cache
def book(rows: int = 1500, bads: int = 120) -> pl.DataFrame:
    """Return loans; bads are young, indebted and from the south."""
    rng = np.random.default_rng(4)
    bad = np.arange(rows) < bads
    debt = rng.normal(size=rows) + 2.0 * bad
    principal = np.exp(8 + 0.5 * debt + 0.3 * rng.normal(size=rows)).round(2)
    interest = (principal * rng.uniform(0.02, 0.1, rows)).round(2)
    opened = np.datetime64("2018-01-01") + rng.integers(0, 1500, rows)
    return pl.DataFrame(
        {
            "age": pl.Series(np.clip(rng.normal(45 - 12 * bad, 10), 18, 70).round(), dtype=pl.Int8),
            "debt": pl.Series(np.where(rng.random(rows) < 0.1, np.nan, debt), dtype=pl.Float32).fill_nan(None),
            "principal": principal,
            "interest": interest,
            "total": principal + interest,
            "opened": pl.Series(opened).cast(pl.Date),
            "decided": pl.Series(opened + rng.integers(0, 400, rows)).cast(pl.Date),
            "region": np.where(rng.random(rows) < 0.2 + 0.6 * bad, "south", rng.choice(["north", "east"], rows)),
            "owner": rng.random(rows) < 0.4,
            "bad": bad.astype(np.int8),
        }
    )


@functools.cache
def learned(kind: Kind = Kind.GAN) -> Learned:
    """Return a generator of the book under its rules, conditioned on the class."""
    config = QUICK if kind is Kind.GAN else QUICK_VAE
    return learn(book(), conditions=["bad"], config=config, rules=RULES, seed=3)
