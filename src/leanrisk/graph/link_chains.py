"""Amounts that hang on the ends of an edge: what an account has passed on or stands for, and its receivers after it."""

from __future__ import annotations

from leanrisk.graph.link_graph import Asked, LinkGraph
from leanrisk.graph.link_timeline import Floats


def chains(graph: LinkGraph, asked: Asked, hops: int) -> list[Floats]:
    """Return the amount on all edges out of the source, then of the target.

    Where `hops` is 2, amounts out of their first `cap` receivers are added, edges back among them. Loops carry nothing.
    """
    line = graph.timeline(graph.source[graph.apart], graph.rank[graph.apart])
    running = line.running(graph.amount[graph.apart])
    facts = []
    for end in (asked.source, asked.target):
        total = line.latest(running, end, asked.rank, 0.0)
        if hops == 2:
            for ways in graph.out.ways(end, asked.rank):
                total[ways.questions] += ways.total(ways.latest(line, running))
        facts.append(total)
    return facts
