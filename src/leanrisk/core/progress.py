"""How a long job tells that it moves, without knowing who watches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[float], None]


class Progress(Protocol):
    """Where a job reports its steps; the command line shows them as bars."""

    def track(self, what: str, total: float | None = None) -> AbstractContextManager[Advance]:
        """Open a bar named `what` with `total` steps (None: unknown); call the yielded function to advance it."""
        ...

    def say(self, message: str) -> None:
        """Show one line that stays."""
        ...


class Silent:
    """Progress that nobody watches: the default everywhere below the command line."""

    @contextlib.contextmanager
    def track(self, what: str, total: float | None = None) -> Iterator[Advance]:
        """Yield a function that does nothing."""
        yield lambda steps: None

    def say(self, message: str) -> None:
        """Do nothing."""
