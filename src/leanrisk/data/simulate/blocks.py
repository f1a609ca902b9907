"""Blocks of a book: made ahead by threads, and put in the order of time where their events overlap."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Made = TypeVar("Made")

Events = dict[str, npt.NDArray[Any]]
"""Columns of events, all of one length; `moment` holds seconds since 1970-01-01."""


@contextlib.contextmanager
def made_ahead(make: Callable[[int], Made], blocks: int, workers: int | None = None) -> Iterator[Iterator[Made]]:
    """Yield an iterator over `make(0)` ... `make(blocks - 1)`, in that order; a few are made before they are asked for.

    Leaving the context, early or not, ends the `workers` (threads; as many as cores, up to 4, by default).
    """
    threads = workers or min(4, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="simulate")
    try:
        yield _in_order(make, blocks, pool, ahead=threads + 1)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_time_order(parts: Iterable[tuple[Events, int]]) -> Iterator[Events]:
    """Yield the events of all `parts` in the order of their moments, a block at a time, none of them empty.

    Each part comes with the moment before which no later part has an event: what lies beyond waits. Memory: one part
    and what reaches into later ones. Events of one moment keep the order in which they came.
    """
    waiting: Events = {}
    for part, closed in parts:
        held = {name: np.concatenate([waiting[name], values]) if waiting else values for name, values in part.items()}
        order = np.argsort(held["moment"], kind="stable")
        due = int(np.searchsorted(held["moment"][order], closed, side="left"))
        if due:
            yield {name: values[order[:due]] for name, values in held.items()}
        waiting = {name: values[order[due:]] for name, values in held.items()}
    if waiting and waiting["moment"].size:
        yield waiting


def _in_order(make: Callable[[int], Made], blocks: int, pool: ThreadPoolExecutor, *, ahead: int) -> Iterator[Made]:
    waiting: deque[Future[Made]] = deque()
    for block in range(blocks):
        waiting.append(pool.submit(make, block))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
