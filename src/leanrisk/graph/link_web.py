"""Who has met whom along one link, as it grows edge by edge, with what has passed between them and how bad they are."""

from __future__ import annotations

from array import array
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]
_PAIR_COLUMNS = (("source", "i"), ("target", "i"), ("count", "q"), ("latest", "d"), ("volume", "d"))


class LinkWeb:
    """Accounts and pairs by number, in the order in which they were first seen.

    Account 0 stands for every account never seen: it has no facts. into[b][a] is the number of the pair a to b, and
    loops[a] that of a to itself. out and near hold the first `cap` receivers and neighbours of an account, watchers
    those who have it among their `near`. receivers counts all receivers, passed adds up what went to them. bads and
    risk are an account's own bads and its risk of one hop, as `link_risk.LinkRisk` defines them.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self.numbers: dict[int, int] = {}
        self.into: list[dict[int, int]] = []
        self.loops: dict[int, int] = {}
        self.out: list[list[int]] = []
        self.near: list[list[int]] = []
        self._watchers: list[list[int]] = []
        self.receivers: list[int] = []
        self.passed: list[float] = []
        self.bads: list[int] = []
        self.risk: list[int] = []
        self._source, self._target, self.count = array("i"), array("i"), array("q")
        self.latest, self.volume = array("d"), array("d")
        self.number(0)

    def number(self, key: int) -> int:
        """Return the number of an account, a new one where it was never seen."""
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = len(self.out)
            self.into.append({})
            for lists in (self.out, self.near, self._watchers):
                lists.append([])
            for counts in (self.receivers, self.bads, self.risk):
                counts.append(0)
            self.passed.append(0.0)
        return number

    def pair(self, source: int, target: int) -> int | None:
        """Return the number of the pair, None where it had no event."""
        return self.loops.get(source) if source == target else self.into[target].get(source)

    def add(self, source: int, target: int, at: float, amount: float) -> float:
        """Add an event and return the time since the pair's previous one, infinite where there was none."""
        pair = self.pair(source, target)
        if pair is None:
            gap = inf
            pair = self._open(source, target, at)
            if source == target:
                self.loops[source] = pair
            else:
                self._meet(source, target)
        else:
            gap = at - self.latest[pair]
            self.latest[pair] = max(at, self.latest[pair])
        self.count[pair] += 1
        self.volume[pair] += amount
        if source != target:
            self.passed[source] += amount
        return gap

    def _open(self, source: int, target: int, at: float) -> int:
        pair = len(self.count)
        self._source.append(source)
        self._target.append(target)
        self.count.append(0)
        self.latest.append(at)
        self.volume.append(0.0)
        return pair

    def _meet(self, source: int, target: int) -> None:
        for one, other in self._tie(source, target, len(self.count) - 1):
            self.risk[one] += min(self.bads[other], self._cap)

    def _tie(self, source: int, target: int, pair: int) -> list[tuple[int, int]]:
        """Enter a new pair of two accounts and return who has got whom as one of their first neighbours."""
        self.into[target][source] = pair
        self.receivers[source] += 1
        if len(self.out[source]) < self._cap:
            self.out[source].append(target)
        if target in self.into[source]:
            return []
        new = [(one, other) for one, other in ((source, target), (target, source)) if len(self.near[one]) < self._cap]
        for one, other in new:
            self.near[one].append(other)
            self._watchers[other].append(one)
        return new

    def spread(self, account: int, other: int) -> None:
        """Add a bad of `account` and tell those who watch it, but not `other`, the event's other end."""
        if self.bads[account] < self._cap:
            for watcher in self._watchers[account]:
                self.risk[watcher] += 1
            if other != account and account in self.near[other]:
                self.risk[other] -= 1
        self.bads[account] += 1

    def arrays(self) -> Arrays:
        """Return everything that `of` needs, by name."""
        return {
            "keys": np.fromiter(self.numbers, dtype=np.uint64, count=len(self.numbers)),
            "passed": np.array(self.passed, dtype=np.float64),
            "bads": np.array(self.bads, dtype=np.int64),
            "risk": np.array(self.risk, dtype=np.int64),
            "pair_source": np.array(self._source, dtype=np.int32),
            "pair_target": np.array(self._target, dtype=np.int32),
            "pair_count": np.array(self.count, dtype=np.int64),
            "pair_latest": np.array(self.latest, dtype=np.float64),
            "pair_volume": np.array(self.volume, dtype=np.float64),
        }

    @classmethod
    def of(cls, cap: int, arrays: Arrays) -> LinkWeb:
        """Return the web that gave `arrays`: pairs stand in the order of first meeting, which tells all neighbours."""
        web = cls(cap)
        for key in arrays["keys"].tolist():
            web.number(key)
        web.passed, web.bads, web.risk = (arrays[name].tolist() for name in ("passed", "bads", "risk"))
        columns = [array(code, arrays[f"pair_{name}"].tobytes()) for name, code in _PAIR_COLUMNS]
        web._source, web._target, web.count, web.latest, web.volume = columns
        for pair, (source, target) in enumerate(zip(web._source, web._target, strict=True)):
            if source == target:
                web.loops[source] = pair
            else:
                web._tie(source, target, pair)
        return web
