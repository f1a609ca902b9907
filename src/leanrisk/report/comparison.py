"""The before/after table: quality with paired intervals, training against three references, latency, size, money."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from leanrisk.report.facts import Estimate, Facts
from leanrisk.report.numbers import counted, digits_for, fixed, measured, money, relative, signed, signed_percent, sizes
from leanrisk.report.quality import Reading, metrics, reading
from leanrisk.report.spending import REFERENCES, BreakEven
from leanrisk.report.words import Words, capitalised

SERVED: Mapping[str, str] = {
    "usual": "latency_ms",
    "bare": "bare_latency_ms",
    "compiled": "compiled_latency_ms",
}
"""The three ways the incumbent is served, and where result.json keeps each latency."""

Printer = Callable[[Sequence[float | None]], list[str]]


@dataclass(frozen=True)
class Cell:
    """One figure with a smaller line under it (an interval, a remark)."""

    main: str
    sub: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table; `kind` is better, worse, no_difference, different, absent, same (one model) or plain."""

    label: str
    note: str
    before: Cell
    after: Cell
    change: Cell
    kind: str = "plain"


@dataclass(frozen=True)
class Group:
    """Rows of one theme under a heading, with a remark on how they were measured."""

    name: str
    title: str
    note: str
    rows: tuple[Row, ...]


def stays(run: Facts) -> bool:
    """Return whether both sides are one model: no lean one was accepted, so there is nothing to compare."""
    kind = run.text("lean", "kind")
    # A scorecard may be the incumbent as well as the lean model: only what was taught has a preset.
    return kind is not None and kind == run.text("incumbent", "kind") and run.text("lean", "preset") is None


def comparison(run: Facts, words: Words) -> list[Group]:
    """Return every group of the before/after table in reading order; what was not measured says so."""
    rows = {
        "quality": [_quality_row(run, words, metric) for metric in metrics(run)],
        "training": _training_rows(run, words),
        "latency": _latency_rows(run, words),
        "size": _size_rows(run, words),
        "money": [_money_row(run, words)],
    }
    return [
        Group(name, words(f"compare.{name}.title"), words(f"compare.{name}.note"), tuple(lines))
        for name, lines in rows.items()
    ]


def interval(estimate: Estimate, words: Words, printer: Callable[[float], str] = fixed) -> str:
    """Return "lo to hi", or the words for an interval that was not measured."""
    if estimate.lo is None or estimate.hi is None:
        return words("no_interval")
    return words("interval", lo=printer(estimate.lo), hi=printer(estimate.hi))


def cell(estimate: Estimate | None, words: Words, printer: Callable[[float], str] = fixed) -> Cell:
    """Return an estimate with its interval under it."""
    if estimate is None:
        return Cell(words("absent"))
    return Cell(printer(estimate.value), interval(estimate, words, printer))


def _quality_row(run: Facts, words: Words, metric: str) -> Row:
    difference = run.estimate("differences", metric)
    verdict = reading(metric, difference)
    label = capitalised(words.named("metric", metric))
    absent = Cell("", words("compare.no_paired"))
    change = absent if verdict is Reading.ABSENT else cell(difference, words, signed)
    return Row(
        label=label,
        note=words.named("metric_note", metric) if f"metric_note.{metric}" in words else "",
        before=cell(run.estimate("incumbent", "quality", metric), words),
        after=cell(run.estimate("lean", "quality", metric), words),
        change=Cell("") if stays(run) else change,
        kind="same" if stays(run) else verdict.value,
    )


def _training_rows(run: Facts, words: Words) -> list[Row]:
    costs = BreakEven.of(run)
    printer = _in_unit("s", [*costs.references.values(), costs.refresh, costs.shrink], most=1)
    rows = [
        _cost_row(
            words(f"compare.against.{name}"),
            _reference_note(run, words, name),
            costs.references.get(name),
            costs.refresh,
            words,
            printer,
        )
        for name in REFERENCES
    ]
    once = Cell(words("absent")) if costs.shrink is None else Cell(printer([costs.shrink])[0])
    paid = words("gap").join(pay_back(costs, name, words) for name in REFERENCES)
    rows.append(Row(words("compare.shrink"), paid, Cell(words("once_only")), once, Cell("")))
    return rows


def pay_back(costs: BreakEven, reference: str, words: Words) -> str:
    """Return after how many refreshes shrinking has paid for itself against one reference, or that it never does."""
    name = words(f"reference_short.{reference}")
    each = costs.references.get(reference)
    if each is None or costs.refresh is None or costs.shrink is None:
        return words("pay_back.absent", reference=name)
    rounds = costs.after(reference)
    if rounds is None:
        return words("pay_back.never", reference=name)
    return words("pay_back.after", reference=name, rounds=fixed(rounds, 1))


def _reference_note(run: Facts, words: Words, name: str) -> str:
    note = words(f"reference_note.{name}")
    if name != "slim":
        return note
    seen = [
        f"{words.named('metric', metric)} {fixed(figure.value)} ({interval(figure, words)})"
        for metric in metrics(run)[:2]
        if (figure := run.estimate("reference", "slim", "quality", metric))
    ]
    return words("gap").join([note, words("compare.slim_quality", quality=words("comma").join(seen))]) if seen else note


def _latency_rows(run: Facts, words: Words) -> list[Row]:
    points = ("p50", "p99")
    lean = {point: run.number("lean", "latency_ms", point) for point in points}
    seen = {(way, point): run.number("incumbent", key, point) for way, key in SERVED.items() for point in points}
    printer = _in_unit("ms", [*lean.values(), *seen.values()])
    return [
        _cost_row(
            words(f"served.{way}", point=point),
            words(f"served_note.{way}") if point == "p50" else "",
            before,
            lean[point],
            words,
            printer,
        )
        for (way, point), before in seen.items()
        # One model's routes against one another say nothing about what was saved.
        if way == "usual" or not stays(run)
    ]


def _size_rows(run: Facts, words: Words) -> list[Row]:
    lean = run.group("lean")
    weights = [lean.number("params"), lean.number("trainable_params")]
    note = "" if weights[0] is None else words("compare.weights", all=counted(weights[0]), trained=counted(weights[1]))
    rows = [
        _cost_row(
            words("compare.features"),
            "",
            run.number("incumbent", "features"),
            lean.number("features"),
            words,
            lambda values: [counted(value) for value in values],
        ),
        _cost_row(words("compare.bytes"), note, run.number("incumbent", "bytes"), lean.number("bytes"), words, sizes),
    ]
    before, after = run.number("incumbent", "train", "peak_rss_mb"), run.number("lean", "refresh", "peak_rss_mb")
    printer = _in_unit("MiB", (before, after), most=0)
    rows.append(_cost_row(words("compare.memory"), words("compare.memory_note"), before, after, words, printer))
    return rows


def _money_row(run: Facts, words: Words) -> Row:
    """Read `savings.money`: {"incumbent", "lean", "currency"} per training round, or one number saved per round."""
    saved = run.at("savings", "money")
    label, note = words("compare.money_round"), words("compare.money_note")
    if isinstance(saved, int | float):
        return Row(
            label,
            note,
            Cell(words("absent")),
            Cell(words("absent")),
            Cell(words("compare.money_saved", amount=money(float(saved), run.text("savings", "currency")))),
            "better" if saved > 0 else "worse" if saved < 0 else "plain",
        )
    currency = run.text("savings", "money", "currency")
    return _cost_row(
        label,
        note,
        run.number("savings", "money", "incumbent"),
        run.number("savings", "money", "lean"),
        words,
        lambda values: ["" if value is None else money(value, currency) for value in values],
    )


def _cost_row(label: str, note: str, before: float | None, after: float | None, words: Words, printer: Printer) -> Row:
    shown = printer([before, after])
    old, new = (
        Cell(words("absent") if value is None else text) for value, text in zip((before, after), shown, strict=True)
    )
    share = None if before is None or after is None else relative(before, after)
    if share is None:
        return Row(label, note, old, new, Cell(words("absent")), "absent")
    kind = "better" if share < 0 else "worse" if share > 0 else "plain"
    return Row(label, note, old, new, Cell(signed_percent(share)), kind)


def _in_unit(unit: str, group: Sequence[float | None], *, most: int = 4) -> Printer:
    """Return a printer that gives every figure of a group the same decimals, so that the same value reads the same."""
    digits = digits_for(group, most)
    return lambda values: measured(values, unit, digits=digits)
