"""Charts as static SVG: small, sharp in print, coloured by the page's style sheet, and legible without a script.

Everything is drawn in user units; a chart 440 units wide shows at about that many pixels beside a second one on a
desktop and shrinks to a phone's width with its text still readable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from leanrisk.report.numbers import fixed, percent, step_digits

WIDTH = 440.0
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)

_LETTER = 6.8

Tick = tuple[float, str]


def element(name: str, *children: Markup | str, **attributes: float | str) -> Markup:
    """Return one SVG element; texts and attributes are escaped, `class_` and `text_anchor` lose their underscores."""
    pairs = ((key.strip("_").replace("_", "-"), _plain(value)) for key, value in attributes.items())
    opening = Markup("").join(Markup(' {}="{}"').format(key, value) for key, value in pairs)
    return Markup("<{0}{1}>{2}</{0}>").format(name, opening, Markup("").join(children))


def text(x: float, y: float, content: str, *, anchor: str = "start", kind: str = "") -> Markup:
    """Return a text element; `anchor` is start, middle or end, `kind` a class of the style sheet."""
    return element("text", content, x=x, y=y, text_anchor=anchor, class_=kind or "label")


def drawing(parts: Sequence[Markup], *, height: float, title: str, width: float = WIDTH) -> Markup:
    """Return the whole SVG; `title` is what a screen reader says."""
    return element(
        "svg",
        element("title", title),
        *parts,
        viewBox=f"0 0 {_plain(width)} {_plain(height)}",
        role="img",
        class_="chart",
        xmlns="http://www.w3.org/2000/svg",
    )


@dataclass(frozen=True)
class Scale:
    """A linear map from data [lo, hi] to user units [start, end]."""

    lo: float
    hi: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return where a data value stands, in user units."""
        span = self.hi - self.lo
        return self.start + (self.end - self.start) * ((value - self.lo) / span if span else 0.5)

    def ticks(self, count: int = 5) -> list[float]:
        """Return about `count` round values inside the range."""
        span = self.hi - self.lo
        if span <= 0:
            return [self.lo]
        rough = span / max(1, count)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * step for step in _STEPS if power * step >= rough * 0.999)
        first = math.ceil(self.lo / step - 1e-9)
        last = math.floor(self.hi / step + 1e-9)
        return [place * step for place in range(first, last + 1)]

    def labelled(self, *, share: bool = False, count: int = 5) -> list[Tick]:
        """Return the ticks with labels that keep every digit of the step; `share` prints percentages."""
        ticks = self.ticks(count)
        step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(ticks[0]) or 1.0
        if share:
            return [(tick, percent(tick, step_digits(100 * step))) for tick in ticks]
        return [(tick, fixed(tick, step_digits(step))) for tick in ticks]

    def whole(self, count: int = 5) -> list[Tick]:
        """Return about `count` ticks at whole numbers, for what can only be counted."""
        return [
            (tick, fixed(tick, 0)) for tick in self.ticks(count) if abs(tick - round(tick)) < 1e-9 * (1 + abs(tick))
        ]


@dataclass(frozen=True)
class Panel:
    """A plotting area with its two scales and the drawing of what stands in it."""

    x: Scale
    y: Scale

    @classmethod
    def of(cls, x: tuple[float, float], y: tuple[float, float], *, height: float = 310.0, left: float = 50.0) -> Panel:
        """Return the usual panel: axis labels left and below, `x` and `y` the ranges of the data."""
        return cls(Scale(*x, left, WIDTH - 16), Scale(*y, height - 42, 10))

    def axes(
        self,
        *,
        x_title: str,
        y_title: str,
        x_ticks: Sequence[Tick] | None = None,
        y_ticks: Sequence[Tick] | None = None,
        share: bool = True,
    ) -> list[Markup]:
        """Return grid lines, tick labels and axis titles; `share` prints percentages where no ticks are given."""
        parts: list[Markup] = []
        for value, label in self.y.labelled(share=share) if y_ticks is None else y_ticks:
            parts.append(self._line(self.x.start, self.y(value), self.x.end, self.y(value), "grid"))
            parts.append(text(self.x.start - 6, self.y(value) + 4, label, anchor="end", kind="tick"))
        parts.extend(
            text(self.x(value), self.y.start + 16, label, anchor="middle", kind="tick")
            for value, label in (self.x.labelled(share=share) if x_ticks is None else x_ticks)
        )
        parts.append(self._line(self.x.start, self.y.start, self.x.end, self.y.start, "axis"))
        middle = (self.x.start + self.x.end) / 2
        parts.append(text(middle, self.y.start + 35, x_title, anchor="middle", kind="title"))
        across = (self.y.start + self.y.end) / 2
        parts.append(
            element(
                "text",
                y_title,
                x=0,
                y=0,
                text_anchor="middle",
                class_="title",
                transform=f"translate(13 {_plain(across)}) rotate(-90)",
            )
        )
        return parts

    def curve(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> Markup:
        """Return one line through the points, in the style of class `kind`."""
        return element("polyline", points=self._points(xs, ys), class_=f"line {kind}")

    def area(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> Markup:
        """Return the area between the line through the points and the bottom, in the style of class `kind`."""
        around = self._points([xs[0], *xs, xs[-1]], [self.y.lo, *ys, self.y.lo])
        return element("polygon", points=around, class_=kind)

    def segment(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
        """Return one straight line between two data points."""
        return self._line(self.x(x1), self.y(y1), self.x(x2), self.y(y2), kind)

    def _points(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        return " ".join(f"{_plain(self.x(x))},{_plain(self.y(y))}" for x, y in zip(xs, ys, strict=True))

    @staticmethod
    def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
        return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def bar(x1: float, x2: float, y: float, height: float, kind: str, hint: str = "") -> Markup:
    """Return a horizontal bar between two x positions, at least a hair wide; `hint` shows under the pointer."""
    left, right = min(x1, x2), max(x1, x2)
    inner = [element("title", hint)] if hint else []
    return element("rect", *inner, x=left, y=y, width=max(1.0, right - left), height=height, class_=kind)


def shortened(label: str, length: int) -> str:
    """Return `label` cut to `length` characters, a wide (CJK) character counting as two."""
    room, kept = float(length), ""
    for letter in label:
        room -= _cells(letter)
        if room < 0:
            return kept[:-1] + "\u2026"
        kept += letter
    return kept


def extent(label: str) -> float:
    """Return about how many user units a label takes, rather too many than too few."""
    return _LETTER * sum(map(_cells, label))


def _cells(letter: str) -> int:
    return 2 if ord(letter) >= 0x2E80 else 1


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
