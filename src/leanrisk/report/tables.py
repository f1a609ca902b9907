"""The tables of the page: gates, steps, gains, calibration, training, fairness and the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from leanrisk.report.bars import gate_kind
from leanrisk.report.comparison import Printer, cell
from leanrisk.report.facts import Estimate, Facts
from leanrisk.report.numbers import (
    ABSENT,
    amount,
    counted,
    fixed,
    measured,
    money,
    percent,
    relative,
    signed,
    signed_percent,
    sizes,
)
from leanrisk.report.quality import lead_metric
from leanrisk.report.table import Entry, Table, titles
from leanrisk.report.words import Words, capitalised


def gates(run: Facts, words: Words) -> Table:
    """Return each gate with verdict, paired difference, bounds and margin."""
    rows = []
    for gate in run.items("gates"):
        verdict = words.named("verdict", gate.text("verdict") or "")
        figures = [gate.number(key) for key in ("value", "lo", "hi", "margin")]
        rows.append(
            (
                Entry(words.named("metric", gate.text("name") or "")),
                Entry(verdict, kind=f"chip {gate_kind(gate)}"),
                *(Entry(words("absent") if figure is None else signed(figure)) for figure in figures),
            )
        )
    return Table(titles(words, "gate", "verdict", "difference", "lower", "upper", "margin"), tuple(rows), labels=2)


def steps(run: Facts, words: Words) -> Table:
    """Return what each technique saved, what it cost in quality, and why it was kept or dropped."""
    metric = lead_metric(run)
    rows = []
    for step in run.items("steps"):
        accepted = bool(step.at("accepted"))
        verdict = words("step.kept" if accepted else "step.dropped")
        before, after = (step.estimate(side, "quality", metric) for side in ("before", "after"))
        rows.append(
            (
                Entry(
                    words.named("technique", step.text("technique") or ""),
                    step.text("reason") or words("step.no_reason"),
                ),
                Entry(verdict, kind=f"chip {'better' if accepted else 'muted'}"),
                _moved(step, ("latency_ms", "p50"), _milliseconds, words),
                _moved(step, ("features",), _counts, words),
                _moved(step, ("bytes",), sizes, words),
                _quality_move(before, after, words),
                Entry(*_measured(step.number("cost", "cpu_s"), "s", words)),
            )
        )
    columns = titles(words, "technique", "verdict", "latency", "features", "bytes")
    return Table(
        (*columns, capitalised(words.named("metric", metric)), words("column.step_cpu")), tuple(rows), labels=2
    )


def gains(evidence: Facts, words: Words, side: str) -> Table | None:
    """Return the gains table of one model, riskiest decile first; None where it was not measured."""
    rows = [
        (
            Entry(counted(row.number("decile"))),
            Entry(counted(row.number("rows"))),
            Entry(counted(row.number("bads"))),
            Entry(_share(row.number("bad_rate"), 2)),
            Entry(_share(row.number("cum_bad_share"), 1)),
            Entry(_plain(row.number("lift"), 2)),
            Entry(_plain(row.number("ks"), 4)),
        )
        for row in evidence.items("gains", side)
    ]
    columns = titles(words, "decile", "rows", "bads", "bad_rate", "captured", "lift", "ks")
    return Table(columns, tuple(rows), labels=1) if rows else None


def calibration(evidence: Facts, words: Words, side: str) -> Table | None:
    """Return the groups behind the reliability chart of one model; None where they were not measured."""
    rows = [
        (
            Entry(str(place)),
            Entry(counted(row.number("rows"))),
            *(Entry(_share(row.number(key), 2)) for key in ("predicted", "observed", "lo", "hi")),
        )
        for place, row in enumerate(evidence.items("calibration", side), start=1)
    ]
    columns = titles(words, "group", "rows", "predicted", "observed", "lower", "upper")
    return Table(columns, tuple(rows)) if rows else None


def training(run: Facts, words: Words) -> Table:
    """Return CPU-seconds, wall seconds and peak memory of every training routine, with the quality it buys."""
    metric = lead_metric(run)
    routines = (
        ("routine.full", ("incumbent", "train"), ("incumbent", "quality")),
        ("routine.refit", ("incumbent", "refit"), ("incumbent", "refit", "quality")),
        ("routine.slim", ("reference", "slim", "train"), ("reference", "slim", "quality")),
        ("routine.refresh", ("lean", "refresh"), ("lean", "quality")),
        ("routine.shrink", ("lean", "shrink"), ()),
    )
    rows = []
    for label, path, quality in routines:
        figures = [run.number(*path, key) for key in ("cpu_s", "wall_s", "peak_rss_mb")]
        shown = [
            Entry(words("absent") if figure is None else fixed(figure, digits))
            for figure, digits in zip(figures, (1, 1, 0), strict=True)
        ]
        seen = cell(run.estimate(*quality, metric), words) if quality else None
        rows.append((Entry(words(label)), *shown, Entry(seen.main, seen.sub) if seen else Entry(ABSENT)))
    columns = (*titles(words, "routine", "cpu_s", "wall_s", "peak_rss"), capitalised(words.named("metric", metric)))
    return Table(columns, tuple(rows))


def ledger(evidence: Facts, words: Words) -> Table | None:
    """Return every phase with its label and money; None where no ledger was kept."""
    rows = []
    for row in evidence.items("ledger"):
        label = row.text("label") or ""
        note = row.text("note") or ""
        if not bool(row.at("ok")):
            note = words("comma").join(filter(None, (words("ledger.failed"), note)))
        price = row.number("money")
        rows.append(
            (
                Entry(row.text("phase") or "", note),
                Entry(words.named("label", label), kind=f"chip {label}"),
                *(
                    Entry(_plain(row.number(key), digits))
                    for key, digits in (("cpu_s", 1), ("wall_s", 1), ("peak_rss_mb", 0))
                ),
                Entry(ABSENT if price is None else amount(price, padded=True)),
            )
        )
    currencies = {row.text("currency") or "" for row in evidence.items("ledger")}
    columns = titles(words, "phase", "label", "cpu_s", "wall_s", "peak_rss")
    money_title = words("comma").join(filter(None, (words("column.money"), *sorted(currencies))))
    return Table((*columns, money_title), tuple(rows), labels=2) if rows else None


def ledger_totals(evidence: Facts, words: Words) -> list[tuple[str, str]]:
    """Return the money of each label by itself: measured, estimated and entered figures are never added together."""
    sums: dict[tuple[str, str | None], float] = {}
    for row in evidence.items("ledger"):
        price = row.number("money")
        if price is not None:
            key = (row.text("label") or "", row.text("currency"))
            sums[key] = sums.get(key, 0.0) + price
    return [(words.named("label", label), money(total, currency)) for (label, currency), total in sums.items()]


def fairness(evidence: Facts, words: Words) -> Table | None:
    """Return the lean model's decisions by protected group; None where the schema marks no protected column."""
    rows = [
        (
            Entry(row.text("column") or ""),
            Entry(row.text("group") or ""),
            Entry(counted(row.number("rows"))),
            Entry(_share(row.number("bad_rate"), 2)),
            Entry(_share(row.number("approval_rate"), 1)),
            Entry(_plain(row.number("adverse_impact_ratio"), 2)),
            Entry(_plain(row.number("auc", "value"), 4)),
        )
        for row in evidence.items("fairness")
    ]
    columns = titles(words, "attribute", "group", "rows", "bad_rate", "approval_rate", "impact_ratio")
    return Table((*columns, words.named("metric", "auc")), tuple(rows), labels=2) if rows else None


def _moved(step: Facts, path: tuple[str, ...], printer: Printer, words: Words) -> Entry:
    before, after = (step.number(side, *path) for side in ("before", "after"))
    if before is None or after is None:
        return Entry(words("absent"))
    share = relative(before, after)
    shown = printer([before, after])
    if share is None or share == 0:
        return Entry(words("reading.plain"), shown[1])
    change = signed_percent(share)
    kind = "better" if after < before else "worse" if after > before else ""
    return Entry(change, f"{shown[0]} \u2192 {shown[1]}", f"move {kind}")


def _milliseconds(values: Sequence[float | None]) -> list[str]:
    return measured(values, "ms")


def _counts(values: Sequence[float | None]) -> list[str]:
    return [counted(value) for value in values]


def _quality_move(before: Estimate | None, after: Estimate | None, words: Words) -> Entry:
    if before is None or after is None:
        return Entry(words("absent"))
    return Entry(signed(after.value - before.value), f"{fixed(before.value)} \u2192 {fixed(after.value)}")


def _measured(value: float | None, unit: str, words: Words) -> tuple[str]:
    return (words("absent") if value is None else measured([value], unit)[0],)


def _plain(value: float | None, digits: int) -> str:
    return ABSENT if value is None else fixed(value, digits)


def _share(value: float | None, digits: int) -> str:
    return ABSENT if value is None else percent(value, digits)
