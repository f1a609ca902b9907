"""The table that a run prints: what it calls better, what it calls nothing, and when it speaks of paying back."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
from rich.console import Console

from leanrisk.cli.outcome import show_outcome
from tests.report.sample_run import result as sample


def printed(result: dict[str, Any]) -> str:
    told = io.StringIO()
    show_outcome(Console(file=told, width=200, highlight=False), result)
    return told.getvalue()


@pytest.fixture
def result() -> dict[str, Any]:
    found = copy.deepcopy(sample())
    found["lean"]["preset"] = "swift"
    cost = {"cpu_s": 2.0, "wall_s": 1.0, "peak_rss_mb": 300.0}
    found["lean"].update(refresh=cost, shrink={**cost, "cpu_s": 30.0})
    found["incumbent"]["train"] = {**cost, "cpu_s": 12.0}
    found["savings"]["break_even_refreshes"] = 3
    found["savings"]["money"] = {"incumbent": 2.0, "lean": 1.0, "currency": "CNY"}
    return found


@pytest.mark.parametrize(
    ("metric", "interval", "said"),
    [
        ("auc", (0.01, 0.002, 0.018), "+0.0100 [+0.0020, +0.0180] better"),
        ("auc", (-0.01, -0.018, -0.002), "worse"),
        ("auc", (0.01, -0.001, 0.021), "no difference shown"),
        ("auc", (0.0, 0.0, 0.0), "no difference shown"),
        ("brier", (-0.01, -0.018, -0.002), "better"),
        ("brier", (0.01, 0.002, 0.018), "worse"),
    ],
)
def test_better_is_said_only_where_the_interval_leaves_zero_out(result, metric, interval, said):
    result["differences"] = {metric: dict(zip(("value", "lo", "hi"), interval, strict=True))}
    label = {"auc": "AUC", "brier": "Brier score"}[metric]
    line = next(line for line in printed(result).splitlines() if label in line)
    assert said in line
    assert sum(word in line for word in ("better", "worse", "no difference shown")) == 1


def test_every_cost_is_against_its_own_reference(result):
    shown = printed(result)
    assert "-83.3%" in next(line for line in shown.splitlines() if "full routine" in line)
    for reference in ("refit with fixed parameters", "slim trees", "bare booster call", "fastest exact route"):
        assert reference in shown
    assert "paid for itself after 3 refresh(es)" in shown


def test_a_round_that_costs_more_never_pays(result):
    result["savings"]["break_even_refreshes"] = None
    assert "(30.0 CPU-s) never pays for itself" in printed(result)


def test_a_brought_incumbent_has_no_pay_back(result):
    result["incumbent"].update(train=None, refit=None, bare_latency_ms=None, compiled_latency_ms=None)
    result["savings"]["break_even_refreshes"] = None
    result["savings"]["money"]["incumbent"] = None
    shown = printed(result)
    assert "pay" not in shown.replace("repay", "")
    assert "paid" not in shown


def test_an_incumbent_that_stays_is_compared_with_nothing(result):
    stays = {**result["incumbent"], "preset": None, "precision": "fp32", "refresh": None}
    result["lean"] = {**stays, "shrink": result["lean"]["shrink"]}
    result["savings"].update(break_even_refreshes=None, money={"incumbent": 2.0, "lean": None, "currency": "CNY"})
    shown = printed(result)
    assert "lean (the incumbent stays)" in shown
    assert "the same model" in shown
    assert not [word for word in ("better", "worse", "pays", "paid") if word in shown]
    # Only what both sides have is compared, and it is the same.
    assert {line.split("│")[-2].strip() for line in shown.splitlines() if "%" in line} == {"+0.0%"}


def test_reasons_are_shown_as_they_are_written(result):
    result["steps"] = [{"technique": "distill", "accepted": False, "reason": "AUC -0.01 [-0.02, 0.00] [bold]no[/bold]"}]
    assert "distill: not kept. AUC -0.01 [-0.02, 0.00] [bold]no[/bold]" in printed(result)


def test_alert_figures_stand_in_the_table_where_they_were_asked_for(result):
    assert "Value caught" not in printed(result)
    for side, value in (("incumbent", 0.4), ("lean", 0.5)):
        result[side]["quality"]["value_at_budget"] = {"value": value, "lo": value - 0.02, "hi": value + 0.02}
        result[side]["quality"]["detection_delay_days"] = {"value": value, "lo": 0.1, "hi": 0.9}
    result["differences"]["value_at_budget"] = {"value": 0.1, "lo": 0.08, "hi": 0.12}
    lines = printed(result).splitlines()
    assert "+0.1000 [+0.0800, +0.1200] better" in next(line for line in lines if "Value caught" in line)
    delay = next(line for line in lines if "first alert" in line)
    assert "better" not in delay
    assert "worse" not in delay


def test_what_the_gates_say_of_the_whole_is_said(result):
    gate = {"verdict": "not_proven", "value": 0.0022, "lo": -0.0058, "hi": 0.0102, "margin": -0.005}
    result["gates"] = [{"name": "final: auc", **gate}]
    said = "the whole, against today's incumbent: kept. AUC +0.0022 [-0.0058, +0.0102], margin -0.0050: not proven"
    assert said in printed(result)
    result["steps"] = [{"technique": "final", "accepted": False, "reason": "The incumbent stays: shown elsewhere"}]
    assert "the whole" not in printed(result)
    result["gates"], result["steps"] = [], []
    assert "the whole" not in printed(result)
