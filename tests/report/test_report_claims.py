"""Nothing is claimed that an interval does not support, and every cost is counted against its own reference."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.report.comparison import comparison
from leanrisk.report.facts import Estimate, Facts
from leanrisk.report.headline import headline
from leanrisk.report.quality import HIGHER_IS_BETTER, LOWER_IS_BETTER, Reading, headline_metrics, metrics, reading
from leanrisk.report.spending import BreakEven
from leanrisk.report.words import Words
from tests.report.sample_run import result

numbers = st.floats(-1, 1, allow_nan=False)


@given(st.sampled_from(HIGHER_IS_BETTER + LOWER_IS_BETTER), st.tuples(numbers, numbers, numbers).map(sorted))
def test_better_and_worse_are_said_only_where_the_interval_excludes_zero(metric, ends):
    lo, value, hi = ends
    said = reading(metric, Estimate(value, lo, hi))
    assert (said in (Reading.BETTER, Reading.WORSE)) == (lo > 0 or hi < 0)
    assert (said is Reading.NO_DIFFERENCE) == (lo <= 0 <= hi)


@given(st.sampled_from(HIGHER_IS_BETTER), st.floats(0.001, 1), st.floats(0.0, 0.0009))
def test_more_is_better_for_rank_metrics_and_worse_for_errors(metric, value, half):
    shift = Estimate(value, value - half, value + half)
    assert reading(metric, shift) is Reading.BETTER
    assert reading("brier", shift) is Reading.WORSE
    assert reading("brier", Estimate(-value, -value - half, -value + half)) is Reading.BETTER
    assert reading("a_metric_of_their_own", shift) is Reading.DIFFERENT


@pytest.mark.parametrize("difference", [None, Estimate(0.2), Estimate(0.2, lo=0.1)])
def test_a_difference_without_an_interval_says_nothing(difference):
    assert reading("auc", difference) is Reading.ABSENT


def test_metrics_come_rank_first_and_each_once():
    run = Facts(
        {"incumbent": {"quality": {"brier": 1, "zeta": 1, "auc": 1}}, "lean": {"quality": {"ks": 1}}}, where="r"
    )
    assert metrics(run) == ["auc", "ks", "brier", "zeta"]
    assert headline_metrics(run) == ["ks", "auc"]


costs = st.floats(0.01, 1e4)


@given(costs, costs, costs)
def test_break_even_is_where_the_two_totals_meet(full, refresh, shrink):
    rounds = BreakEven({"full": full}, refresh, shrink).after("full")
    if full <= refresh:
        assert rounds is None
    else:
        assert rounds is not None
        assert math.isclose(rounds * full, shrink + rounds * refresh, rel_tol=1e-6)


@given(st.one_of(st.none(), costs), st.one_of(st.none(), costs), st.dictionaries(st.sampled_from(["full"]), costs))
def test_a_chart_of_break_even_always_has_a_sane_width(refresh, shrink, references):
    assert 6 <= BreakEven(references, refresh, shrink).horizon <= 60


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_incumbent_that_stays_is_said_first_and_compared_with_nothing(language):
    words = Words.of(language)
    run = result()
    run["lean"] = {**run["incumbent"], "refresh": None, "shrink": run["lean"]["shrink"]}
    run["differences"] = {"auc": {"value": 0.0, "lo": 0.0, "hi": 0.0}}
    said = headline(Facts(run, where="result.json"), words)
    assert said.sentence == words("headline.stays")
    assert not any(card.others for card in said.cards[:3])
    assert [card.change for card in said.cards[1:3]] == [words("reading.same")] * 2
    groups = {group.name: group.rows for group in comparison(Facts(run, where="result.json"), words)}
    assert {row.kind for row in groups["quality"]} == {"same"}
    assert [row.change.main for row in groups["latency"]] == ["0.0%", "0.0%"]
    run["lean"]["preset"] = run["lean"]["kind"]
    assert headline(Facts(run, where="result.json"), words).sentence != said.sentence
    compared = headline(Facts(result(), where="result.json"), words)
    assert compared.sentence != said.sentence
    assert set(said.remarks) < set(compared.remarks)
