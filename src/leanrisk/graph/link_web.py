"""Who has met whom along one link, as it grows edge by edge, with what has passed between them and how bad they are."""

from __future__ import annotations

from array import array
from itertools import chain, pairwise
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.graph.link_timeline import Ints

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
                self._meet(source, target, pair)
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

    def _meet(self, source: int, target: int, pair: int) -> None:
        self.into[target][source] = pair
        self.receivers[source] += 1
        if len(self.out[source]) < self._cap:
            self.out[source].append(target)
        if target in self.into[source]:
            return
        for one, other in ((source, target), (target, source)):
            if len(self.near[one]) < self._cap:
                self.near[one].append(other)
                self._watchers[other].append(one)
                self.risk[one] += min(self.bads[other], self._cap)

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
        columns: list[array[Any]] = [array(code, arrays[f"pair_{name}"].tobytes()) for name, code in _PAIR_COLUMNS]
        web._source, web._target, web.count, web.latest, web.volume = columns
        web._tie_all()
        return web

    def _tie_all(self) -> None:
        """Enter all pairs at once: what `add` does for one after the other, in a fraction of the time."""
        source, target = (np.array(ends, dtype=np.int64) for ends in (self._source, self._target))
        pair, size = np.arange(source.size), len(self.out)
        loop = source == target
        self.loops = dict(zip(source[loop].tolist(), pair[loop].tolist(), strict=True))
        source, target, pair = source[~loop], target[~loop], pair[~loop]
        self.receivers = np.bincount(source, minlength=size).tolist()
        senders, numbers = _by_owner(target, source, size), _by_owner(target, pair, size)
        self.into = [dict(zip(*both, strict=True)) for both in zip(senders, numbers, strict=True)]
        self.out = [receivers[: self._cap] for receivers in _by_owner(source, target, size)]
        ends = np.column_stack([source, target])
        owner, other = ends.ravel(), ends[:, ::-1].ravel()
        _, first = np.unique(owner * size + other, return_index=True)
        first.sort()
        owner, other = owner[first], other[first]
        self.near = [met[: self._cap] for met in _by_owner(owner, other, size)]
        watched = np.fromiter(chain.from_iterable(self.near), dtype=np.int64)
        watcher = np.repeat(np.arange(size), [len(met) for met in self.near])
        self._watchers = _by_owner(watched, watcher, size)


def _by_owner(owner: Ints, values: Ints, owners: int) -> list[list[int]]:
    """The values of each owner, in their order."""
    # Sorting numbers takes a third of the time that a stable sort of their places does.
    order = np.sort(owner * owner.size + np.arange(owner.size)) % max(owner.size, 1)
    flat = values[order].tolist()
    ends = np.cumsum(np.bincount(owner, minlength=owners)).tolist()
    return [flat[begin:end] for begin, end in pairwise([0, *ends])]
