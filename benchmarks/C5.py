"""Claim C5, tables: a student keeps 99.5 % of the best teacher's AUC at a twentieth of the time of a decision."""

from __future__ import annotations

from benchmarks.distilled.tables import tables
from benchmarks.runner import Outcome
from leanrisk.core.progress import Progress


def run(preset: str, progress: Progress) -> Outcome:
    """Return AUC, its share of the best teacher's, and microseconds of every teacher and student, book by book."""
    figures, bars = tables(preset, progress)
    return Outcome(figures, tuple(bars))
