"""Ways to help a model that sees few bads, each against what it had to beat; and what labels made rows are worth."""

from __future__ import annotations

from markupsafe import Markup

from leanrisk.report.facts import Facts
from leanrisk.report.figure import Figure
from leanrisk.report.numbers import counted, fixed, percent, signed
from leanrisk.report.svg import WIDTH, Panel, Scale, drawing, element, shortened, text
from leanrisk.report.words import Words

_LEFT, _RIGHT = 164.0, WIDTH - 60.0
_ROW = 28.0
_TOP = 8.0
_LIMITS = 1.96
"""Standard errors to either side of a gain: 95 % limits."""
_CURVE = 310.0


def found(run: Facts) -> Facts | None:
    """Return what the run's step `synthesize` tried, None where there was no such step."""
    told = [step.group("details") for step in run.items("steps") if step.at("details", "arms") is not None]
    return told[-1] if told else None


def arms(run: Facts, words: Words) -> Figure:
    """Return each way's gain in recall over the one to beat, with 95 % limits; empty without the step."""
    told = found(run)
    tried = [] if told is None else [arm for arm in told.items("arms") if arm.number("gain") is not None]
    if told is None or len(tried) < 2:
        return Figure("made_arms", None)
    first, others = tried[0], tried[1:]
    reach = [(arm.number("gain") or 0.0, _LIMITS * (arm.number("gain_error") or 0.0)) for arm in others]
    low = min(0.0, *(gain - half for gain, half in reach))
    high = max(0.0, *(gain + half for gain, half in reach))
    room = 0.04 * (high - low) or 0.01
    scale = Scale(low - room, high + room, _LEFT + 6, _RIGHT)
    floor = _TOP + _ROW * len(tried)
    parts = [element("line", x1=scale(0), x2=scale(0), y1=_TOP, y2=floor, class_="axis")]
    parts += [
        text(scale(tick), floor + 15, said, anchor="middle", kind="tick") for tick, said in scale.labelled(count=4)
    ]
    parts.append(
        text((scale.start + scale.end) / 2, floor + 34, words("axis.recall_gain"), anchor="middle", kind="title")
    )
    chosen = told.text("chosen")
    for place, arm in enumerate([first, *others]):
        half = 0.0 if place == 0 else reach[place - 1][1]
        parts += _row(arm, half, scale, _TOP + place * _ROW, arm.text("arm") == chosen, words)
    legend = (
        ("dot lean", words("legend.taken")),
        ("ring muted", words("legend.not_taken")),
    )
    return Figure("made_arms", drawing(parts, height=floor + 42, title=words("figure.made_arms.title")), legend)


def _row(arm: Facts, half: float, scale: Scale, y: float, taken: bool, words: Words) -> list[Markup]:
    middle, gain = y + _ROW / 2, arm.number("gain") or 0.0
    kind = "lean" if taken else "muted"
    said = words("made.point", recall=fixed(arm.number("recall") or 0.0), gain=signed(gain), half=fixed(half))
    parts = [text(_LEFT - 8, middle + 4, shortened(label(arm, words), 24), anchor="end")]
    if half:
        ends = {"x1": scale(gain - half), "x2": scale(gain + half)}
        parts.append(element("line", **ends, y1=middle, y2=middle, class_=f"whisker {kind}"))
    shape = "fill" if taken else "hollow"
    parts.append(element("circle", element("title", said), cx=scale(gain), cy=middle, r=4.5, class_=f"{shape} {kind}"))
    parts.append(text(WIDTH - 2, middle + 4, percent(arm.number("recall") or 0.0), anchor="end", kind="tick"))
    return parts


def label(arm: Facts, words: Words) -> str:
    """Return what a way is called in the page's language, with its ratio and the weight of a real bad."""
    method, ratio, weight = arm.text("method"), arm.number("ratio"), arm.number("weight")
    if method is None:
        return arm.text("arm") or ""
    parts = [words.named("made.method", method)]
    if ratio:
        parts.append(percent(ratio, 0))
    if weight is None and not arm.number("members"):
        parts.append(words("made.balanced"))
    elif weight is not None and weight != 1:
        parts.append(f"\u00d7{weight:g}")
    return " ".join(parts)


def labels(run: Facts, words: Words) -> Figure:
    """Return recall over the number of labelled bads, without made rows and with them; empty where it is unknown."""
    told = found(run)
    points = [] if told is None else told.items("labels", "curve")
    rows = [(p.number("bads"), p.number("plain"), p.number("chosen")) for p in points]
    known = [(bads, plain, helped) for bads, plain, helped in rows if bads and plain is not None and helped is not None]
    if told is None or len(known) < 2:
        return Figure("made_labels", None)
    counts, plain, helped = (list(column) for column in zip(*known, strict=True))
    low, high = min(*plain, *helped), max(*plain, *helped)
    room = max(0.1 * (high - low), 0.005)
    panel = Panel.of((0.0, 1.04 * max(counts)), (max(0.0, low - room), high + room), height=_CURVE)
    parts = panel.axes(x_title=words("axis.labelled_bads"), y_title=words("axis.recall"), x_ticks=panel.x.whole())
    for values, kind in ((plain, "incumbent"), (helped, "lean")):
        parts.append(panel.curve(counts, values, kind))
        parts += [
            element(
                "circle",
                element("title", percent(value)),
                cx=panel.x(count),
                cy=panel.y(value),
                r=4,
                class_=f"fill {kind}",
            )
            for count, value in zip(counts, values, strict=True)
        ]
    legend = (("line lean", words("legend.made")), ("line incumbent", words("legend.unmade")))
    return Figure("made_labels", drawing(parts, height=_CURVE, title=words("figure.made_labels.title")), legend)


def worth(run: Facts, words: Words) -> str | None:
    """Return the sentence that tells how many labelled bads made rows stand for; None where the run does not know."""
    told = found(run)
    replaced = None if told is None else told.number("labels", "replaced")
    if told is None or replaced is None:
        return None
    return words("made.worth", replaced=counted(round(replaced)), bads=counted(told.number("labels", "bads") or 0))
