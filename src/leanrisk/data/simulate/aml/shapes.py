"""The shapes in which money moves: fans, cycles, scatter-gather, bipartite, stacked layers, and random walks."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from leanrisk.data.simulate.draws import Ints


class Typology(StrEnum):
    """How a group of transfers hangs together (Altman et al. 2023, "Realistic synthetic financial transactions")."""

    FAN_IN = "fan_in"
    """Many accounts pay one."""
    FAN_OUT = "fan_out"
    """One account pays many."""
    CYCLE = "cycle"
    """Money returns to where it came from."""
    SCATTER_GATHER = "scatter_gather"
    """One account pays many, each of which pays the same last one."""
    BIPARTITE = "bipartite"
    """Every one of a few accounts pays every one of a few others."""
    STACKED = "stacked"
    """Two bipartite layers: the receivers of the first pay on in the second."""
    RANDOM = "random"
    """A walk from account to account."""


TYPOLOGIES = tuple(Typology)


@dataclass(frozen=True)
class Shape:
    """One shape of one size. Accounts are numbered from 0, the centre: edge e goes from `source[e]` to `sink[e]`.

    depth: an edge of depth d comes after all edges of depth d - 1. twin: the edge whose amount this one hands on (its
    own number for a first edge). weight: its amount as a multiple of the twin's.
    """

    typology: Typology
    accounts: int
    source: tuple[int, ...]
    sink: tuple[int, ...]
    depth: tuple[int, ...]
    twin: tuple[int, ...]
    weight: tuple[float, ...]


@dataclass(frozen=True)
class Shapes:
    """All shapes, flat. Shape s has the edges `starts[s]` to `starts[s] + edges[s] - 1` of the arrays over all edges.

    kinds: place of the shape's typology. size: how large it is among those of its typology, standardised. by_kind: the
    first shape of each typology and one past the last.
    """

    kinds: Ints
    edges: Ints
    starts: Ints
    depths: Ints
    size: npt.NDArray[np.float64]
    by_kind: Ints
    source: Ints
    sink: Ints
    depth: Ints
    twin: Ints
    weight: npt.NDArray[np.float64]

    def mean_edges(self) -> npt.NDArray[np.float64]:
        """Return the mean number of edges of each typology, shape (typologies,)."""
        return np.bincount(self.kinds, self.edges) / np.bincount(self.kinds)


def shapes() -> tuple[Shape, ...]:
    """Return every shape, those of one typology side by side, in the order of `TYPOLOGIES`."""
    return (
        *(_layered(Typology.FAN_IN, (many, 1)) for many in range(4, 17)),
        *(_layered(Typology.FAN_OUT, (1, many)) for many in range(4, 17)),
        *(_path(Typology.CYCLE, length, closed=True) for length in range(3, 9)),
        *(_scatter_gather(many) for many in range(3, 9)),
        *(_layered(Typology.BIPARTITE, (one, other)) for one in range(2, 6) for other in range(2, 6)),
        *(_layered(Typology.STACKED, (a, b, c)) for a in (2, 3, 4) for b in (2, 3, 4) for c in (2, 3, 4)),
        *(_path(Typology.RANDOM, length, closed=False) for length in range(2, 7)),
    )


MOST_ACCOUNTS = 17
"""Accounts in the largest shape."""


@functools.cache
def flat_shapes() -> Shapes:
    """Return all shapes as flat arrays."""
    every = shapes()
    kinds = np.array([TYPOLOGIES.index(shape.typology) for shape in every])
    edges = np.array([len(shape.source) for shape in every])
    means, spreads = (
        np.array([rule(edges[kinds == kind]) for kind in range(len(TYPOLOGIES))]) for rule in (np.mean, np.std)
    )
    return Shapes(
        kinds=kinds,
        edges=edges,
        starts=np.cumsum(edges) - edges,
        depths=np.array([max(shape.depth) + 1 for shape in every]),
        size=(edges - means[kinds]) / spreads[kinds],
        by_kind=np.searchsorted(kinds, np.arange(len(TYPOLOGIES) + 1)),
        source=np.array([place for shape in every for place in shape.source]),
        sink=np.array([place for shape in every for place in shape.sink]),
        depth=np.array([depth for shape in every for depth in shape.depth]),
        twin=np.array([edge for shape in every for edge in shape.twin]),
        weight=np.array([weight for shape in every for weight in shape.weight]),
    )


def _layered(typology: Typology, layers: tuple[int, ...]) -> Shape:
    """Return layers of accounts, each of which pays every account of the next layer; a lone account is the centre."""
    numbers = np.split(np.arange(sum(layers)), np.cumsum(layers)[:-1])
    if layers[-1] == 1:
        # The centre of a fan-in is the account that all the others pay.
        numbers = [places + 1 for places in numbers[:-1]] + [np.zeros(1, dtype=np.int64)]
    edges = [
        (int(source), int(sink), depth)
        for depth, (above, below) in enumerate(pairwise(numbers))
        for source in above
        for sink in below
    ]
    first = {sink: place for place, (_, sink, depth) in reversed(list(enumerate(edges))) if depth == 0}
    # A layer hands on what it received: each of its edges carries an equal part of that.
    handed = [1.0 if depth == 0 else layers[depth - 1] / layers[depth + 1] for _, _, depth in edges]
    return Shape(
        typology,
        sum(layers),
        tuple(source for source, _, _ in edges),
        tuple(sink for _, sink, _ in edges),
        tuple(depth for _, _, depth in edges),
        tuple(place if depth == 0 else first[source] for place, (source, _, depth) in enumerate(edges)),
        tuple(handed),
    )


def _path(typology: Typology, length: int, *, closed: bool) -> Shape:
    sinks = [place + 1 for place in range(length)]
    if closed:
        sinks[-1] = 0
    return Shape(
        typology,
        length if closed else length + 1,
        tuple(range(length)),
        tuple(sinks),
        tuple(range(length)),
        (0,) * length,
        (1.0,) * length,
    )


def _scatter_gather(many: int) -> Shape:
    branches, last = range(1, many + 1), many + 1
    return Shape(
        Typology.SCATTER_GATHER,
        many + 2,
        (0,) * many + tuple(branches),
        (*branches, *([last] * many)),
        (0,) * many + (1,) * many,
        tuple(range(many)) * 2,
        (1.0,) * (2 * many),
    )
