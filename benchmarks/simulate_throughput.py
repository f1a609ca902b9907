"""Simulator throughput: rows per second from nothing to a Parquet file on disk, and the memory that it takes."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.runner import Bar, Outcome
from leanrisk.core.progress import Advance, Progress

_FEATURES = 217
_ROWS = {"smoke": (200_000,), "full": (200_000, 1_000_000, 4_000_000)}
_EVENTS = {"smoke": (1_000_000,), "full": (1_000_000, 10_000_000)}
_REPEATS = {"smoke": 2, "full": 3}

# A fresh interpreter, so that the peak memory is that of one book alone; it prints wall seconds and the peak in KiB.
_JOB = """
import resource, sys, time
{imports}
path, rows = sys.argv[1], int(sys.argv[2])
began = time.perf_counter()
{write}
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
_SME = _JOB.format(
    imports="from leanrisk.data.simulate.writer import write_sme",
    write=f"write_sme(path, rows=rows, features={_FEATURES}, seed=7)",
)
_AML = _JOB.format(
    imports="from leanrisk.data.simulate.writer import write_aml\n"
    "from leanrisk.data.simulate.aml.transfers import TRANSFERS_PER_ACCOUNT, AmlSize",
    write="write_aml(path, path + '.accounts.parquet', AmlSize(rows // TRANSFERS_PER_ACCOUNT, rows))",
)
_CARD = _JOB.format(
    imports="from leanrisk.data.simulate.writer import write_card\n"
    "from leanrisk.data.simulate.card.payments import CardSize",
    write="write_card(path, CardSize(rows))",
)


@dataclass(frozen=True)
class _Best:
    """The fastest of a few runs: wall and CPU seconds (fsync included), peak RSS in MiB, bytes of the book."""

    rows: int
    wall: float
    cpu: float
    peak: float
    size: int

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.wall

    def figures(self, name: str) -> dict[str, float | int]:
        """Return the figures under names that begin with `name`."""
        return {
            f"{name}rows_{self.rows}_rows_per_s": round(self.rate),
            f"{name}rows_{self.rows}_wall_s": round(self.wall, 3),
            f"{name}rows_{self.rows}_cpu_s": round(self.cpu, 3),
            f"{name}rows_{self.rows}_peak_rss_mb": round(self.peak, 1),
            f"{name}rows_{self.rows}_bytes": self.size,
        }


def run(preset: str, progress: Progress) -> Outcome:
    """Return rows per second, CPU seconds and peak memory by size, for loans, transfers and card payments."""
    figures: dict[str, float | int | str] = {"features": _FEATURES, "repeats": _REPEATS[preset]}
    jobs = {"": (_SME, _ROWS[preset]), "aml_": (_AML, _EVENTS[preset]), "card_": (_CARD, _EVENTS[preset])}
    books: dict[str, list[_Best]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        progress.track("Simulating books", sum(len(sizes) for _, sizes in jobs.values()) * _REPEATS[preset]) as advance,
    ):
        for name, (job, sizes) in jobs.items():
            books[name] = [_best(job, Path(folder), rows, _REPEATS[preset], advance) for rows in sizes]
            for book in books[name]:
                figures |= book.figures(name)
    slowest = round(min(book.rate for book in books[""]))
    return Outcome(
        figures=figures,
        bars=(
            Bar.at_least("rows per second to Parquet at 217 features, slowest size", slowest, 100_000),
            Bar.at_most("peak memory of the largest book, MiB", round(books[""][-1].peak, 1), 2_048),
            Bar.at_most("seconds for a million transfers", round(books["aml_"][0].wall, 2), 60),
            Bar.at_most("seconds for a million card payments", round(books["card_"][0].wall, 2), 60),
        ),
    )


def _best(job: str, folder: Path, rows: int, repeats: int, advance: Advance) -> _Best:
    path = folder / "book.parquet"
    wall, cpu, peak = min(_once(job, path, rows, advance) for _ in range(repeats))
    return _Best(rows, wall, cpu, peak, path.stat().st_size)


def _once(job: str, path: Path, rows: int, advance: Advance) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak RSS in MiB of one book, written by a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", job, str(path), str(rows)], check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall, peak = map(float, done.stdout.split())
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    advance(1)
    return wall, cpu, peak / 1024
