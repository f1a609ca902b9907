"""How fast a generator learns and draws: 100,000 rows of 50 columns, on two cores and in 4 GiB."""

from __future__ import annotations

from benchmarks.runner import Bar, Outcome
from benchmarks.synthesized.speed import speed
from leanrisk.core.progress import Progress


def run(preset: str, progress: Progress) -> Outcome:
    """Measure the default generator; the second half of claim C3's bars."""
    figures = speed(preset == "full", progress)
    return Outcome(
        figures,
        (
            Bar.at_most("seconds to learn", float(figures["generator_learning_s"]), 300.0),
            Bar.at_most("MiB while it learns", float(figures["generator_peak_rss_mb"]), 4096.0),
            Bar.at_least("rows a second, near copies refused", float(figures["generator_rows_per_s"]), 50_000.0),
        ),
    )
