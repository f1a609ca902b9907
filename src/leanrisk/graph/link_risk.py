"""Bads known around the two ends of an edge: their own, their neighbours', and the neighbours' neighbours'."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from leanrisk.graph.link_graph import Asked, LinkGraph
from leanrisk.graph.link_timeline import Floats, Ints, Timeline


@dataclass(frozen=True)
class LinkRisk:
    """What is known of bads in a graph.

    An account's bads are those of all its events, as either end, a loop's once. Its risk of one hop adds up the bads of
    its first `cap` neighbours, without those of events between it and them: these are its own. Of each neighbour the
    first `cap` bads count, so that one hub is not the sum. Its risk of two hops adds up the risks of one hop of the
    same neighbours; ways that lead back to the account are among them.
    """

    graph: LinkGraph

    @cached_property
    def bads(self) -> tuple[Ints, Ints, Ints]:
        """Account, other end and rank of every bad, in order of rank; -1 stands for the other end of a loop."""
        graph = self.graph
        loop = graph.bad_source == graph.bad_target
        twice = np.column_stack([np.ones(loop.size, dtype=np.bool_), ~loop]).ravel()
        account = np.column_stack([graph.bad_source, graph.bad_target]).ravel()[twice]
        other = np.column_stack([np.where(loop, -1, graph.bad_target), graph.bad_source]).ravel()[twice]
        return account, other, np.repeat(graph.bad_rank, 2)[twice]

    @cached_property
    def own(self) -> Timeline:
        """Bads by account."""
        account, _, rank = self.bads
        return self.graph.timeline(account, rank)

    @cached_property
    def one_hop(self) -> Timeline:
        """Bads of first neighbours by account: one counts once both it and the neighbour are known."""
        graph, own = self.graph, self.own
        near = np.flatnonzero(graph.both.among_first)
        owner, met = np.divmod(graph.both.line.codes[near], graph.span)
        neighbour = graph.both.other[near]
        counts = np.minimum(np.diff(own.starts)[neighbour], graph.cap)
        which = np.repeat(np.arange(near.size), counts)
        place = np.arange(which.size) - np.repeat(np.cumsum(counts) - counts - own.starts[neighbour], counts)
        fact = own.order[place]
        _, other, rank = self.bads
        apart = other[fact] != owner[which]
        owner, rank = owner[which[apart]], np.maximum(met[which[apart]], rank[fact[apart]])
        in_time = np.argsort(rank, kind="stable")
        return graph.timeline(owner[in_time], rank[in_time])

    def two_hops(self, account: Ints, rank: Ints) -> Floats:
        """Return the sum of the risks of one hop of the account's first `cap` neighbours, as known before `rank`."""
        total = np.zeros(account.size)
        for ways in self.graph.both.ways(account, rank):
            total[ways.questions] = ways.total(ways.latest(self.one_hop, self.one_hop.numbers))
        return total


def risks(graph: LinkGraph, asked: Asked, hops: int) -> list[Floats]:
    """Return bads of source and target, their risks of one hop and, where `hops` is 2, of two."""
    risk = LinkRisk(graph)
    ends = (asked.source, asked.target)
    facts = [risk.own.counts(end, asked.rank).astype(np.float64) for end in ends]
    facts += [risk.one_hop.counts(end, asked.rank).astype(np.float64) for end in ends]
    if hops == 2:
        facts += [risk.two_hops(end, asked.rank) for end in ends]
    return facts
