"""What a limited number of alerts catches: the value of the bads among them, and how soon a campaign is noticed.

Alerts go to the `budget` share of rows that score highest; where the budget cuts through tied rows, each of them is
alerted with the probability that it is among those alerted. Every figure here is a ratio of two sums over units: a
unit is a case (a campaign of bads), or a bad that belongs to none. Limits come from drawing units with replacement,
so that bads of one campaign, which are caught or missed together, are not taken for independent evidence. The cutoff
stays where all rows put it: its own error is small beside that of so few bads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import DataError, Fault
from leanrisk.core.measurement import Interval
from leanrisk.core.metrics import Flags, Floats, Integers, alerts_within, checked
from leanrisk.core.seeding import generator
from leanrisk.evaluate.bootstrap import RESAMPLES, metric_difference, metric_interval
from leanrisk.evaluate.intervals import LEVEL, least_width, normal_quantile
from leanrisk.evaluate.weighted import Metric

VALUE, CASES, DELAY = "value_at_budget", "cases_alerted", "detection_delay_days"
"""Keys in `quality` and in `result.json`: share of the bad amounts that is alerted; share of cases with an alert; mean
days from a case's first bad to its first alert, over the cases that have one."""
NO_CASE = -1

_BLOCK_WEIGHTS = 1 << 22


@dataclass(frozen=True)
class Stakes:
    """What is at stake in each row, each of shape (rows,) or None where it was not asked for.

    amounts: 0 or more, in any unit. cases: the number of the campaign that the row belongs to, `NO_CASE` where it
    belongs to none; only bads count. times: in days, on any clock; without them no delay is told.
    """

    amounts: Floats | None = None
    cases: Integers | None = None
    times: Floats | None = None

    def __post_init__(self) -> None:
        if self.amounts is not None and not (np.isfinite(self.amounts) & (self.amounts >= 0.0)).all():
            wrong = self.amounts[~(np.isfinite(self.amounts) & (self.amounts >= 0.0))]
            raise DataError(
                Fault(
                    "amount-not-counted",
                    f"An amount at stake is a number of 0 or more: {wrong.size:,} rows have another, the first is "
                    f"{float(wrong[0])!r}.",
                    "Correct the column that measure.amount names, or name another.",
                )
            )


def alerted(scores: npt.ArrayLike, budget: float) -> Floats:
    """Return each row's probability of an alert, shape (rows,): 1 above the cutoff, 0 below, a share where tied."""
    values = np.asarray(scores, dtype=np.float64)
    alerts = alerts_within(values.size, budget)
    cutoff = np.partition(values, values.size - alerts)[values.size - alerts]
    above, tied = values > cutoff, values == cutoff
    return np.asarray(np.where(tied, (alerts - above.sum()) / tied.sum(), above.astype(np.float64)))


def value_at_budget(
    labels: npt.ArrayLike, scores: npt.ArrayLike, amounts: npt.ArrayLike, budget: float = 0.05
) -> float:
    """Return the amount of the bads alerted as a share of the amount of all bads; 0 where the bads have no amount."""
    bad, values = checked(labels, scores)
    at_stake = np.asarray(amounts, dtype=np.float64) * bad
    total = float(at_stake.sum())
    return float(at_stake @ alerted(values, budget)) / total if total > 0.0 else 0.0


def alert_quality(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    stakes: Stakes,
    *,
    seed: int,
    budget: float = 0.05,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Return precision at the budget and what the stakes allow to be told, with two-sided 95 % limits.

    Keys: precision_at_budget; with amounts `VALUE`; with cases `CASES`, and with times as well `DELAY`. A figure that
    has nothing to be a share of (no bad has an amount or a case, no case was alerted) is left out. Raises as `quality`.
    """
    precision = metric_interval(
        labels, scores, Metric.PRECISION_AT_BUDGET, seed=seed, resamples=resamples, budget=budget
    )
    found = {Metric.PRECISION_AT_BUDGET.value: precision}
    for name, ratio in _ratios(labels, scores, stakes, budget).items():
        if ratio.below.sum() > 0.0:
            found[name] = _limits(name, ratio, seed=seed, resamples=resamples)
    return found


def alert_differences(
    labels: npt.ArrayLike,
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    stakes: Stakes,
    *,
    seed: int,
    budget: float = 0.05,
    resamples: int = RESAMPLES,
) -> dict[str, Interval]:
    """Return after minus before for the shares of `alert_quality`, with paired two-sided 95 % limits.

    No difference of delays is told: each score alerts other cases, and one that misses the slow ones looks quick.
    """
    name = Metric.PRECISION_AT_BUDGET.value
    found = {name: metric_difference(labels, before, after, name, seed=seed, resamples=resamples, budget=budget)}
    old, new = (_ratios(labels, scores, stakes, budget) for scores in (before, after))
    for name in (VALUE, CASES):
        if name in old and old[name].below.sum() > 0.0:
            found[name] = _difference(old[name], new[name], seed=seed, resamples=resamples)
    return found


class _Ratio(NamedTuple):
    """A figure as sum(above) / sum(below) over units; both of shape (units,)."""

    above: Floats
    below: Floats


def _ratios(labels: npt.ArrayLike, scores: npt.ArrayLike, stakes: Stakes, budget: float) -> dict[str, _Ratio]:
    bad, values = checked(labels, scores)
    shares = alerted(values, budget)[bad]
    found = {}
    if stakes.amounts is not None:
        units, count = _units(bad, stakes.cases)
        amounts = stakes.amounts[bad]
        found[VALUE] = _Ratio(_summed(amounts * shares, units, count), _summed(amounts, units, count))
    if stakes.cases is not None:
        noticed, delays = _noticed(shares, stakes.cases[bad], None if stakes.times is None else stakes.times[bad])
        found[CASES] = _Ratio(noticed, np.ones(noticed.size))
        if delays is not None:
            found[DELAY] = _Ratio(delays, noticed)
    return found


def _units(bad: Flags, cases: Integers | None) -> tuple[Integers, int]:
    """Return the unit of every bad, and how many units there are: its case, or itself where it has none."""
    if cases is None:
        return np.arange(int(bad.sum())), int(bad.sum())
    mine = cases[bad].astype(np.int64)
    alone = mine == NO_CASE
    mine[alone] = -2 - np.arange(int(alone.sum()))
    names, units = np.unique(mine, return_inverse=True)
    return units.astype(np.int64), names.size


def _noticed(shares: Floats, cases: Integers, times: Floats | None) -> tuple[Floats, Floats | None]:
    """Return for each case the probability of an alert and the days until the first one times that probability."""
    inside = cases != NO_CASE
    shares, cases = shares[inside], cases[inside]
    moments = np.zeros(cases.size) if times is None else times[inside]
    order = np.lexsort((moments, cases))
    _, starts, units = np.unique(cases[order], return_index=True, return_inverse=True)
    # Every tied row has the same share, so the chance of silence so far is a power of its complement.
    silent = np.where(shares[order] == 1.0, 0.0, 1.0 - shares[order])
    first = _silent_before(silent, starts, units) * shares[order]
    noticed = _summed(first, units, starts.size)
    if times is None:
        return noticed, None
    waited = moments[order] - moments[order][starts][units] if starts.size else moments
    return noticed, _summed(first * waited, units, starts.size)


def _silent_before(silent: Floats, starts: npt.NDArray[np.intp], units: npt.NDArray[np.intp]) -> Floats:
    """Return the product of `silent` over the earlier rows of the same unit, shape (rows,); rows stand unit by unit."""
    certain = (silent == 0.0).astype(np.int64)
    logs = np.log(np.where(silent == 0.0, 1.0, silent))
    sums = [np.cumsum(part) - part for part in (certain, logs)]
    zeros, power = (part - part[starts][units] if starts.size else part for part in sums)
    return np.asarray(np.where(zeros > 0, 0.0, np.exp(power)))


def _summed(values: Floats, units: npt.NDArray[np.integer], count: int) -> Floats:
    return np.bincount(units, weights=values, minlength=count).astype(np.float64)


def _limits(name: str, ratio: _Ratio, *, seed: int, resamples: int) -> Interval:
    value = float(ratio.above.sum() / ratio.below.sum())
    (drawn,) = _drawn([ratio], seed=seed, resamples=resamples)
    half = normal_quantile(LEVEL) * _spread(drawn)
    if name == DELAY:
        return Interval(value, max(0.0, value - half), value + half)
    if half == 0.0:
        half = least_width(ratio.below.size)
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def _difference(old: _Ratio, new: _Ratio, *, seed: int, resamples: int) -> Interval:
    value = float(new.above.sum() / new.below.sum() - old.above.sum() / old.below.sum())
    if np.array_equal(old.above, new.above):
        return Interval(0.0, 0.0, 0.0)
    before, after = _drawn([old, new], seed=seed, resamples=resamples)
    half = normal_quantile(LEVEL) * _spread(after - before) or least_width(old.below.size)
    return Interval(value, value - half, value + half)


def _drawn(ratios: list[_Ratio], *, seed: int, resamples: int) -> list[Floats]:
    """Return each ratio on the same resamples of its units, shape (resamples,); NaN where there is nothing below."""
    units = ratios[0].below.size
    rng = generator(seed, "alerts")
    block = max(1, _BLOCK_WEIGHTS // units)
    parts: list[list[Floats]] = [[] for _ in ratios]
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        weights = rng.multinomial(units, np.full(units, 1.0 / units), size=size).astype(np.float64)
        for kept, ratio in zip(parts, ratios, strict=True):
            below = weights @ ratio.below
            kept.append(np.divide(weights @ ratio.above, below, out=np.full(size, np.nan), where=below > 0.0))
    return [np.concatenate(kept) for kept in parts]


def _spread(draws: Floats) -> float:
    known = draws[np.isfinite(draws)]
    spread = float(known.std(ddof=1)) if known.size > 1 else 0.0
    # Draws that differ by rounding alone show no spread.
    return spread if spread > 1e-13 else 0.0
