"""How often each caller may ask: a bucket of tokens for each, filled at a steady rate."""

from __future__ import annotations

import time
from collections.abc import Callable


class Rates:
    """Grants `per_second` requests to each name, with bursts of `burst`; 0 grants everything. One thread at a time."""

    def __init__(self, per_second: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = per_second, float(burst), clock
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, name: str) -> float:
        """Take a token for `name` and return 0, or return the seconds until there is one."""
        if not self._rate:
            return 0.0
        now = self._clock()
        left, seen = self._left.get(name, (self._burst, now))
        left = min(self._burst, left + (now - seen) * self._rate)
        if left < 1:
            self._left[name] = (left, now)
            return (1 - left) / self._rate
        self._left[name] = (left - 1, now)
        return 0.0
