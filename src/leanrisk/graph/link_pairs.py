"""Facts of an edge that need no third account: degrees, fans, earlier events of the pair, and those back."""

from __future__ import annotations

import numpy as np

from leanrisk.graph.link_graph import Asked, LinkGraph
from leanrisk.graph.link_timeline import Flags, Floats, Ints, Timeline, window_start


def degrees(graph: LinkGraph, asked: Asked) -> list[Floats]:
    """Return out- and in-degree of the source, then of the target: distinct counterparties met so far."""
    return [
        side.line.counts(owner, asked.rank).astype(np.float64)
        for owner in (asked.source, asked.target)
        for side in (graph.out, graph.into)
    ]


def fans(graph: LinkGraph, asked: Asked, windows: tuple[float, ...]) -> list[Floats]:
    """Return fan-out of the source for each window, then fan-in of the target.

    An event counts where the pair had none within the window before it: new counterparties and those met again after a
    pause. Loops do not count.
    """
    gap = _gaps(graph)[graph.apart]
    facts: list[Floats] = []
    for owners, ends in ((graph.source, asked.source), (graph.target, asked.target)):
        line = graph.timeline(owners[graph.apart], graph.rank[graph.apart])
        # Asked in the order in which the timeline stands, each search begins where the last one ended.
        order = np.argsort(ends * graph.span + asked.rank)
        owner, at = ends[order], asked.at[order]
        until = line.places(owner, asked.rank[order])
        for window in windows:
            start = line.places(owner, window_start(graph.times, at, window))
            new = np.concatenate([[0], np.cumsum(gap[line.order] > window)])
            fan = np.empty(order.size)
            fan[order] = new[until] - new[start]
            facts.append(fan)
    return facts


def pair_history(graph: LinkGraph, asked: Asked) -> list[Floats]:
    """Return the number of earlier events from source to target, time since the latest, and 1 where there was none.

    NaN stands for the time since an event that never was.
    """
    pair = graph.pairs(asked.source, asked.target)
    count = graph.pair_line.counts(pair, asked.rank)
    latest = graph.pair_line.latest(graph.moment[graph.pair_line.order], pair, asked.rank, np.nan)
    return [count.astype(np.float64), asked.at - latest, (count == 0).astype(np.float64)]


def reciprocity(graph: LinkGraph, asked: Asked) -> list[Floats]:
    """Return the number of earlier events from target back to source, and their volume as a share of both ways.

    The share is NaN where no volume went either way.
    """
    line, back = graph.pair_line, graph.pairs(asked.target, asked.source)
    volume = line.running(graph.amount)
    there = line.latest(volume, graph.pairs(asked.source, asked.target), asked.rank, 0.0)
    returned = line.latest(volume, back, asked.rank, 0.0)
    both = there + returned
    share = np.divide(returned, both, out=np.full(both.size, np.nan), where=both != 0)
    return [line.counts(back, asked.rank).astype(np.float64), share]


def _gaps(graph: LinkGraph) -> Floats:
    """Time since the pair's previous event, by event; infinite for its first."""
    line: Timeline = graph.pair_line
    moment: Floats = graph.moment[line.order]
    pair: Ints = line.codes // line.span
    again: Flags = np.zeros(pair.size, dtype=np.bool_)
    again[1:] = pair[1:] == pair[:-1]
    gap = np.full(moment.size, np.inf)
    gap[line.order[again]] = np.diff(moment, prepend=0.0)[again]
    return gap
