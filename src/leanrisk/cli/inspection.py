"""How an inspection looks in a terminal: what the table is, its columns, its findings from gravest to lightest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from leanrisk.core.errors import Fault
from leanrisk.data.findings import Severity, severity
from leanrisk.data.infer import ColumnFacts, Inspection
from leanrisk.data.leaks import LEAK_AUC

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLOURS = {Severity.FAULT: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}
_HEADINGS = {
    Severity.FAULT: "Faults: training refuses this table until they are mended",
    Severity.WARNING: "Warnings: look at these before you model",
    Severity.NOTE: "Notes",
}
_ROLE_STYLES = {
    "feature": "green",
    "target": "bold magenta",
    "time": "bold blue",
    "outcome_time": "blue",
    "group": "blue",
    "protected": "yellow",
    "expost": "red",
}


def drawn(inspection: Inspection, *, file: Path, known: bool, written: Path | None) -> Iterator[RenderableType]:
    """Yield what to print: the head, the table of columns, the findings, and where the schema went."""
    yield _head(inspection, file, known)
    yield _columns(inspection.facts)
    for grade, faults in groupby(inspection.findings, key=lambda fault: severity(fault.code)):
        yield from _findings(grade, list(faults))
    yield Rule(style="dim")
    yield _foot(inspection, known, written)


def _head(inspection: Inspection, file: Path, known: bool) -> RenderableType:
    schema = inspection.schema
    head = Table.grid(padding=(0, 2))
    head.add_column(style="dim", justify="right")
    head.add_column()
    head.add_row("file", f"[bold]{escape(file.name)}[/], {inspection.rows:,} rows, {_width(inspection)}")
    if known:
        head.add_row("schema", f"[bold]{escape(schema.name)}[/] (ships with LeanRisk, matched by column names)")
    head.add_row("target", _target(inspection))
    if schema.time and inspection.period:
        first, last = inspection.period
        head.add_row("decision time", f"[bold]{escape(schema.time)}[/], {first} to {last}")
    else:
        head.add_row("decision time", "none found: splits are stratified by outcome")
    head.add_row("columns by role", _roles(inspection.facts))
    return Padding(head, (1, 0, 1, 0))


def _width(inspection: Inspection) -> str:
    if not inspection.extra:
        return f"{len(inspection.facts)} columns"
    extra = ", ".join(inspection.extra[:3]) + (", ..." if len(inspection.extra) > 3 else "")
    return f"{len(inspection.facts) + len(inspection.extra)} columns, not in the schema: {escape(extra)}"


def _target(inspection: Inspection) -> str:
    schema = inspection.schema
    if schema.target is None:
        return "[yellow]none[/]"
    name = f"[bold]{escape(schema.target)}[/]"
    if inspection.bads is None or inspection.goods is None:
        return f"{name}, an amount"
    labelled = inspection.bads + inspection.goods
    bad = escape(", ".join(repr(value) for value in schema.positive))
    share = f"{inspection.bads / labelled:.2%}" if labelled else "none"
    rest = f", {inspection.rows - labelled:,} unlabelled" if labelled < inspection.rows else ""
    return f"{name}, bad = {bad}: {inspection.bads:,} of {labelled:,} labelled rows ({share}){rest}"


def _roles(facts: Sequence[ColumnFacts]) -> str:
    counts: dict[str, int] = {}
    for fact in facts:
        counts[fact.role] = counts.get(fact.role, 0) + 1
    order = sorted(counts, key=lambda role: (role != "feature", -counts[role]))
    return ", ".join(f"[{_ROLE_STYLES.get(role, 'dim')}]{counts[role]} {role}[/]" for role in order)


def _columns(facts: Sequence[ColumnFacts]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", expand=True)
    coded = any(fact.missing_codes for fact in facts)
    table.add_column("column", overflow="fold", max_width=28)
    table.add_column("kind", no_wrap=True)
    table.add_column("role", no_wrap=True)
    table.add_column("missing", justify="right", no_wrap=True)
    table.add_column("distinct", justify="right", no_wrap=True)
    table.add_column("lone AUC", justify="right", no_wrap=True)
    if coded:
        table.add_column("codes", no_wrap=True, style="cyan")
    table.add_column("commonest values", no_wrap=True, overflow="ellipsis", ratio=1, style="dim")
    for fact in facts:
        style = _ROLE_STYLES.get(fact.role, "dim")
        table.add_row(
            Text(fact.name, style="" if fact.role == "feature" else style),
            fact.kind,
            Text(fact.role, style=style),
            _share(fact.missing),
            f"{fact.distinct:,}",
            _auc(fact.lone_auc),
            *([", ".join(str(code) for code in fact.missing_codes)] if coded else []),
            Text(fact.values),
        )
    return table


def _share(value: float) -> Text:
    if value == 0.0:
        return Text("-", style="dim")
    return Text(f"{value:.1%}" if value >= 0.0005 else "<0.1%", style="yellow" if value >= 0.5 else "")


def _auc(value: float | None) -> Text:
    if value is None:
        return Text("-", style="dim")
    return Text(f"{value:.3f}", style="bold red" if value >= LEAK_AUC else "")


def _findings(grade: Severity, faults: Sequence[Fault]) -> Iterator[RenderableType]:
    yield Padding(Rule(Text(_HEADINGS[grade], style=_COLOURS[grade]), align="left", style="dim"), (1, 0, 0, 0))
    for (code, way_out), group in _grouped(faults):
        yield Text.assemble((code, _COLOURS[grade]))
        for what, columns in _by_message(group):
            yield Padding(_line(columns, what), (0, 0, 0, 2))
        yield Padding(Text.assemble(("-> ", "green"), way_out), (0, 0, 0, 2))


def _grouped(faults: Iterable[Fault]) -> Iterator[tuple[tuple[str, str], list[Fault]]]:
    groups: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        groups.setdefault((fault.code, fault.way_out), []).append(fault)
    yield from groups.items()


def _by_message(faults: Iterable[Fault]) -> Iterator[tuple[str, list[str]]]:
    messages: dict[str, list[str]] = {}
    for fault in faults:
        messages.setdefault(fault.message, []).extend([] if fault.column is None else [fault.column])
    yield from messages.items()


def _line(columns: Sequence[str], what: str) -> Text:
    line = Text()
    for place, name in enumerate(columns):
        line.append(", " if place else "")
        line.append(name, style="bold")
    line.append(f": {what}" if columns else what)
    return line


def _foot(inspection: Inspection, known: bool, written: Path | None) -> Text:
    counts = {grade: sum(severity(fault.code) is grade for fault in inspection.findings) for grade in Severity}
    told = ", ".join(f"{count} {grade.value}{'' if count == 1 else 's'}" for grade, count in counts.items())
    if written is not None:
        return Text.assemble(
            f"{told}. Schema written to ", (str(written), "bold"), ": edit it, then pass it with --schema."
        )
    hint = (
        "matched by name, nothing to write."
        if known
        else "write it with -o schema.toml, edit it, pass it with --schema."
    )
    return Text(f"{told}. Schema: {hint}")
