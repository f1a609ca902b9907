"""The scoring service under load: swaps, kills, speed beside two rivals, whatever is sent, and memory."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.runner import Bar, Outcome
from benchmarks.serviced import books, fuzz, kills, processes, soak, speed, swaps
from benchmarks.serviced.effort import EFFORTS
from leanrisk.core.progress import Progress

_LOG = "[shadow]\naliases = []\n"


def run(preset: str, progress: Progress) -> Outcome:
    """Return what the service answers while everything happens to it.

    One worker and its load share the machine's cores; every decision is flushed to a disk before its answer. Rivals
    answer the same records, from the same bundle (MLflow's server, a bare FastAPI route) or from a LightGBM, and keep
    nothing.
    """
    effort = EFFORTS[preset]
    figures: dict[str, float | int | str] = {"features": books.FEATURES, "workers": 1}
    bars: list[Bar] = []
    with processes.scratch() as aside:
        place = Path(aside)
        with progress.track("Preparing", 1) as advance:
            book = books.made(place, rows=effort.rows, batch_rows=effort.batch_rows, trees=effort.trees)
            figures["flush_ms"] = speed.flush_ms(place)
            advance(1)
        parts: tuple[Callable[[], tuple[dict[str, float | int | str], list[Bar]]], ...] = (
            lambda: speed.measured(place, book, effort),
            lambda: swaps.measured(place, book, effort),
            lambda: kills.measured(place, book, effort),
            lambda: soak.measured(place, book, effort),
            lambda: fuzz.measured(place, book, effort),
        )
        with progress.track("Loading the service", len(parts)) as advance:
            for part in parts:
                began = time.perf_counter()
                more, reached = part()
                figures |= more
                bars += reached
                advance(1)
                print(part, more, round(time.perf_counter() - began, 1), file=sys.stderr) if _VERBOSE else None  # noqa: T201
    figures["load_1m"] = round(os.getloadavg()[0], 2)
    return Outcome(figures, tuple(bars))


_VERBOSE = "LEANRISK_BENCH_VERBOSE" in os.environ
