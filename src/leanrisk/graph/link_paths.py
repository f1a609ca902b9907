"""Ways over one account between the ends of an edge: cycles that it would close, and scatter-gather."""

from __future__ import annotations

import numpy as np

from leanrisk.graph.link_graph import Asked, LinkGraph
from leanrisk.graph.link_timeline import Floats, Ints


def cycles(graph: LinkGraph, asked: Asked) -> Floats:
    """Return how many of the target's first `cap` receivers have sent to the source: 0 for an edge to itself."""
    return _ways(graph, asked, asked.target, asked.source)


def scatters(graph: LinkGraph, asked: Asked) -> Floats:
    """Return how many of the source's first `cap` receivers have sent to the target: 0 for an edge to itself."""
    return _ways(graph, asked, asked.source, asked.target)


def _ways(graph: LinkGraph, asked: Asked, begin: Ints, end: Ints) -> Floats:
    total = np.zeros(begin.size)
    for ways in graph.out.ways(begin, asked.rank):
        through = graph.met_before(ways.neighbour, end[ways.questions][ways.which], ways.ranks[ways.which])
        total[ways.questions] = ways.total(through)
    # Paid out and back is no cycle of three, whichever end of the edge asks for it.
    total[asked.source == asked.target] = 0.0
    return total
