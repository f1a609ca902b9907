"""Sentiment of financial news, the text of claim C5, by itself: `leanrisk bench text`."""

from __future__ import annotations

from benchmarks.distilled import text, text_books
from benchmarks.runner import Outcome
from leanrisk.core.progress import Progress


def run(preset: str, progress: Progress) -> Outcome:
    """Return what `benchmarks.distilled.text` measures of this set."""
    return text.run(preset, progress, [text_books.phrasebank])
