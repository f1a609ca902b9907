"""Simulated weekly cash flows of small firms: what tells bad from good is the shape, and the true risk is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError
from leanrisk.core.seeding import generator

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]

MOST_ROWS = 1_000_000
LEAST_WEEKS, MOST_WEEKS = 16, 520
_YEAR_WEEKS = 52.0
_RENT_WEEKS = 4
_INTERCEPT = -0.85
"""Set so that half of the firms turn bad: accuracy tells something only where neither class is rare."""


@dataclass(frozen=True)
class CashFlows:
    """Accounts, one firm each: `inflow`, `outflow`, `balance` at the week's end, float32 (rows, weeks), in kCNY.

    bad: uint8 (rows,), 1 = the firm defaulted in the year after. chance: float32 (rows,), its true probability.
    """

    inflow: Floats
    outflow: Floats
    balance: Floats
    bad: npt.NDArray[np.uint8]
    chance: Floats

    @property
    def bayes_accuracy(self) -> float:
        """The accuracy of whoever knows each firm's true probability; no model of the series can expect more."""
        return float(np.maximum(self.chance, 1 - self.chance).mean())

    def take(self, rows: slice | npt.NDArray[np.intp]) -> CashFlows:
        """Return these firms."""
        return CashFlows(self.inflow[rows], self.outflow[rows], self.balance[rows], self.bad[rows], self.chance[rows])


def simulate_cash_flows(*, rows: int, weeks: int = 64, seed: int) -> CashFlows:
    """Return `rows` firms over `weeks` weeks; equal seeds give equal firms. Raises `ConfigError` out of range.

    A firm is bad by chance, and the chance depends on five traits of its series: sales that shrink, customers who pay
    later and later, an order book that breaks down and stays down, money that goes round in circles to dress up the
    account, and a thin margin; the last two weigh more where they meet. Honest twins look alike: seasons, a break that
    is made good, one transfer between own accounts, noise. So no model is always right; `bayes_accuracy` says how
    often the best one would be.
    """
    if not 1 <= rows <= MOST_ROWS or not LEAST_WEEKS <= weeks <= MOST_WEEKS or seed < 0:
        raise ConfigError(
            f"Cash flows have 1 to {MOST_ROWS:,} rows, {LEAST_WEEKS} to {MOST_WEEKS} weeks and a seed of 0 or more: "
            f"asked were {rows:,}, {weeks} and {seed}. Choose numbers in that range."
        )
    draw = generator(seed, "cash-flows")
    week = np.arange(weeks, dtype=np.float64)
    traits = _Traits.drawn(draw, rows, weeks)
    earned = _sales(draw, traits, week)
    inflow = _collected(traits, earned)
    outflow = _spent(draw, traits, earned)
    circles = _circles(draw, traits, inflow)
    inflow, outflow = inflow + circles, outflow + np.roll(circles, 1, axis=1)
    balance = traits.buffer[:, None] * traits.level[:, None] + np.cumsum(inflow - outflow, axis=1)
    chance = 1 / (1 + np.exp(-traits.log_odds()))
    bad = draw.random(rows) < chance
    return CashFlows(
        inflow.astype(np.float32),
        outflow.astype(np.float32),
        balance.astype(np.float32),
        bad.astype(np.uint8),
        chance.astype(np.float32),
    )


@dataclass(frozen=True)
class _Traits:
    """What a firm is like; all of shape (rows,). `dip_week` is where its order book breaks, beyond the end for none."""

    level: Wide
    growth: Wide
    season: Wide
    phase: Wide
    noise: Wide
    lateness: Wide
    dip_week: Wide
    dip_depth: Wide
    recovers: npt.NDArray[np.bool_]
    circles: npt.NDArray[np.int64]
    margin: Wide
    buffer: Wide

    @classmethod
    def drawn(cls, draw: np.random.Generator, rows: int, weeks: int) -> _Traits:
        dips = draw.random(rows) < 0.5
        return cls(
            level=np.exp(draw.normal(4.0, 1.0, rows)),
            growth=draw.normal(0.0, 1.0, rows),
            season=np.abs(draw.normal(0.0, 0.25, rows)),
            phase=draw.uniform(0.0, 2 * np.pi, rows),
            noise=draw.uniform(0.05, 0.25, rows),
            lateness=draw.uniform(0.0, 1.0, rows),
            dip_week=np.where(dips, draw.uniform(0.2, 0.8, rows) * weeks, 2.0 * weeks),
            dip_depth=np.where(dips, draw.uniform(0.3, 0.8, rows), 0.0),
            recovers=draw.random(rows) < 0.5,
            circles=draw.poisson(1.2, rows),
            margin=draw.normal(0.0, 1.0, rows),
            buffer=draw.uniform(2.0, 10.0, rows),
        )

    def log_odds(self) -> Wide:
        """Return the true log-odds of bad."""
        thin = np.maximum(-self.margin, 0.0)
        many = np.minimum(self.circles, 4).astype(np.float64)
        broken = np.where(self.recovers, -0.5, 5.0) * self.dip_depth
        lasting: Wide = _INTERCEPT - 1.6 * self.growth + 4.0 * (self.lateness - 0.5) + broken - 0.8 * self.margin
        return lasting + 0.9 * (many - 1.2) + 0.8 * thin * many


def _sales(draw: np.random.Generator, traits: _Traits, week: Wide) -> Wide:
    """Return what each week's sales are worth, (rows, weeks)."""
    rows = traits.level.size
    trend = 0.006 * traits.growth[:, None] * (week - week.mean())
    season = traits.season[:, None] * np.sin(2 * np.pi * week / _YEAR_WEEKS + traits.phase[:, None])
    since = week - traits.dip_week[:, None]
    healed = np.where(traits.recovers[:, None], np.exp(-np.maximum(since, 0.0) / 5.0), 1.0)
    dip = np.log1p(-traits.dip_depth[:, None] * healed * (since >= 0))
    noise = traits.noise[:, None] * draw.standard_normal((rows, week.size))
    sales: Wide = traits.level[:, None] * np.exp(trend + season + dip + noise)
    return sales


def _collected(traits: _Traits, earned: Wide) -> Wide:
    """Return what customers pay each week: a growing share of the sales comes five weeks late, or in lumps."""
    weeks = earned.shape[1]
    late = 0.05 + 0.65 * traits.lateness[:, None] * np.linspace(0.0, 1.0, weeks)
    held = earned * late
    paid = earned - held
    # What is held back is paid at the end of each five weeks: late money comes in lumps.
    block = np.arange(weeks) // 5
    for each in range(int(block[-1]) + 1):
        inside = np.flatnonzero(block == each)
        last = inside[-1]
        paid[:, last] += held[:, inside].sum(axis=1)
    return paid


def _spent(draw: np.random.Generator, traits: _Traits, earned: Wide) -> Wide:
    """Return what is paid out each week: goods with the sales, wages and rent whatever the sales are."""
    rows, weeks = earned.shape
    usual = traits.level[:, None]
    goods = 0.55 * earned * np.exp(0.05 * draw.standard_normal((rows, weeks)))
    wages = 0.25 * usual * np.ones(weeks)
    rent = 0.6 * usual * (np.arange(weeks) % _RENT_WEEKS == _RENT_WEEKS - 1)
    spent: Wide = goods + wages + rent - 0.05 * traits.margin[:, None] * usual
    return np.maximum(spent, 0.0)


def _circles(draw: np.random.Generator, traits: _Traits, inflow: Wide) -> Wide:
    """Return the money that comes in for a week and goes out again in the next, (rows, weeks), the last week empty."""
    rows, weeks = inflow.shape
    money = np.zeros((rows, weeks))
    for each in range(int(traits.circles.max(initial=0))):
        who = np.flatnonzero(traits.circles > each)
        amounts = traits.level[who] * draw.uniform(1.5, 3.5, who.size)
        money[who, draw.integers(0, weeks - 1, who.size)] += amounts
    return money
