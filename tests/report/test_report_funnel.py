"""The features section: every feature is told with its stage, and the curve marks the chosen set."""

import copy

import pytest

from leanrisk.report import funnel
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
    drawn = funnel.curve(facts_of(run), EN).svg
    assert drawn is not None
    assert drawn.count("<circle") == 2
    assert drawn.count("<rect") == 1


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


def test_a_fate_tells_its_shape_and_its_wait(run):
    run["steps"][0]["details"]["funnel"][0] |= {"monotonic": False, "latency_ms": 350.0}
    table = funnel.fates(facts_of(run), EN)
    assert table is not None
    assert (table.rows[0][4].sub, table.rows[0][6].sub) == ("not monotonic", "350 ms")
    assert (table.rows[1][4].sub, table.rows[1][6].sub) == ("", "")
