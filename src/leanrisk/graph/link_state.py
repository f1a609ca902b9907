"""Facts about the two ends of an edge for one decision at a time, kept up to date fact by fact."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import BundleError
from leanrisk.core.memory import Link, LinkFact, Memory
from leanrisk.graph.link_fans import Fans
from leanrisk.graph.link_web import Arrays, LinkWeb
from leanrisk.graph.links import link_fact_names

if TYPE_CHECKING:
    from leanrisk.graph.events import Events

_NAN = float("nan")


class LinkState:
    """What is known so far along one link: the same facts as `links.build_link_facts`, in microseconds.

    Facts are told in the order in which they become known, and those of one moment in the order of the book, an event
    before its outcome. A look-up answers from everything told so far: tell nothing known at or after the moment that
    will be asked for.
    """

    def __init__(self, memory: Memory, link: Link) -> None:
        self._rule = np.array([link.cap, *memory.windows], dtype=np.float64)
        self._cap, self._hops, self._shortest = link.cap, link.hops, memory.windows[0]
        self._size = len(link_fact_names(link, memory.windows))
        self._web = LinkWeb(link.cap)
        self._fans_out, self._fans_in = Fans(memory.windows), Fans(memory.windows)
        self._grown = 0
        self._grow_fans()
        families: dict[LinkFact, Callable[[int, int, float], list[float]]] = {
            LinkFact.DEGREE: self._degree,
            LinkFact.FAN: self._fan,
            LinkFact.PAIR: self._pair,
            LinkFact.RECIPROCITY: self._reciprocity,
            LinkFact.RISK: self._risk,
            LinkFact.CYCLE: self._cycle,
            LinkFact.SCATTER: self._scatter,
            LinkFact.CHAIN: self._chain,
        }
        self._families = [families[fact] for fact in dict.fromkeys(link.facts)]
        self._name = link.name

    def happened(self, source: int, target: int, at: float, amount: float) -> None:
        """Take in an event from source to target; one that lacks an end (0) is none, a NaN amount is 0."""
        if not source or not target:
            return
        web = self._web
        left, right = web.number(source), web.number(target)
        if len(web.numbers) > self._grown:
            self._grow_fans()
        gap = web.add(left, right, at, amount if amount == amount else 0.0)  # noqa: PLR0124 (the fastest test for NaN)
        if gap > self._shortest and left != right:
            self._fans_out.add(left, at, gap)
            self._fans_in.add(right, at, gap)

    def known(self, source: int, target: int, at: float, bad: bool, happened: float) -> None:
        """Take in the outcome of an event that was told before. Neither of its times matters beyond the order."""
        if not bad or not source or not target:
            return
        left, right = self._web.number(source), self._web.number(target)
        if len(self._web.numbers) > self._grown:
            self._grow_fans()
        self._web.spread(left, right)
        if left != right:
            self._web.spread(right, left)

    def update(self, events: Events) -> None:
        """Take in all these events and all outcomes they tell, each at its time."""
        source, target = (end.tolist() for end in events.ends[self._name])
        told = np.flatnonzero((events.outcome == 1) & np.isfinite(events.known))
        rows = np.concatenate([np.arange(events.happened.size), told])
        outcome = np.arange(rows.size) >= events.happened.size
        times = np.where(outcome, np.maximum(events.known, events.happened)[rows], events.happened[rows])
        order = np.lexsort((rows, events.happened[rows], outcome, times))
        happened, amount = events.happened.tolist(), events.amount.tolist()
        for row, is_outcome, at in zip(
            rows[order].tolist(), outcome[order].tolist(), times[order].tolist(), strict=True
        ):
            if is_outcome:
                self.known(source[row], target[row], at, True, happened[row])
            else:
                self.happened(source[row], target[row], at, amount[row])

    def lookup(self, source: int, target: int, at: float) -> npt.NDArray[np.float32]:
        """Return the facts in the order of `link_fact_names`, all NaN where an end is missing (0)."""
        if not source or not target:
            return np.full(self._size, np.nan, dtype=np.float32)
        numbers = self._web.numbers
        left, right = numbers.get(source, 0), numbers.get(target, 0)
        facts: list[float] = []
        for family in self._families:
            facts += family(left, right, at)
        return np.array(facts, dtype=np.float32)

    def arrays(self) -> Arrays:
        """Return the state as arrays by name, for `of`."""
        fans = {"out": self._fans_out.arrays(), "in": self._fans_in.arrays()}
        counters = {f"fan_{side}_{name}": values for side, part in fans.items() for name, values in part.items()}
        return {"rule": self._rule, **self._web.arrays(), **counters}

    @classmethod
    def of(cls, memory: Memory, link: Link, arrays: Arrays) -> LinkState:
        """Return the state that gave `arrays`. Raises `BundleError` where it was kept under another cap or windows."""
        state = cls(memory, link)
        if not np.array_equal(arrays["rule"], state._rule):
            raise BundleError(
                f"link '{link.name}' was kept with cap and windows {arrays['rule'].tolist()}, and is read with "
                f"{state._rule.tolist()}. Build the memory anew, or go back to those."
            )
        state._web = LinkWeb.of(link.cap, arrays)
        state._grown = len(state._web.numbers)
        for side, fans in (("out", state._fans_out), ("in", state._fans_in)):
            fans.restore(*(arrays[f"fan_{side}_{name}"] for name in ("rings", "totals", "latest")))
        return state

    def _grow_fans(self) -> None:
        while self._grown < len(self._web.numbers):
            self._fans_out.grow()
            self._fans_in.grow()
            self._grown += 1

    def _degree(self, source: int, target: int, at: float) -> list[float]:
        web = self._web
        return [web.receivers[source], len(web.into[source]), web.receivers[target], len(web.into[target])]

    def _fan(self, source: int, target: int, at: float) -> list[float]:
        steps = self._fans_out.steps(at)
        return [*self._fans_out.counts(source, steps), *self._fans_in.counts(target, steps)]

    def _pair(self, source: int, target: int, at: float) -> list[float]:
        pair = self._web.pair(source, target)
        return [0, _NAN, 1] if pair is None else [self._web.count[pair], at - self._web.latest[pair], 0]

    def _reciprocity(self, source: int, target: int, at: float) -> list[float]:
        web = self._web
        there, back = web.pair(source, target), web.pair(target, source)
        returned = 0.0 if back is None else web.volume[back]
        both = returned + (0.0 if there is None else web.volume[there])
        return [0 if back is None else web.count[back], returned / both if both else _NAN]

    def _risk(self, source: int, target: int, at: float) -> list[float]:
        web = self._web
        facts: list[float] = [web.bads[source], web.bads[target], web.risk[source], web.risk[target]]
        if self._hops == 2:
            facts += [sum(map(web.risk.__getitem__, web.near[end])) for end in (source, target)]
        return facts

    def _cycle(self, source: int, target: int, at: float) -> list[float]:
        return [self._between(target, source)]

    def _scatter(self, source: int, target: int, at: float) -> list[float]:
        return [self._between(source, target)]

    def _between(self, begin: int, end: int) -> int:
        web = self._web
        return 0 if begin == end else sum(map(web.into[end].__contains__, web.out[begin]))

    def _chain(self, source: int, target: int, at: float) -> list[float]:
        web = self._web
        if self._hops == 1:
            return [web.passed[source], web.passed[target]]
        return [web.passed[end] + sum(map(web.passed.__getitem__, web.out[end])) for end in (source, target)]
