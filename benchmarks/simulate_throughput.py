"""Simulator throughput: rows per second from nothing to a Parquet file on disk, and the memory that it takes."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.runner import Bar, Outcome
from leanrisk.core.progress import Advance, Progress

_FEATURES = 217
_ROWS = {"smoke": (200_000,), "full": (200_000, 1_000_000, 4_000_000)}
_REPEATS = {"smoke": 2, "full": 3}

# A fresh interpreter, so that the peak memory is that of one book alone; it prints wall seconds and the peak in KiB.
_JOB = """
import resource, sys, time
from leanrisk.data.simulate.writer import write_sme
began = time.perf_counter()
write_sme(sys.argv[1], rows=int(sys.argv[2]), features=int(sys.argv[3]), seed=7)
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def run(preset: str, progress: Progress) -> Outcome:
    """Return rows per second (best of a few runs, fsync included), CPU seconds and peak memory by size of the book."""
    figures: dict[str, float | int | str] = {"features": _FEATURES, "repeats": _REPEATS[preset]}
    rates: list[float] = []
    peaks: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        progress.track("Simulating books", total=len(_ROWS[preset]) * _REPEATS[preset]) as advance,
    ):
        for rows in _ROWS[preset]:
            best = min(_once(Path(folder) / "book.parquet", rows, advance) for _ in range(_REPEATS[preset]))
            rates.append(rows / best[0])
            peaks.append(best[2])
            figures[f"rows_{rows}_rows_per_s"] = round(rates[-1])
            figures[f"rows_{rows}_wall_s"] = round(best[0], 3)
            figures[f"rows_{rows}_cpu_s"] = round(best[1], 3)
            figures[f"rows_{rows}_peak_rss_mb"] = round(best[2], 1)
            figures[f"rows_{rows}_bytes"] = (Path(folder) / "book.parquet").stat().st_size
    return Outcome(
        figures=figures,
        bars=(
            Bar.at_least("rows per second to Parquet at 217 features, slowest size", round(min(rates)), 100_000),
            Bar.at_most("peak memory of the largest book, MiB", round(peaks[-1], 1), 2_048),
        ),
    )


def _once(path: Path, rows: int, advance: Advance) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak RSS in MiB of one book, written by a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", _JOB, str(path), str(rows), str(_FEATURES)], check=True, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall, peak = map(float, done.stdout.split())
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    advance(1)
    return wall, cpu, peak / 1024
