"""The charts of made rows: every way against what it had to beat, and what labels made rows are worth."""

import copy

import pytest

from leanrisk.report import made_rows
from leanrisk.report.facts import Facts
from leanrisk.report.page import render
from leanrisk.report.words import Words, languages
from tests.report import sample_run

EN = Words.of("en")


def arm(label, method, recall, gain, error, *, ratio=0.0, weight=1.0, members=0):
    told = {"arm": label, "method": method, "ratio": ratio, "weight": weight, "members": members}
    return {**told, "recall": recall, "gain": gain, "gain_error": error}


ARMS = [
    arm("nothing", "nothing", 0.40, 0.0, 0.0),
    arm("weights, bads as goods", "weights", 0.42, 0.02, 0.02, weight=None),
    arm("smote 5%, bads x 30", "smote", 0.38, -0.02, 0.01, ratio=0.05, weight=30.0),
    arm("tilt 33% of 5", "tilt", 0.50, 0.10, 0.02, ratio=1 / 3, members=5),
]
CURVE = [{"bads": 20, "plain": 0.3, "chosen": 0.42}, {"bads": 80, "plain": 0.4, "chosen": 0.5}]


@pytest.fixture
def run():
    found = copy.deepcopy(sample_run.result())
    labels = {"bads": 80, "replaced": 61.4, "curve": CURVE}
    found["steps"][0]["details"] = {"arms": ARMS, "chosen": "tilt 33% of 5", "labels": labels}
    return found


def facts_of(document):
    return Facts(document, where="result.json")


def test_every_way_is_drawn_and_the_one_that_was_taken_is_filled(run):
    drawn = made_rows.arms(facts_of(run), EN).svg
    assert drawn is not None
    assert drawn.count("<circle") == 4
    assert drawn.count('class="fill lean"') == 1
    assert drawn.count("whisker") == 3, "what is to be beaten has no interval"
    assert "gain +0.1000 \u00b1 0.0392" in drawn


def test_ways_are_called_in_the_language_of_the_page(run):
    names = [made_rows.label(each, EN) for each in facts_of(run).items("steps")[0].group("details").items("arms")]
    assert names == ["nothing", "class weights balanced", "SMOTE-NC 5% \u00d730", "tilted rows 33%"]
    assert made_rows.label(facts_of({"arm": "of an older run"}), EN) == "of an older run"


def test_what_labels_are_worth_is_told_and_drawn(run):
    assert "61 further labelled bads beside the 80" in (made_rows.worth(facts_of(run), EN) or "")
    drawn = made_rows.labels(facts_of(run), EN).svg
    assert drawn is not None
    assert drawn.count("<polyline") == 2
    del run["steps"][0]["details"]["labels"]
    assert made_rows.worth(facts_of(run), EN) is None
    assert made_rows.labels(facts_of(run), EN).svg is None


@pytest.mark.parametrize("language", languages())
def test_the_page_shows_made_rows_only_where_a_step_tried_some(run, language):
    words, evidence = Words.of(language), facts_of(sample_run.evidence())
    page = render(facts_of(run), evidence, words)
    assert words("made.title") in page
    assert "figure-made_arms" in page
    assert "figure-made_labels" in page
    plain = render(facts_of(sample_run.result()), evidence, words)
    assert words("made.title") not in plain
    assert "figure-made_arms" not in plain
