"""Small books of edges, and a reference for every link fact written as slowly and plainly as its definition."""

import math
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from leanrisk.core.memory import Link, LinkFact
from leanrisk.graph.events import Events

NAME = "transfer"
WINDOWS = (1.0, 4.0, 16.0)


class Edge(NamedTuple):
    source: int
    target: int
    happened: float
    known: float = math.inf
    outcome: float = math.nan
    amount: float = 1.0


def as_events(edges: list[Edge]) -> Events:
    columns = [np.array([edge[place] for edge in edges]) for place in range(6)]
    source, target, happened, known, outcome, amount = columns
    return Events(
        id=np.arange(len(edges), dtype=np.uint64),
        happened=happened.astype(np.float64),
        known=known.astype(np.float64),
        outcome=outcome.astype(np.float32),
        amount=amount.astype(np.float32),
        keys={},
        ends={NAME: (source.astype(np.uint64), target.astype(np.uint64))},
    )


@st.composite
def edges(draw: st.DrawFn, accounts: int = 6, most: int = 40) -> list[Edge]:
    """Crowded books: few accounts, loops, missing ends, times on a quarter grid with many ties, whole amounts."""
    key = st.integers(0, accounts)
    quarters = st.integers(-12, 80)
    rows = draw(
        st.lists(
            st.tuples(
                key, key, quarters, st.integers(0, 30), st.sampled_from((1.0, 1.0, 0.0, math.nan)), st.integers(0, 9)
            ),
            max_size=most,
        )
    )
    return [
        Edge(source, target, when / 4, math.inf if math.isnan(bad) else (when + delay) / 4, bad, float(amount))
        for source, target, when, delay, bad, amount in sorted(rows, key=lambda row: row[2])
    ]


class Reference:
    """Facts of an edge at one moment, from all edges and outcomes known strictly before it."""

    def __init__(self, book: list[Edge], link: Link, at: float) -> None:
        self.link, self.at = link, at
        real = [edge for edge in book if edge.source and edge.target]
        self.seen = [edge for edge in sorted(real, key=lambda edge: edge.happened) if edge.happened < at]
        self.apart = [edge for edge in self.seen if edge.source != edge.target]
        self.bad = sorted((edge for edge in self.seen if edge.outcome == 1 and edge.known < at), key=lambda e: e.known)

    def facts(self, source: int, target: int) -> list[float]:
        families = [family for fact in self.link.facts for family in getattr(self, fact.value)(source, target)]
        return families if source and target else [math.nan] * len(families)

    def receivers(self, account: int) -> list[int]:
        return list(dict.fromkeys(edge.target for edge in self.apart if edge.source == account))

    def senders(self, account: int) -> list[int]:
        return list(dict.fromkeys(edge.source for edge in self.apart if edge.target == account))

    def neighbours(self, account: int) -> list[int]:
        met = [edge.target if edge.source == account else edge.source for edge in self.apart if account in edge[:2]]
        return list(dict.fromkeys(met))[: self.link.cap]

    def degree(self, source: int, target: int) -> list[float]:
        return [len(side(end)) for end in (source, target) for side in (self.receivers, self.senders)]

    def fan(self, source: int, target: int) -> list[float]:
        return [
            sum(edge[place] == end and self._new_within(edge, window) for edge in self.apart)
            for place, end in ((0, source), (1, target))
            for window in WINDOWS
        ]

    def _new_within(self, edge: Edge, window: float) -> bool:
        before = [other for other in self.apart[: self._place(edge)] if other[:2] == edge[:2]]
        if before and edge.happened - before[-1].happened <= window:
            return False
        return math.floor(edge.happened / (window / 8)) > math.floor(self.at / (window / 8)) - 8

    def _place(self, edge: Edge) -> int:
        return next(place for place, other in enumerate(self.apart) if other is edge)

    def pair(self, source: int, target: int) -> list[float]:
        earlier = [edge.happened for edge in self.seen if edge[:2] == (source, target)]
        return [len(earlier), self.at - max(earlier) if earlier else math.nan, not earlier]

    def reciprocity(self, source: int, target: int) -> list[float]:
        there = sum(edge.amount for edge in self.seen if edge[:2] == (source, target))
        back = [edge.amount for edge in self.seen if edge[:2] == (target, source)]
        return [len(back), sum(back) / (there + sum(back)) if there + sum(back) else math.nan]

    def bads(self, account: int) -> list[Edge]:
        return [edge for edge in self.bad if account in edge[:2]]

    def one_hop(self, account: int) -> int:
        return sum(
            account not in edge[:2] for other in self.neighbours(account) for edge in self.bads(other)[: self.link.cap]
        )

    def risk(self, source: int, target: int) -> list[float]:
        ends = (source, target)
        facts = [float(len(self.bads(end))) for end in ends] + [float(self.one_hop(end)) for end in ends]
        if self.link.hops == 2:
            facts += [sum(self.one_hop(other) for other in self.neighbours(end)) for end in ends]
        return facts

    def cycle(self, source: int, target: int) -> list[float]:
        between = self.receivers(target)[: self.link.cap]
        return [len(set(between) & set(self.senders(source)) - {source}) if source != target else 0]

    def scatter(self, source: int, target: int) -> list[float]:
        between = self.receivers(source)[: self.link.cap]
        return [len(set(between) & set(self.senders(target))) if source != target else 0]

    def _passed(self, account: int) -> float:
        return sum(edge.amount for edge in self.apart if edge.source == account)

    def chain(self, source: int, target: int) -> list[float]:
        facts = []
        for end in (source, target):
            further = self.receivers(end)[: self.link.cap] if self.link.hops == 2 else []
            facts.append(self._passed(end) + sum(self._passed(other) for other in further))
        return facts


def reference(book: list[Edge], asked: list[Edge], link: Link) -> np.ndarray:
    rows = [Reference(book, link, edge.happened).facts(edge.source, edge.target) for edge in asked]
    return np.array(rows, dtype=np.float32)


def link_of(hops: int = 1, cap: int = 64, facts: tuple[LinkFact, ...] = tuple(LinkFact)) -> Link:
    return Link(NAME, "payer", "payee", facts=facts, hops=hops, cap=cap)
