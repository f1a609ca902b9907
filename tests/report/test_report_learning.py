"""The frontier over the steps and the drift by depth: drawn as they were, left out with a sentence where not."""

import copy
import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import ConfigError
from leanrisk.report import learning
from leanrisk.report.facts import Facts
from leanrisk.report.page import render
from leanrisk.report.svg import extent
from leanrisk.report.words import Words, languages
from tests.report import sample_run

EN = Words.of("en")


def tuned(**changes):
    """A run whose tuning differs from the sample's by these keys."""
    document = copy.deepcopy(sample_run.result())
    document["lean"]["tuning"] |= changes
    return document


def facts_of(document):
    return Facts(document, where="result.json")


def points_of(figure):
    """The points of the frontier's line, in user units."""
    line = re.search(r'<polyline points="([^"]+)"', figure.svg)
    assert line is not None
    return [tuple(map(float, point.split(","))) for point in line[1].split()]


def labels_of(figure):
    """Every reason that stands beside a mark: left and right end, baseline."""
    found = re.findall(r'<text x="([\d.-]+)" y="([\d.-]+)" text-anchor="(\w+)" class="label \w+">([^<]*)<', figure.svg)
    boxes = []
    for x, y, anchor, said in found:
        left = float(x) - (extent(said) if anchor == "end" else 0)
        boxes.append((left, left + extent(said), float(y), said))
    return boxes


@pytest.mark.parametrize("language", languages())
def test_every_move_is_marked_with_its_reason_in_words(language):
    words = Words.of(language)
    figure = learning.frontier(facts_of(tuned()), words)
    reasons = [words(f"move.{why}") for why in ("start", "drift", "still", "still", "still")]
    assert [said for *_, said in labels_of(figure)] == reasons
    for step, blocks, why in ((0, 6, reasons[0]), (0, 3, reasons[1]), (120, 5, reasons[2]), (630, 9, reasons[2])):
        assert words("learning.move", step=step, blocks=blocks, why=why) in str(figure.svg)
    assert [kind for kind, _ in figure.legend] == ["dot lean", "square worse", "ring lean", "frozen"]


def test_the_line_is_a_staircase_from_the_first_step_to_the_last():
    xs, ys = zip(*points_of(learning.frontier(facts_of(tuned()), EN)), strict=True)
    assert list(xs) == sorted(xs)
    assert all(a == c or b == d for (a, b), (c, d) in pairwise(zip(xs, ys, strict=True)))
    assert xs[-1] == 424.0  # The panel's right end: step 1350 of 1350.
    heights = list(dict.fromkeys(ys))
    assert len(heights) == 4  # 6, 3, 5, 6 again and 9: the frontier falls before it rises.
    assert heights[1] > heights[0] > heights[3]


def test_the_figures_of_the_round_stand_in_the_list():
    assert dict(learning.facts(facts_of(tuned()), EN)) == {
        "Weights that learned": "212,481 of 1,781,505 (11.9%)",
        "Size of the adapter": "151.05\u00a0kB",
        "Rows taught": "28,800",
        "Training steps": "1,350",
        "Blocks frozen at the end": "9 of 12",
        "States of frozen blocks kept on disk": "88.58\u00a0MB",
    }
    bare = dict(learning.facts(facts_of(tuned(adapter_bytes=None, cached_bytes=0)), EN))
    assert "Size of the adapter" not in bare
    assert bare["States of frozen blocks kept on disk"] == "none"


def test_drift_is_drawn_from_the_deepest_block_down_to_what_enters_them():
    svg = str(learning.drift(facts_of(tuned()), EN).svg)
    labels = re.findall(r">(after block \d+|entering the blocks)</text>", svg)
    assert labels == [f"after block {block}" for block in range(12, 0, -1)] + ["entering the blocks"]
    assert svg.count('class="limit"') == 2
    assert len(re.findall(r'class="fill worse"', svg)) == 2  # 0.262 and 0.274 lie beyond 0.25.
    assert learning.drift(facts_of(tuned(drift=[])), EN).svg is None


def _stays(lean, incumbent):
    lean |= {"kind": incumbent["kind"], "tuning": None, "params": None, "preset": None}


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda run: run["lean"]["tuning"].update(frontier=[], drift=[]), "learning.unfrozen"),
        (
            lambda run: run["lean"]["tuning"].update(
                depth=0, drift=[], frontier=[{"step": 0, "blocks": 0, "why": "start"}]
            ),
            "learning.no_blocks",
        ),
        (lambda run: run["lean"].update(tuning=None), "learning.untuned"),
        (lambda run: run["lean"].pop("tuning"), "absent_table"),
        (lambda run: _stays(run["lean"], run["incumbent"]), "learning.incumbent"),
    ],
)
def test_where_nothing_was_frozen_a_sentence_stands_instead_of_the_charts(language, change, says):
    words, run = Words.of(language), copy.deepcopy(sample_run.result())
    change(run)
    assert learning.note(facts_of(run), words) == words(says)
    page = render(facts_of(run), facts_of(sample_run.evidence()), words)
    section = page[page.index('<section id="learning">') : page.index('<section id="ranking">')]
    assert words(says) in section
    assert "<figure" not in section
    assert "None" not in section
    assert (words("learning.weights") in section) == bool(run["lean"].get("tuning"))


def test_a_run_that_froze_has_no_such_sentence():
    assert learning.note(facts_of(tuned()), EN) is None


@pytest.mark.parametrize("key", ["rows", "steps", "depth", "frontier", "drift", "cached_bytes", "adapter_bytes"])
def test_a_figure_that_is_not_there_is_said_to_be_not_measured(key):
    document = tuned()
    del document["lean"]["tuning"][key]
    for words in map(Words.of, languages()):
        page = render(facts_of(document), facts_of({}), words)
        assert page.rstrip().endswith("</html>")
    charts = {"depth": 1, "frontier": 1, "drift": 1}.get(key, 0)
    drawn = [learning.frontier(facts_of(document), EN).svg, learning.drift(facts_of(document), EN).svg]
    assert drawn.count(None) == charts


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"frontier": [{"step": 0, "blocks": 13, "why": "start"}]}, r"frontier\[0\]\.blocks .* in 0\.\.12: it is 13"),
        ({"frontier": [{"step": 0, "blocks": -1, "why": "start"}]}, "blocks must be a whole number"),
        ({"frontier": [{"step": 0, "blocks": 1.5, "why": "start"}]}, "it is 1.5"),
        ({"frontier": [{"step": 2000, "blocks": 1, "why": "still"}]}, r"step .* in 0\.\.1350"),
        ({"frontier": [{"step": step, "blocks": 1} for step in (9, 3)]}, r"frontier\[1\]\.step .* in 9\.\."),
        ({"frontier": [{"step": "<b>", "blocks": 1}]}, "finite number"),
        ({"frontier": [{"step": 0, "blocks": 1, "why": ["x"]}]}, "must be a text"),
        ({"depth": -1}, r"depth must be a whole number, 0 or more: it is -1"),
        ({"steps": 0.5}, "steps must be a whole number"),
        ({"drift": [0.1, 0.2]}, "holds 2"),
        ({"drift": ["much"]}, "finite number"),
    ],
)
def test_a_course_that_cannot_be_is_refused_by_its_path(changes, says):
    with pytest.raises(ConfigError, match=says):
        render(facts_of(tuned(**changes)), facts_of({}), EN)


courses = st.integers(1, 40).flatmap(
    lambda depth: st.tuples(
        st.just(depth),
        st.lists(
            st.tuples(
                st.integers(0, 10**6), st.integers(0, depth), st.sampled_from(["start", "drift", "still", "x" * 99, ""])
            ),
            min_size=1,
            max_size=30,
        ),
    )
)


@settings(max_examples=60, deadline=None)
@given(courses, st.integers(0, 10**6), st.sampled_from(languages()))
@example((1, [(34, 0, ""), (37, 0, "start")]), 29056, "en")
def test_reasons_never_overlap_nor_leave_the_chart(course, more, language):
    depth, moves = course[0], sorted(course[1], key=lambda move: move[0])
    rows = [dict(zip(("step", "blocks", "why"), move, strict=True)) for move in moves]
    document = tuned(depth=depth, frontier=rows, steps=moves[-1][0] + more, drift=[])
    figure = learning.frontier(facts_of(document), Words.of(language))
    boxes = labels_of(figure)
    assert all(left >= 50 and right <= 424 for left, right, *_ in boxes)
    for place, (left, right, y, _) in enumerate(boxes):
        assert all(right < a or left > b or abs(y - c) >= 14 for a, b, c, _ in boxes[:place])
    assert all(50 <= x <= 424 and 10 <= y <= 268 for x, y in points_of(figure))
    assert len(re.findall(r"<(?:circle|rect)", str(figure.svg))) == len(moves)
