"""Where the figures come from: the split, the dropped columns, and the facts that make a run repeatable."""

from __future__ import annotations

from leanrisk.report.facts import Facts
from leanrisk.report.fidelity import student
from leanrisk.report.numbers import ABSENT, counted, percent
from leanrisk.report.table import Entry, Table, titles
from leanrisk.report.words import Words


def split(evidence: Facts, words: Words) -> Table | None:
    """Return the rows, bads and period of each part; None where the split was not recorded."""
    rows = []
    for part in evidence.items("split", "parts"):
        total, bads = part.number("rows"), part.number("bads")
        rate = None if bads is None or not total else bads / total
        period = [part.text(key) for key in ("from", "to")]
        rows.append(
            (
                Entry(words.named("part", part.text("part") or "")),
                Entry(words("interval", lo=period[0], hi=period[1]) if all(period) else ABSENT),
                Entry(counted(total)),
                Entry(counted(bads)),
                Entry(ABSENT if rate is None else percent(rate, 2)),
            )
        )
    return Table(titles(words, "part", "period", "rows", "bads", "bad_rate"), tuple(rows), labels=2) if rows else None


def dropped(evidence: Facts, words: Words) -> Table | None:
    """Return the columns that no model saw, each with its reason; None where none was recorded."""
    if evidence.at("dropped") is None:
        return None
    rows = tuple(
        (Entry(row.text("column") or ""), Entry(row.text("reason") or "")) for row in evidence.items("dropped")
    )
    return Table(titles(words, "column", "reason"), rows, labels=2)


def facts_of_run(run: Facts, evidence: Facts, words: Words) -> list[tuple[str, str]]:
    """Return what repeats the run: data hash, seed, versions, machine."""
    machine = run.group("machine")
    rows = [
        (words("fact.data"), run.text("data", "name")),
        (words("fact.rows"), _count(run, "data", "rows")),
        (words("fact.columns"), _count(run, "data", "columns")),
        (words("fact.sha256"), run.text("data", "sha256")),
        (words("fact.split"), _split_kind(run, evidence, words)),
        (words("fact.incumbent"), run.text("incumbent", "kind")),
        (words("fact.student"), student(run, words)),
        (words("fact.precision"), run.text("lean", "precision")),
        (words("fact.seed"), run.text("seed")),
        (words("fact.preset"), run.text("preset")),
        (words("fact.version"), run.text("leanrisk")),
        *((words.named("machine", key), flat(machine.at(key))) for key in machine.names()),
    ]
    return [(label, shown or words("absent")) for label, shown in rows]


def flat(value: object) -> str:
    """Return a plain JSON value as one line: objects as "key value" pairs."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(flat(item) for item in value)
    return "" if value is None else str(value)


def _split_kind(run: Facts, evidence: Facts, words: Words) -> str | None:
    kind = evidence.text("split", "kind") or run.text("data", "split", "kind")
    return words.named("split", kind) if kind else None


def _count(run: Facts, *path: str) -> str | None:
    value = run.number(*path)
    return None if value is None else counted(value)
