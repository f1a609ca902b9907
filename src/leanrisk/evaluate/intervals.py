"""Confidence levels and the closed-form limits that the other files share."""

from __future__ import annotations

import math
from statistics import NormalDist

from leanrisk.core.errors import ConfigError
from leanrisk.core.measurement import Interval

LEVEL = 0.95
"""Two-sided confidence of an interval unless asked otherwise."""
ONE_SIDED_95 = 0.90
"""Two-sided level whose limits are each a one-sided 95 % bound (z = 1.645): what gates use."""


def normal_quantile(level: float) -> float:
    """Return z of a two-sided interval: 1.960 at level 0.95. Raises `ConfigError` outside (0, 1)."""
    if not 0.0 < level < 1.0:
        raise ConfigError(f"A confidence level lies between 0 and 1: it is {level!r}. Give for example 0.95.")
    return NormalDist().inv_cdf(0.5 + level / 2)


def wilson(successes: float, trials: float, *, level: float = LEVEL) -> Interval:
    """Return a share with Wilson's score limits (Wilson 1927), which hold for few trials and shares near 0 or 1.

    Raises `ConfigError` without trials.
    """
    if trials <= 0:
        raise ConfigError(f"A share needs at least one trial: there are {trials!r}. Leave empty groups out.")
    z2 = normal_quantile(level) ** 2
    share = successes / trials
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * trials)) / trials) / (1 + z2 / trials)
    # The limits of 0 and 1 are those values themselves; rounding must not push them past the share.
    return Interval(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def least_width(fewest: int, *, level: float = LEVEL) -> float:
    """Return the half-width z^2 / (k + z^2) of Wilson's limit for k successes in k trials (k = `fewest`).

    Rows that happen to show no variance do not prove that there is none; this is what so few rows (of
    the smaller class) leave open.
    """
    z2 = normal_quantile(level) ** 2
    return z2 / (fewest + z2)
