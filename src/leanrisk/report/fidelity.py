"""How far a student follows the incumbent: the deployed model on the test part, and the student of every step."""

from __future__ import annotations

from collections.abc import Callable

from leanrisk.report.comparison import stays
from leanrisk.report.facts import Facts
from leanrisk.report.numbers import counted, fixed, percent
from leanrisk.report.table import Entry, Table, titles
from leanrisk.report.words import Words, capitalised

_PRINTERS: dict[str, Callable[[float], str]] = {
    "rank_correlation": lambda value: fixed(value, 3),
    "agreement": percent,
    "cutoff": lambda value: fixed(value, 3),
    "swap_in": counted,
    "swap_in_bad_rate": percent,
    "swap_out": counted,
    "swap_out_bad_rate": percent,
}


def student(run: Facts, words: Words) -> str | None:
    """Return what the lean model is, with its preset where it has one; None where the incumbent stays or none is told.

    The preset of a kind without presets is the kind itself, and is not said twice.
    """
    kind = run.text("lean", "kind")
    if kind is None or stays(run):
        return None
    named, preset = words.named("student", kind), run.text("lean", "preset")
    return named if preset in (None, kind) else words("student.preset", kind=named, preset=preset)


def deployed(evidence: Facts, words: Words) -> list[tuple[str, str]]:
    """Return how closely the lean model follows the incumbent, as label and figure; empty where not measured."""
    found = evidence.group("fidelity")
    return [(words(f"fidelity.{key}"), _shown(found, key, words)) for key in _PRINTERS] if found else []


def by_step(run: Facts, words: Words) -> Table | None:
    """Return how closely the student of each step follows the incumbent; None where no step says so.

    A step that was dropped is shown as well: its student is what the gates judged.
    """
    rows = tuple(_row(step, words) for step in run.items("steps") if step.group("fidelity"))
    columns = titles(words, "technique", "verdict", "rank_correlation", "agreement", "swap_in", "swap_out")
    return Table(columns, rows, labels=2) if rows else None


def _row(step: Facts, words: Words) -> tuple[Entry, ...]:
    accepted, found = bool(step.at("accepted")), step.group("fidelity")
    kind = step.text("student")
    return (
        Entry(
            words.named("technique", step.text("technique") or ""),
            "" if kind is None else capitalised(words.named("student", kind)),
        ),
        Entry(words("step.kept" if accepted else "step.dropped"), kind=f"chip {'better' if accepted else 'muted'}"),
        Entry(_shown(found, "rank_correlation", words)),
        Entry(_shown(found, "agreement", words)),
        *(_swap(found, way, words) for way in ("swap_in", "swap_out")),
    )


def _swap(found: Facts, way: str, words: Words) -> Entry:
    rate = found.number(f"{way}_bad_rate")
    return Entry(_shown(found, way, words), "" if rate is None else words("fidelity.bads", rate=percent(rate)))


def _shown(found: Facts, key: str, words: Words) -> str:
    figure = found.number(key)
    return words("absent") if figure is None else _PRINTERS[key](figure)
