"""What a run's models of texts are, and how the texts that taught them were read."""

from __future__ import annotations

from leanrisk.report.facts import Facts
from leanrisk.report.numbers import counted, fixed
from leanrisk.report.table import Entry, Table, titles
from leanrisk.report.words import Words


def texts(run: Facts, words: Words) -> Table | None:
    """Return the columns of texts that the step 'text' read, kept or dropped; None where a run has no such step."""
    rows = [
        _row(name, step.group("details", "columns", name), bool(step.at("accepted")), words)
        for step in run.items("steps")
        if step.text("technique") == "text"
        for name in step.group("details", "columns").names()
    ]
    columns = titles(words, "column", "auc_alone", "parameters", "texts", "texts_empty", "texts_cut", "texts_foreign")
    return Table(columns, tuple(rows), labels=1) if rows else None


def _row(name: str, found: Facts, accepted: bool, words: Words) -> tuple[Entry, ...]:
    alone, parameters = found.number("auc_alone"), found.number("parameters")
    counts = [found.number("read", key) for key in ("texts", "empty", "cut", "foreign")]
    return (
        Entry(name, words("step.kept" if accepted else "step.dropped")),
        Entry(words("absent") if alone is None else fixed(alone, 3)),
        *(Entry(words("absent") if count is None else counted(count)) for count in (parameters, *counts)),
    )
