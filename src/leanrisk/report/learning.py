"""What learned in the last tuning of the lean model: its weights, its frontier over the steps, and the drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from leanrisk.core.errors import ConfigError
from leanrisk.report.comparison import stays
from leanrisk.report.curves import HEIGHT, shift_bars
from leanrisk.report.facts import Facts
from leanrisk.report.figure import Figure
from leanrisk.report.numbers import counted, digits_for, percent, sizes
from leanrisk.report.svg import Panel, drawing, element, extent, shortened, text
from leanrisk.report.words import Words, capitalised

MARKS = {"start": "dot lean", "drift": "square worse", "still": "ring lean"}
"""Shape and class of the mark of each reason for a move; they differ in shape, as a page is often printed in grey."""
_LABEL_LENGTH = 28
_LINE = 17.0
_APART = 4.0
"""Least distance between two labels on one line: what reads as two words, and more than rounding can close."""


@dataclass(frozen=True)
class Move:
    """From `step` on, this many `blocks` stand still, and `why`."""

    step: int
    blocks: int
    why: str


def note(run: Facts, words: Words) -> str | None:
    """Return the sentence that stands in place of the charts, or None where there is a frontier to draw."""
    lean = run.group("lean")
    if lean.at("tuning") is None:
        if stays(run):
            return words("learning.incumbent")
        # A result.json of before there was tuning has no such key: nothing is said of what it does not tell.
        return words("learning.untuned" if "tuning" in lean.names() else "absent_table")
    if lean.at("tuning", "frontier") is not None and not lean.items("tuning", "frontier"):
        return words("learning.unfrozen")
    return words("learning.no_blocks") if lean.number("tuning", "depth") == 0 else None


def facts(run: Facts, words: Words) -> list[tuple[str, str]]:
    """Return what the last tuning taught, as label and figure; empty where the model was not tuned."""
    tuning = run.group("lean", "tuning")
    if not tuning:
        return []
    learned, whole = run.number("lean", "trainable_params"), run.number("lean", "params")
    rows = [("weights", None if learned is None or not whole else _share(learned, whole, words))]
    if (adapter := tuning.number("adapter_bytes")) is not None:
        rows.append(("adapter", sizes([adapter])[0]))
    rows += [(key, None if (value := tuning.number(key)) is None else counted(value)) for key in ("rows", "steps")]
    depth, _, moves = _course(tuning)
    if depth and moves:
        rows.append(("frozen", words("learning.of", part=counted(moves[-1].blocks), whole=counted(depth))))
    if moves:
        cached = tuning.number("cached_bytes")
        kept = None if cached is None else sizes([cached])[0] if cached else words("learning.none_kept")
        rows.append(("cached", kept))
    return [(words(f"learning.{key}"), shown or words("absent")) for key, shown in rows]


def frontier(run: Facts, words: Words) -> Figure:
    """Return the number of frozen blocks over the training steps, each move marked with its reason.

    Raises `ConfigError` for a frontier that leaves the network, or goes back in time.
    """
    depth, steps, moves = _course(run.group("lean", "tuning"))
    if not depth or not moves:
        return Figure("frontier", None)
    end = max(steps or 0, moves[-1].step, 1)
    # A little room left of the first step keeps its mark clear of the axis; the strip under 0 is the field table.
    panel = Panel.of((-0.02 * end, end), (-0.1 * depth, depth), height=HEIGHT)
    y_ticks = panel.y.whole(depth + 2 if depth <= 8 else 7)
    parts = panel.axes(
        x_title=words("axis.steps"), y_title=words("axis.frozen"), x_ticks=panel.x.whole(), y_ticks=y_ticks
    )
    xs, ys = [float(moves[0].step)], [float(moves[0].blocks)]
    for before, move in pairwise(moves):
        xs += [move.step, move.step]
        ys += [before.blocks, move.blocks]
    xs.append(end)
    ys.append(moves[-1].blocks)
    parts.append(panel.area(xs, ys, "frozen"))
    parts.append(panel.curve(xs, ys, "lean"))
    parts += [_mark(panel, move, words) for move in moves]
    parts += _labels(panel, moves, words)
    reasons = dict.fromkeys(move.why for move in moves)
    legend = [(_mark_of(why), shortened(capitalised(words.named("move", why)), _LABEL_LENGTH)) for why in reasons]
    legend.append(("frozen", words("legend.frozen")))
    return Figure("frontier", drawing(parts, height=HEIGHT, title=words("figure.frontier.title")), tuple(legend))


def drift(run: Facts, words: Words) -> Figure:
    """Return the PSI of the states that enter the blocks and of what each block makes of them, deepest at the top."""
    tuning = run.group("lean", "tuning")
    found, depth = tuning.numbers("drift"), _whole(tuning, "depth")
    if depth is not None and found and len(found) != depth + 1:
        raise ConfigError(
            f"{tuning.where}.drift holds one figure for what enters the blocks and one for each of the {depth}: it "
            f"holds {len(found)}. Run it again or mend the file."
        )
    labels = [words("depth.after", block=block) if block else words("depth.entering") for block in range(len(found))]
    return shift_bars("drift", list(zip(labels, found, strict=True))[::-1], words, axis="axis.drift")


def _course(tuning: Facts) -> tuple[int | None, int | None, list[Move]]:
    """Return depth, steps taken and the frontier's moves in order; a move that lacks step or blocks is passed over."""
    depth, steps = _whole(tuning, "depth"), _whole(tuning, "steps")
    moves: list[Move] = []
    for row in tuning.items("frontier"):
        step = _whole(row, "step", least=moves[-1].step if moves else 0, most=steps)
        blocks = _whole(row, "blocks", most=depth)
        if step is not None and blocks is not None:
            moves.append(Move(step, blocks, row.text("why") or ""))
    return depth, steps, moves


def _whole(row: Facts, key: str, *, least: int = 0, most: int | None = None) -> int | None:
    value = row.number(key)
    if value is None:
        return None
    if value != int(value) or value < least or (most is not None and value > most):
        limits = f"{least} or more" if most is None else f"in {least}..{most}"
        raise ConfigError(
            f"{row.where}.{key} must be a whole number, {limits}: it is {value:g}. Run it again or mend the file."
        )
    return int(value)


def _share(part: float, whole: float, words: Words) -> str:
    share = percent(part / whole, digits_for([100 * part / whole]))
    return words("learning.share", part=counted(part), whole=counted(whole), share=share)


def _mark_of(why: str) -> str:
    return MARKS.get(why, "dot muted")


def _mark(panel: Panel, move: Move, words: Words) -> Markup:
    shape, _, kind = _mark_of(move.why).partition(" ")
    x, y = panel.x(move.step), panel.y(move.blocks)
    said = words.named("move", move.why)
    hint = element("title", words("learning.move", step=counted(move.step), blocks=counted(move.blocks), why=said))
    if shape == "square":
        return element("rect", hint, x=x - 4.5, y=y - 4.5, width=9, height=9, class_=f"fill {kind}")
    return element("circle", hint, cx=x, cy=y, r=4.5, class_=f"{'hollow' if shape == 'ring' else 'fill'} {kind}")


def _labels(panel: Panel, moves: Sequence[Move], words: Words) -> list[Markup]:
    """Return the reason beside each mark; where moves crowd, some go without, and shape and legend tell them apart."""
    parts: list[Markup] = []
    taken: list[tuple[float, float, float]] = []
    for place, move in enumerate(moves):
        said = shortened(words.named("move", move.why), _LABEL_LENGTH)
        if not said.strip():
            continue
        for x, y, anchor, kind in _spots(panel, moves, place):
            left = x - extent(said) if anchor == "end" else x
            right = left + extent(said)
            clear = (
                right + _APART < start or left > end + _APART or abs(y - height) >= _LINE
                for start, end, height in taken
            )
            if all(clear) and left > panel.x.start and right < panel.x.end:
                taken.append((left, right, y))
                parts.append(text(x, y, said, anchor=anchor, kind=f"label {kind}"))
                break
    return parts


def _spots(panel: Panel, moves: Sequence[Move], place: int) -> list[tuple[float, float, str, str]]:
    """Return where the label of a move may stand, best first: x, baseline, anchor and class, clear of the line."""
    move = moves[place]
    x, y = panel.x(move.step), panel.y(move.blocks)
    if place + 1 < len(moves) and moves[place + 1].step == move.step:
        return [(x + 10, y + 4, "start", "halo")]
    return [(x + 8, y + 17, "start", "inlay"), (x - 9, y + 4, "end", "halo")]
