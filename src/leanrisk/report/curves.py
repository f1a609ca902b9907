"""Charts of ranking, calibration and stability on the test part."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from leanrisk.report.facts import Facts
from leanrisk.report.figure import SIDES, Figure
from leanrisk.report.numbers import QUALITY_DIGITS, fixed, percent, step_digits
from leanrisk.report.svg import WIDTH, Panel, bar, drawing, element, shortened, text
from leanrisk.report.words import Words

HEIGHT = 310.0
PSI_SHIFT = (0.1, 0.25)
"""Where a shift counts as moderate and as large: the usual limits of credit scoring (Siddiqi 2006, chapter 9)."""
_LABEL_WIDTH = 30.0
_TOP_FEATURES = 12


def roc(run: Facts, evidence: Facts, words: Words) -> Figure:
    """Return both ROC curves over the diagonal of chance."""
    measured = {side: evidence.group("roc", side).columns("fpr", "tpr") for side in SIDES}
    drawn = {side: curve for side, curve in measured.items() if curve[0]}
    if not drawn:
        return Figure("roc", None)
    panel = Panel.of((0, 1), (0, 1), height=HEIGHT)
    parts = panel.axes(x_title=words("axis.good_share"), y_title=words("axis.bad_share"))
    parts.append(panel.segment(0, 0, 1, 1, "chance"))
    legend = []
    for side, (fpr, tpr) in drawn.items():
        parts.append(panel.curve(fpr, tpr, side))
        area = run.estimate(side, "quality", "auc")
        note = f" \u00b7 AUC {fixed(area.value, QUALITY_DIGITS)}" if area else ""
        legend.append((f"line {side}", words(f"side.{side}") + note))
    legend.append(("line chance", words("legend.chance")))
    return _figure("roc", parts, words, legend)


def ks(evidence: Facts, words: Words, side: str) -> Figure:
    """Return the cumulative shares of bads and goods of one model, with the KS distance marked."""
    name = f"ks_{side}"
    curve = evidence.group("ks", side)
    share, bad, good = curve.columns("share", "bad", "good")
    if not share:
        return Figure(name, None)
    panel = Panel.of((0, 1), (0, 1), height=HEIGHT)
    parts = panel.axes(x_title=words("axis.population"), y_title=words("axis.captured"))
    parts += [panel.curve(share, good, "goods"), panel.curve(share, bad, "bads")]
    legend = [("line bads", words("legend.bads")), ("line goods", words("legend.goods"))]
    at, value = curve.number("at"), curve.number("value")
    if at is not None and value is not None:
        place = min(range(len(share)), key=lambda row: abs(share[row] - at))
        parts.append(panel.segment(at, good[place], at, bad[place], "gap"))
        height = panel.y(0.7 * bad[place] + 0.3 * good[place])
        parts.append(text(panel.x(at) + 8, height + 4, f"KS {fixed(value, QUALITY_DIGITS)}", kind="label strong halo"))
        legend.append(("line gap", words("legend.ks_at", share=percent(at))))
    return _figure(name, parts, words, legend)


def gains(evidence: Facts, words: Words) -> Figure:
    """Return the bad rate of each decile, riskiest first, both models side by side."""
    rates = {side: [row.number("bad_rate") or 0.0 for row in evidence.items("gains", side)] for side in SIDES}
    rates = {side: values for side, values in rates.items() if values}
    if not rates:
        return Figure("gains", None)
    top, deciles = max(map(max, rates.values())) * 1.08 or 1.0, max(map(len, rates.values()))
    panel = Panel.of((0.5, deciles + 0.5), (0, top), height=HEIGHT)
    ticks = [(float(decile), str(decile)) for decile in range(1, deciles + 1)]
    parts = panel.axes(x_title=words("axis.decile"), y_title=words("axis.bad_rate"), x_ticks=ticks)
    breadth = (panel.x(1) - panel.x(0)) * 0.36
    for place, (side, values) in enumerate(rates.items()):
        for decile, rate in enumerate(values, start=1):
            left = panel.x(decile) + (place - 1) * breadth
            parts.append(_column(panel, left, breadth - 1, rate, side))
    return _figure("gains", parts, words, [(f"fill {side}", words(f"side.{side}")) for side in rates])


def calibration(evidence: Facts, words: Words) -> Figure:
    """Return the reliability curve: observed against predicted bad rate with 95 % limits."""
    points = {side: evidence.items("calibration", side) for side in SIDES}
    points = {side: rows for side, rows in points.items() if rows}
    if not points:
        return Figure("calibration", None)
    top = (
        max(
            value
            for rows in points.values()
            for row in rows
            for key in ("predicted", "hi", "observed")
            if (value := row.number(key)) is not None
        )
        * 1.05
        or 1.0
    )
    panel = Panel.of((0, top), (0, top), height=HEIGHT)
    parts = panel.axes(x_title=words("axis.predicted"), y_title=words("axis.observed"))
    parts.append(panel.segment(0, 0, top, top, "chance"))
    legend = []
    for side, rows in points.items():
        for row in rows:
            parts += _reliability_point(panel, row, side)
        error = evidence.number("calibration", "ece", side)
        note = f" \u00b7 ECE {fixed(error, QUALITY_DIGITS)}" if error is not None else ""
        legend.append(("dot lean" if side == "lean" else "square incumbent", words(f"side.{side}") + note))
    legend.append(("line chance", words("legend.perfect")))
    return _figure("calibration", parts, words, legend)


def scores(evidence: Facts, words: Words) -> Figure:
    """Return the share of rows in each score bin, train beside test; bins are drawn equally wide."""
    edges = evidence.numbers("scores", "edges")
    shares = dict(zip(("train", "test"), evidence.group("scores").columns("train", "test"), strict=True))
    if len(edges) < 2 or len(shares["test"]) != len(edges) - 1:
        return Figure("scores", None)
    bins = len(edges) - 1
    top = max(map(max, shares.values())) * 1.08 or 1.0
    panel = Panel.of((0, bins), (0, top), height=HEIGHT)
    every = max(1, round(bins / 5))
    # Rounding may move an edge by a twentieth of a bin, not more.
    fine = math.ceil(-math.log10(0.1 * (edges[1] - edges[0]))) if edges[1] > edges[0] else 2
    digits = max(2, min(fine, step_digits(edges[every] - edges[0])))
    ticks = [(float(place), fixed(edges[place], digits)) for place in range(0, bins + 1, every)]
    parts = panel.axes(x_title=words("axis.score"), y_title=words("axis.rows"), x_ticks=ticks)
    breadth = panel.x(1) - panel.x(0)
    for place, share in enumerate(shares["test"]):
        parts.append(_column(panel, panel.x(place) + breadth * 0.08, breadth * 0.84, share, "lean"))
    parts.append(_staircase(panel, shares["train"]))
    shift = evidence.number("psi", "score")
    note = "" if shift is None else f" \u00b7 PSI {fixed(shift, QUALITY_DIGITS)}"
    legend = [("line train", words("legend.train")), ("fill lean", words("legend.test") + note)]
    return _figure("scores", parts, words, legend)


def feature_shift(evidence: Facts, words: Words) -> Figure:
    """Return the features whose distribution moved most from train to test."""
    ranked = [
        (row.text("name") or "", value)
        for row in evidence.items("psi", "features")
        if (value := row.number("psi")) is not None
    ]
    ranked = sorted(ranked, key=lambda pair: -pair[1])[:_TOP_FEATURES]
    return shift_bars("feature_shift", ranked, words, axis="axis.psi")


def shift_bars(name: str, rows: Sequence[tuple[str, float]], words: Words, *, axis: str) -> Figure:
    """Return one bar per label and PSI, in this order, against the usual limits; `axis` is the key of its title."""
    if not rows:
        return Figure(name, None)
    row_height, left = 21.0, 158.0
    height = 16 + row_height * len(rows) + 24
    top = max(max(value for _, value in rows) * 1.18, PSI_SHIFT[0] * 1.1)
    panel = Panel.of((0, top), (0, 1), height=height + 18, left=left)
    parts: list[Markup] = []
    for limit in (limit for limit in PSI_SHIFT if limit < top):
        x = panel.x(limit)
        parts.append(element("line", x1=x, x2=x, y1=14, y2=height - 22, class_="limit"))
        # On a long scale the two limits stand too close for two labels.
        if limit == PSI_SHIFT[1] or panel.x(PSI_SHIFT[1]) - x > _LABEL_WIDTH:
            parts.append(text(x, 10, fixed(limit, 2), anchor="middle", kind="tick"))
    for place, (label, value) in enumerate(rows):
        y = 18 + place * row_height
        kind = "worse" if value >= PSI_SHIFT[1] else "moderate" if value >= PSI_SHIFT[0] else "lean"
        parts.append(text(left - 8, y + 13, shortened(label, 22), anchor="end"))
        parts.append(bar(panel.x(0), panel.x(value), y + 3, row_height - 8, f"fill {kind}", label))
        parts.append(text(panel.x(value) + 6, y + 13, fixed(value, 3), kind="tick halo"))
    parts.append(text((left + WIDTH) / 2, height - 4, words(axis), anchor="middle", kind="title"))
    return Figure(name, drawing(parts, height=height, title=words(f"figure.{name}.title")))


def _figure(name: str, parts: list[Markup], words: Words, legend: Sequence[tuple[str, str]]) -> Figure:
    return Figure(name, drawing(parts, height=HEIGHT, title=words(f"figure.{name}.title")), tuple(legend))


def _column(panel: Panel, left: float, breadth: float, share: float, kind: str) -> Markup:
    top = panel.y(share)
    return element(
        "rect",
        element("title", percent(share, 2)),
        x=left,
        y=top,
        width=breadth,
        height=panel.y.start - top,
        class_=f"fill {kind}",
    )


def _staircase(panel: Panel, shares: Sequence[float]) -> Markup:
    xs = [float(place) for place in range(len(shares) + 1) for _ in (0, 1)][1:-1]
    return panel.curve(xs, [share for share in shares for _ in (0, 1)], "train")


def _reliability_point(panel: Panel, row: Facts, side: str) -> list[Markup]:
    predicted, observed = row.number("predicted"), row.number("observed")
    if predicted is None or observed is None:
        return []
    parts = []
    lo, hi = row.number("lo"), row.number("hi")
    if lo is not None and hi is not None:
        parts.append(panel.segment(predicted, lo, predicted, hi, f"whisker {side}"))
    x, y = panel.x(predicted), panel.y(observed)
    if side == "lean":
        parts.append(element("circle", cx=x, cy=y, r=4, class_="fill lean"))
    else:
        parts.append(element("rect", x=x - 3.2, y=y - 3.2, width=6.4, height=6.4, class_="hollow incumbent"))
    return parts
