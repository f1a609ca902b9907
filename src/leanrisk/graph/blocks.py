"""A level cut into blocks of whole entities, each small enough for a core's own cache.

Facts of one entity rest on no other's, so a block is worked out as if there were nothing else. Sorts and searches over
ten million rows at once wait for memory most of their time; the same rows in blocks take a third of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.graph.events import Events
from leanrisk.graph.keys import MISSING_KEY, Keys
from leanrisk.graph.timeline import Floats, Places

BLOCK_ROWS = 1 << 14
"""Rows that a block holds about, if no entity alone has more: one MiB or two with all that is worked out."""
_MOST_BITS = 16
# Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, 6.4): neighbouring keys go to different blocks.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Block:
    """All events and all questions of some entities of one level, every array of shape (n,) or (questions,).

    `rows` says where the questions stand among all that are asked.
    """

    key: Keys
    happened: Floats
    known: Floats
    outcome: npt.NDArray[np.float32]
    amount: npt.NDArray[np.float32]
    asked_key: Keys
    asked_time: Floats
    rows: Places

    @classmethod
    def of(cls, level: str, events: Events, asked: Events, told: Places, questions: Places) -> Block:
        """Return the block of these rows of the events and of the questions."""
        key, happened = events.keys[level][told], events.happened[told]
        same = asked is events and questions is told
        return cls(
            key,
            happened,
            events.known[told],
            events.outcome[told],
            events.amount[told],
            key if same else asked.keys[level][questions],
            happened if same else asked.happened[questions],
            questions,
        )


def blocks(events: Keys, asked: Keys, *, rows: int | None = None) -> Iterator[tuple[Places, Places]]:
    """Yield the rows of events and of questions that make up each block, about `rows` of them (`BLOCK_ROWS`).

    A row that names nobody is in none, and a block without questions is left out. Where `asked` is `events` itself,
    the two of a pair are one array.
    """
    bits = min((max(events.size, asked.size) // (rows or BLOCK_ROWS)).bit_length(), _MOST_BITS)
    told = _parts(events, bits)
    questions = told if asked is events else _parts(asked, bits)
    return ((own, its) for own, its in zip(told, questions, strict=True) if its.size)


def _parts(keys: Keys, bits: int) -> list[Places]:
    named = np.flatnonzero(keys != MISSING_KEY)
    if not bits:
        return [named]
    part = ((keys[named] * _SPREAD) >> np.uint64(64 - bits)).astype(np.uint16)
    # A stable sort of 16 bits is a radix sort: rows of a block stay in their order, which is mostly that of time.
    order = named[np.argsort(part, kind="stable")]
    return np.split(order, np.cumsum(np.bincount(part, minlength=1 << bits))[:-1])
