"""Charts of gates, steps and money: what was kept, what it saved, and when it has paid for itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from leanrisk.report.facts import Estimate, Facts
from leanrisk.report.figure import Figure
from leanrisk.report.numbers import MINUS, counted, digits_for, fixed, measured, money, sizes
from leanrisk.report.quality import lead_metric
from leanrisk.report.spending import BreakEven
from leanrisk.report.svg import WIDTH, Panel, Scale, bar, drawing, element, shortened, text
from leanrisk.report.words import Words

_LEFT, _RIGHT = 128.0, WIDTH - 96.0
_ROW = 30.0
MEASURES: dict[str, tuple[str, ...]] = {
    "latency": ("latency_ms", "p50"),
    "features": ("features",),
    "bytes": ("bytes",),
}


def gates(run: Facts, words: Words) -> Figure:
    """Return each gate's paired difference with its bounds, against its margin and zero."""
    rows = [row for row in run.items("gates") if row.number("value") is not None]
    if not rows:
        return Figure("gates", None)
    ends = [value for row in rows for key in ("value", "lo", "hi", "margin") if (value := row.number(key)) is not None]
    room = (max(0.0, *ends) - min(0.0, *ends)) * 0.06 or 0.01
    height = 20 + _ROW * len(rows) + 40
    scale = Scale(min(0.0, *ends) - room, max(0.0, *ends) + room, _LEFT + 6, WIDTH - 12)
    floor = 20 + _ROW * len(rows)
    parts = [element("line", x1=scale(0), x2=scale(0), y1=14, y2=floor, class_="axis")]
    parts += [
        text(scale(tick), floor + 15, label, anchor="middle", kind="tick") for tick, label in scale.labelled(count=4)
    ]
    parts.append(
        text((scale.start + scale.end) / 2, floor + 34, words("axis.difference"), anchor="middle", kind="title")
    )
    for place, row in enumerate(rows):
        parts += _gate_row(row, scale, 20 + place * _ROW, words)
    legend = [(f"{_SHAPES[kind]} {kind}", words(f"verdict.{verdict}")) for verdict, kind in GATE_KINDS.items()]
    legend.append(("tick margin", words("legend.margin")))
    return Figure("gates", drawing(parts, height=height, title=words("figure.gates.title")), tuple(legend))


GATE_KINDS = {"passed": "better", "not_proven": "muted", "failed": "worse"}
"""Class of the style sheet for each verdict of a gate."""
_SHAPES = {"better": "dot", "muted": "ring", "worse": "square"}
# Verdicts differ in shape as well as colour: a page is often printed in grey.


def gate_kind(row: Facts) -> str:
    """Return the class of a gate's verdict."""
    return GATE_KINDS.get((row.text("verdict") or "").replace(" ", "_").replace("-", "_"), "muted")


def _gate_row(row: Facts, scale: Scale, y: float, words: Words) -> list[Markup]:
    middle, kind = y + _ROW / 2, gate_kind(row)
    value, lo, hi, margin = (row.number(key) for key in ("value", "lo", "hi", "margin"))
    parts = [text(_LEFT - 4, middle + 4, shortened(words.named("metric", row.text("name") or ""), 19), anchor="end")]
    if margin is not None:
        parts.append(element("line", x1=scale(margin), x2=scale(margin), y1=y + 3, y2=y + _ROW - 3, class_="margin"))
    if lo is not None and hi is not None:
        parts.append(element("line", x1=scale(lo), x2=scale(hi), y1=middle, y2=middle, class_=f"whisker {kind}"))
    if value is not None:
        parts.append(_mark(scale(value), middle, kind))
    return parts


def _mark(x: float, y: float, kind: str) -> Markup:
    if _SHAPES[kind] == "square":
        return element("rect", x=x - 4.5, y=y - 4.5, width=9, height=9, class_=f"fill {kind}")
    return element("circle", cx=x, cy=y, r=4.5, class_=f"{'hollow' if _SHAPES[kind] == 'ring' else 'fill'} {kind}")


@dataclass(frozen=True)
class _State:
    label: str
    before: float | None
    after: float | None
    kind: str


def waterfall(run: Facts, words: Words, measure: str) -> Figure:
    """Return how one cost ("latency", "features", "bytes") moved from the incumbent over every step to the result."""
    name, path = f"waterfall_{measure}", MEASURES[measure]
    steps = run.items("steps")
    if not any(step.number("after", *path) is not None for step in steps):
        return Figure(name, None)
    states = [_State(words("waterfall.start"), None, steps[0].number("before", *path), "incumbent")]
    current = states[0].after
    for step in steps:
        after, accepted = step.number("after", *path), bool(step.at("accepted"))
        kind = "dropped" if not accepted else _direction(current, after)
        states.append(_State(words.named("technique", step.text("technique") or ""), current, after, kind))
        current = after if accepted and after is not None else current
        if step.text("technique") == "final":
            # It is among the steps only where the lean model as a whole was refused: the incumbent stays.
            current = states[0].after
    states.append(_State(words("waterfall.end"), None, current, "lean"))
    values = [value for state in states for value in (state.before, state.after) if value is not None]
    scale = Scale(0.0, max(values) or 1.0, _LEFT, _RIGHT)
    formatter = _formatter(measure, values)
    parts = [element("line", x1=_LEFT, x2=_LEFT, y1=6, y2=6 + _ROW * len(states), class_="axis")]
    for place, state in enumerate(states):
        parts += _waterfall_row(state, scale, 6 + place * _ROW, formatter, words)
    return Figure(name, drawing(parts, height=14 + _ROW * len(states), title=words(f"figure.{name}.title")))


def waterfall_quality(run: Facts, words: Words) -> Figure:
    """Return the lead metric with its interval at the start and after every step."""
    steps = run.items("steps")
    metric = lead_metric(run)
    states: list[tuple[str, Estimate | None, str]] = []
    for place, step in enumerate(steps):
        if place == 0:
            states.append((words("waterfall.start"), step.estimate("before", "quality", metric), "incumbent"))
        kind = "lean" if step.at("accepted") else "dropped"
        states.append(
            (words.named("technique", step.text("technique") or ""), step.estimate("after", "quality", metric), kind)
        )
    ends = [end for _, seen, _ in states if seen for end in (seen.value, seen.lo, seen.hi) if end is not None]
    if not ends:
        return Figure("waterfall_quality", None)
    room = (max(ends) - min(ends)) * 0.08 or 0.01
    scale = Scale(min(ends) - room, max(ends) + room, _LEFT + 4, _RIGHT)
    floor = 6 + _ROW * len(states)
    parts: list[Markup] = []
    for tick, label in scale.labelled(count=5):
        parts.append(element("line", x1=scale(tick), x2=scale(tick), y1=6, y2=floor, class_="grid"))
        parts.append(text(scale(tick), floor + 15, label, anchor="middle", kind="tick"))
    for place, (label, seen, kind) in enumerate(states):
        parts += _quality_row(label, seen, kind, scale, 6 + place * _ROW, words)
    parts.append(text((_LEFT + _RIGHT) / 2, floor + 34, words.named("metric", metric), anchor="middle", kind="title"))
    return Figure("waterfall_quality", drawing(parts, height=floor + 40, title=words("figure.waterfall_quality.title")))


def spending(evidence: Facts, words: Words) -> Figure:
    """Return the money of each measured phase; estimated and entered sums stay in the table beside it."""
    rows = [
        (row.text("phase") or "", value, bool(row.at("ok")), row.text("currency"))
        for row in evidence.items("ledger")
        if row.text("label") == "measured" and (value := row.number("money")) is not None
    ]
    if not rows:
        return Figure("money", None)
    left = 196.0
    scale = Scale(0.0, max(value for _, value, _, _ in rows) or 1.0, left, _RIGHT)
    parts = [element("line", x1=left, x2=left, y1=6, y2=6 + 24 * len(rows), class_="axis")]
    for place, (phase, value, ok, currency) in enumerate(rows):
        y = 6 + place * 24
        parts.append(text(left - 8, y + 16, shortened(phase, 29), anchor="end"))
        parts.append(bar(scale(0), scale(value), y + 5, 14, "fill lean" if ok else "hollow dropped", phase))
        parts.append(text(WIDTH - 2, y + 16, money(value, currency), anchor="end", kind="tick"))
    title = words("figure.money.title")
    legend = (("fill lean", words("legend.kept")), ("hollow dropped", words("legend.failed_phase")))
    return Figure("money", drawing(parts, height=12 + 24 * len(rows), title=title), legend)


def break_even(costs: BreakEven, words: Words) -> Figure:
    """Return cumulative CPU-seconds over training rounds: each reference against shrink once, then refresh."""
    if costs.shrink is None or costs.refresh is None or not costs.references:
        return Figure("break_even", None)
    rounds = costs.horizon
    top = max(costs.shrink + rounds * costs.refresh, *(rounds * each for each in costs.references.values())) * 1.05
    panel = Panel.of((0, rounds), (0, top), height=310, left=56)
    ticks = [(float(place), str(place)) for place in range(0, rounds + 1, max(1, round(rounds / 8)))]
    parts = panel.axes(x_title=words("axis.rounds"), y_title=words("axis.cpu_s"), x_ticks=ticks, share=False)
    legend = []
    for reference, slope in costs.references.items():
        parts.append(panel.curve([0, rounds], [0, rounds * slope], reference))
        legend.append((f"line {reference}", words(f"routine.{reference}")))
    parts.append(panel.curve([0, rounds], [costs.shrink, costs.shrink + rounds * costs.refresh], "lean"))
    legend.append(("line lean", words("legend.lean_rounds")))
    crossing = costs.after("full")
    if crossing is not None and crossing <= rounds:
        x, y = panel.x(crossing), panel.y(crossing * costs.references["full"])
        parts.append(element("circle", cx=x, cy=y, r=5, class_="hollow lean"))
        parts.append(text(x + 10, y - 12, words("legend.crossing", rounds=fixed(crossing, 1)), kind="label halo"))
    return Figure("break_even", drawing(parts, height=310, title=words("figure.break_even.title")), tuple(legend))


def _direction(before: float | None, after: float | None) -> str:
    if before is None or after is None or before == after:
        return "muted"
    return "saved" if after < before else "added"


def _formatter(measure: str, values: list[float]) -> Callable[[float], str]:
    if measure == "features":
        return counted
    if measure == "bytes":
        return lambda value: sizes([value, max(values)])[0]
    digits = digits_for(values)
    return lambda value: measured([value], "ms", digits=digits)[0]


def _waterfall_row(
    state: _State, scale: Scale, y: float, formatter: Callable[[float], str], words: Words
) -> list[Markup]:
    kind = f"hollow {state.kind}" if state.kind == "dropped" else f"fill {state.kind}"
    total = state.before is None
    parts = [
        text(_LEFT - 8, y + 19, shortened(state.label, 19), anchor="end", kind="label strong" if total else "label")
    ]
    if state.after is None:
        return [*parts, text(_LEFT + 6, y + 19, words("absent"), kind="tick")]
    start = 0.0 if state.before is None else state.before
    parts.append(bar(scale(start), scale(state.after), y + 6, _ROW - 12, kind, state.label))
    if not total:
        # A thread from the bar above shows that this one starts where that one ended.
        parts.append(element("line", x1=scale(start), x2=scale(start), y1=y - 6, y2=y + 6, class_="thread"))
    change = state.after - start
    sign = "" if total else "+" if change > 0 else MINUS if change < 0 else ""
    figure = sign + formatter(abs(change)) if not total else formatter(state.after)
    parts.append(text(WIDTH - 2, y + 19, figure, anchor="end", kind="label strong" if total else "label"))
    return parts


def _quality_row(label: str, seen: Estimate | None, kind: str, scale: Scale, y: float, words: Words) -> list[Markup]:
    middle = y + _ROW / 2
    parts = [text(_LEFT - 8, middle + 4, shortened(label, 19), anchor="end")]
    if seen is None:
        return [*parts, text(_LEFT + 6, middle + 4, words("absent"), kind="tick")]
    if seen.lo is not None and seen.hi is not None:
        parts.append(
            element("line", x1=scale(seen.lo), x2=scale(seen.hi), y1=middle, y2=middle, class_=f"whisker {kind}")
        )
    shape = f"hollow {kind}" if kind == "dropped" else f"fill {kind}"
    parts.append(element("circle", cx=scale(seen.value), cy=middle, r=4.5, class_=shape))
    parts.append(text(WIDTH - 2, middle + 4, fixed(seen.value), anchor="end"))
    return parts
