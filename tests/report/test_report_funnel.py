"""The features section: every feature is told with its stage, and the curve marks the chosen set."""

import copy
import re

import pytest

from leanrisk.report import funnel, selection_curves
from leanrisk.report.facts import Facts
from leanrisk.report.page import render
from leanrisk.report.words import Words, languages
from tests.report import sample_run

EN = Words.of("en")


def fate(name, stage, shap=None):
    reason = f"why {name} is {stage}"
    return {"name": name, "stage": stage, "reason": reason, "look_up": "bureau", "shap": shap, "price": 2.0, "iv": 0.1}


def point(features, ks, **more):
    return {"features": features, "ks": ks, "money": 1.0, "latency_ms": 5.0, "proven": True, "dropped": "", **more}


@pytest.fixture
def run():
    found = copy.deepcopy(sample_run.result())
    found["steps"][0]["details"] = {
        "funnel": [
            fate("age", "kept", 0.4),
            fate("same", "constant"),
            fate("copy", "redundant", 0.3),
            fate("x", "new"),
        ],
        "curve": [point(3, 0.4), point(2, 0.41, proven=False), point(1, 0.39, chosen=True)],
    }
    return found


def facts_of(document):
    return Facts(document, where="result.json")


def test_stages_are_counted_and_what_stays_comes_last(run):
    table = funnel.stages(facts_of(run), EN)
    assert table is not None
    assert [row[1].text for row in table.rows] == ["1", "1", "1", "1"]
    assert table.rows[-1][0].text == EN("funnel.stage.kept")
    assert "new" in [row[0].text for row in table.rows]


def test_every_feature_is_listed_with_its_reason(run):
    table = funnel.fates(facts_of(run), EN)
    assert table is not None
    assert [row[0].text for row in table.rows] == ["age", "copy", "same", "x"]
    assert [row[1].sub for row in table.rows][1:3] == ["why copy is redundant", "why same is constant"]


def test_the_curve_marks_the_chosen_set(run):
    drawn = selection_curves.by_features(facts_of(run), EN).svg
    assert drawn is not None
    assert drawn.count("<circle") == 2
    assert drawn.count("<rect") == 1


def test_ks_is_drawn_against_money_and_against_waiting_time_where_the_schema_prices_features(run):
    details = run["steps"][0]["details"]
    details["curve"] = [
        point(3, 0.40, money=4.0, latency_ms=0.0),
        point(2, 0.41, money=4.0, latency_ms=0.0),
        point(2, 0.38, money=1.0, latency_ms=0.0, dropped="bureau"),
        point(1, 0.39, money=2.0, latency_ms=0.0, chosen=True),
    ]
    money, wait = selection_curves.by_price(facts_of(run), EN)
    assert wait.svg is None, "nothing waits: a line at 0 would tell nothing"
    assert money.svg is not None
    (right, same, cheap), (corner,) = places(money.svg), squares(money.svg)
    assert cheap < corner + 5 < right, "a dearer set stands further to the right"
    assert same == right, "two sets of one price stand above one another"
    line = re.findall(r'<polyline points="([^"]+)"', money.svg)
    assert [len(points.split()) for points in line] == [3], "it joins the rounds, not the set without the look-up"


def places(drawn):
    return [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawn)]


def squares(drawn):
    return [float(x) for x in re.findall(r'<rect x="([\d.]+)"', drawn)]


@pytest.mark.parametrize("language", languages())
def test_the_page_holds_the_section_with_and_without_a_selection(run, language):
    words = Words.of(language)
    evidence = facts_of(sample_run.evidence())
    page = render(facts_of(run), evidence, words)
    assert "why copy is redundant" in page
    assert words("funnel.every") in page
    plain = render(facts_of(sample_run.result()), evidence, words)
    assert words("funnel.absent") in plain
    assert "figure-selection" not in plain
    assert "figure-selection_money" in page
    assert "figure-selection_wait" in page
    for entry in run["steps"][0]["details"]["curve"]:
        entry |= {"money": 0.0, "latency_ms": 0.0}
    unpriced = render(facts_of(run), evidence, words)
    assert words("funnel.unpriced") in unpriced
    assert "figure-selection_money" not in unpriced


def test_a_fate_tells_its_shape_and_its_wait(run):
    run["steps"][0]["details"]["funnel"][0] |= {"monotonic": False, "latency_ms": 350.0}
    table = funnel.fates(facts_of(run), EN)
    assert table is not None
    assert (table.rows[0][4].sub, table.rows[0][6].sub) == ("not monotonic", "350 ms")
    assert (table.rows[1][4].sub, table.rows[1][6].sub) == ("", "")
