"""A table ready to print, and its cells."""

from __future__ import annotations

from dataclasses import dataclass

from leanrisk.report.words import Words


@dataclass(frozen=True)
class Entry:
    """One cell: its text, a smaller line under it, and a class ("chip better" and the like)."""

    text: str
    sub: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table ready to print: column titles, rows of entries, and how many leading columns hold text, not figures."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    labels: int = 1


def titles(words: Words, *names: str) -> tuple[str, ...]:
    """Return the column titles under these keys of the catalogue."""
    return tuple(words(f"column.{name}") for name in names)
