"""Calls into a database that may hang: the caller waits for so long and no longer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from leanrisk.core.errors import RecordsError


class Patience:
    """A thread that makes calls one by one; one that hangs is left behind, and the next call gets another thread."""

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._asked: queue.SimpleQueue[Any] | None = None

    def call(self, work: Callable[[], Any]) -> Any:
        """Return what `work` returns or raise what it raises; `RecordsError` where it takes too long.

        A call that was left behind may still end well: what it does must bear being done twice.
        """
        if self._asked is None:
            self._asked = queue.SimpleQueue()
            threading.Thread(target=_serve, args=(self._asked,), name="decision-database", daemon=True).start()
        told: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()
        self._asked.put((work, told))
        try:
            result, error = told.get(timeout=self._within_s)
        except queue.Empty:
            self.close()
            raise RecordsError(
                f"Records need a database that answers: it did not within {self._within_s:g} s. Look at its load."
            ) from None
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """Let the thread end after what it does now."""
        if self._asked is not None:
            self._asked.put(None)
            self._asked = None


def _serve(asked: queue.SimpleQueue[Any]) -> None:
    while (one := asked.get()) is not None:
        work, told = one
        try:
            told.put((work(), None))
        except Exception as error:
            told.put((None, error))
