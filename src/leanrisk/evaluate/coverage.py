"""Do exceedances come as often as promised, and one by one? Kupiec's and Christoffersen's likelihood ratio tests."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError, DataError, Fault


@dataclass(frozen=True)
class CoverageTest:
    """A likelihood ratio and its p-value: small where what was promised does not fit what was seen."""

    statistic: float
    p_value: float


def kupiec(hits: npt.ArrayLike, *, tail: float) -> CoverageTest:
    """Return the test that exceedances have the share `tail`; `hits` are booleans in the order of days, (days,).

    `LR = -2 log[(1 - p)^(n - x) p^x / ((1 - x/n)^(n - x) (x/n)^x)]`, chi-squared with one degree of freedom. Source:
    Kupiec (1995), "Techniques for verifying the accuracy of risk measurement models" (proportion of failures).
    """
    days, seen = _counted(hits, tail)
    statistic = 2.0 * (_log_likelihood(seen, days, seen / days) - _log_likelihood(seen, days, tail))
    return _test(statistic, freedom=1)


def christoffersen_independence(hits: npt.ArrayLike) -> CoverageTest:
    """Return the test that an exceedance is no likelier the day after one; `hits` as in `kupiec`.

    The likelihood of a first-order Markov chain against that of independent days, from the counts of the four kinds of
    neighbouring pairs; chi-squared with one degree of freedom. Without two states to tell apart the statistic is 0.
    Source: Christoffersen (1998), "Evaluating interval forecasts".
    """
    told = _hits(hits)
    first, second = told[:-1], told[1:]
    calm, alarmed = int((~first).sum()), int(first.sum())
    after_calm, after_alarm = int((~first & second).sum()), int((first & second).sum())
    together = after_calm + after_alarm
    pairs = calm + alarmed
    if not calm or not alarmed:
        return CoverageTest(0.0, 1.0)
    chain = _log_likelihood(after_calm, calm, after_calm / calm)
    chain += _log_likelihood(after_alarm, alarmed, after_alarm / alarmed)
    statistic = 2.0 * (chain - _log_likelihood(together, pairs, together / pairs))
    return _test(statistic, freedom=1)


def christoffersen_coverage(hits: npt.ArrayLike, *, tail: float) -> CoverageTest:
    """Return the test of both at once: the sum of the two ratios, chi-squared with two degrees of freedom.

    Source: Christoffersen (1998), "Evaluating interval forecasts", the test of conditional coverage.
    """
    statistic = kupiec(hits, tail=tail).statistic + christoffersen_independence(hits).statistic
    return _test(statistic, freedom=2)


def _log_likelihood(seen: int, days: int, share: float) -> float:
    """Return the log-likelihood of `seen` in `days` at this share; 0 log 0 is 0."""
    found = 0.0
    if seen:
        found += seen * math.log(share) if share > 0 else -math.inf
    if days > seen:
        found += (days - seen) * math.log1p(-share) if share < 1 else -math.inf
    return found


def _test(statistic: float, *, freedom: int) -> CoverageTest:
    # Rounding may leave a ratio of equal likelihoods a hair below zero.
    value = max(0.0, statistic)
    return CoverageTest(value, math.erfc(math.sqrt(value / 2)) if freedom == 1 else math.exp(-value / 2))


def _counted(hits: npt.ArrayLike, tail: float) -> tuple[int, int]:
    if not 0 < tail < 1:
        raise ConfigError(f"A tail is a share, such as 0.01 for 99 %: it is {tail!r}. Correct it.")
    told = _hits(hits)
    return told.size, int(told.sum())


def _hits(hits: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    told = np.asarray(hits)
    if told.ndim != 1 or told.size < 2 or told.dtype != np.bool_:
        raise DataError(
            Fault(
                "not-hits",
                f"exceedances are booleans of one series, two days or more: {told.dtype} of shape {told.shape} were "
                "given.",
                "Test each series by itself.",
            )
        )
    return told
