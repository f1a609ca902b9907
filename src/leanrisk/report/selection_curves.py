"""How ranking changes with what a set of features costs: their number, money and waiting time."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from leanrisk.report.facts import Facts
from leanrisk.report.figure import Figure
from leanrisk.report.funnel import selection
from leanrisk.report.numbers import counted, fixed
from leanrisk.report.svg import Panel, drawing, element
from leanrisk.report.words import Words

HEIGHT = 310.0
_ROOM = 0.08


@dataclass(frozen=True)
class _Cost:
    """What stands on the horizontal axis: the figure's name, the key of a point, and the axis title's key."""

    figure: str
    key: str
    axis: str


_FEATURES = _Cost("selection", "features", "axis.features")
_PRICES = (
    _Cost("selection_money", "money", "axis.money_decision"),
    _Cost("selection_wait", "latency_ms", "axis.wait_decision"),
)


def by_features(run: Facts, words: Words) -> Figure:
    """Return KS out of fold over the number of features, with the chosen set marked; empty without a selection."""
    return _curve(_points(run), _FEATURES, words)


def by_price(run: Facts, words: Words) -> tuple[Figure, ...]:
    """Return KS out of fold over the money and over the waiting time of a decision's look-ups.

    A chart is empty where the schema states no such price: every set then costs the same, nothing.
    """
    points = _points(run)
    return tuple(
        _curve(points if any(point.number(cost.key) for point in points) else [], cost, words) for cost in _PRICES
    )


def _points(run: Facts) -> list[Facts]:
    found = selection(run)
    return [] if found is None else [point for point in found.items("curve") if point.number("ks") is not None]


def _curve(points: list[Facts], cost: _Cost, words: Words) -> Figure:
    if len(points) < 2:
        return Figure(cost.figure, None)
    places = [point.number(cost.key) or 0.0 for point in points]
    heights = [point.number("ks") or 0.0 for point in points]
    low, high = min(heights), max(heights)
    room = max((high - low) * _ROOM, 0.005)
    panel = Panel.of((0.0, max(places) * 1.02), (low - room, high + room), height=HEIGHT)
    parts = panel.axes(
        x_title=words(cost.axis),
        y_title=words("axis.ks_folds"),
        x_ticks=panel.x.whole() if cost is _FEATURES else panel.x.labelled(),
        y_ticks=panel.y.labelled(),
    )
    # In order of elimination: sets of equal price stand above one another, and the line goes from one to the next.
    line = sorted(
        (-(point.number("features") or 0.0), place, height)
        for point, place, height in zip(points, places, heights, strict=True)
        if not point.text("dropped")
    )
    parts.append(panel.curve([place for _, place, _ in line], [height for _, _, height in line], "incumbent"))
    # The chosen set is drawn last, so that no other hides it.
    drawn = sorted(zip(points, places, heights, strict=True), key=lambda entry: bool(entry[0].at("chosen")))
    parts += [_mark(panel, point, place, height, words) for point, place, height in drawn]
    legend = (
        ("dot lean", words("legend.proven")),
        ("ring muted", words("legend.unproven")),
        ("square lean", words("legend.chosen")),
    )
    return Figure(cost.figure, drawing(parts, height=HEIGHT, title=words(f"figure.{cost.figure}.title")), legend)


def _mark(panel: Panel, point: Facts, place: float, height: float, words: Words) -> Markup:
    x, y = panel.x(place), panel.y(height)
    said = words(
        "funnel.point",
        features=counted(point.number("features")),
        ks=fixed(height),
        money=fixed(point.number("money") or 0.0, 2),
        wait=fixed(point.number("latency_ms") or 0.0, 0),
    )
    hint = element("title", said)
    if point.at("chosen"):
        return element("rect", hint, x=x - 5, y=y - 5, width=10, height=10, class_="fill lean")
    kind = "fill lean" if point.at("proven") else "hollow muted"
    return element("circle", hint, cx=x, cy=y, r=3.5, class_=kind)
