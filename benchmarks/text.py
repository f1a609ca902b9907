"""Text of claim C5 by itself: `leanrisk bench text`."""

from __future__ import annotations

from benchmarks.distilled import text
from benchmarks.runner import Outcome
from leanrisk.core.progress import Progress


def run(preset: str, progress: Progress) -> Outcome:
    """Return what `benchmarks.distilled.text` measures."""
    return text.run(preset, progress)
