"""The page of a market-risk run: every model's row, what was exceeded, and nothing that the run did not say."""

import copy
import html
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.files import write_json
from leanrisk.report.facts import Facts
from leanrisk.report.market import SECTIONS
from leanrisk.report.page import render, write_report
from leanrisk.report.words import Words, languages

HOSTILE = "<script>alert(1)</script>{{7*7}}"


def estimate(value):
    return {"value": value, "lo": value - 0.01, "hi": value + 0.01}


def backtest(hits):
    return {
        "exceedances": hits,
        "expected": 3.8,
        "kupiec_p": 0.25,
        "independence_p": 0.5,
        "coverage_p": 0.4,
        "z2": -0.4,
    }


def model(mae, hits):
    zones = {"last": "green", "last_exceedances": 2, "worst": "yellow", "worst_exceedances": hits}
    asset = {"share": 0.0123, "kupiec_rejected": 1, "independence_rejected": 2}
    counts = {"green": 6, "yellow": 2, "red": 0}
    cost = {"cpu_s": 1.5, "wall_s": 1.5, "peak_rss_mb": 100.0, "gpu_s": 0.0}
    return {
        "mae": estimate(mae),
        "qlike": estimate(0.25),
        "pinball_99": estimate(5.0),
        "method": "fhs",
        "portfolio": {"99": backtest(hits), "97.5": backtest(2 * hits), "zones": zones},
        "assets": {"99": asset, "97.5": asset, "zones_last": counts, "zones_worst": counts},
        "train": {"fits": 3, "first": cost, "refit": cost, "cpu_s": 4.5},
    }


RESULT: dict[str, Any] = {
    "leanrisk": "1",
    "scenario": "market-risk",
    "created": "2026-01-02T03:04:05+00:00",
    "seed": 7,
    "kept": True,
    "data": {
        "name": "Simulated market",
        "assets": 8,
        "variance": "garman-klass",
        "features": 30,
        "sha256": "ab",
        "notes": ["3 assets left out."],
        "split": {"test": ["2020-01-01", "2021-06-01"], "burn_in": ["2019-01-01", "2019-12-31"], "test_days": 300},
    },
    "market": {
        "models": {"har": model(0.367, 9), "garch": model(0.424, 11), "lean": model(0.351, 8)},
        "best_incumbent": "har",
        "against": {
            name: {loss: estimate(value) for loss in ("mae", "qlike", "pinball_99")}
            for name, value in (("har", -0.004), ("garch", -0.19))
        },
        "walk": {"window": "expanding", "refit_every": 125},
        "lean": {"lineage": ["distill", "quantize"], "precision": "fp32", "latency_ms": {"p50": 0.031, "p99": 0.05}},
    },
}
EVIDENCE: dict[str, Any] = {
    "market": {
        "days": [f"2020-01-{day:02d}" for day in range(1, 11)],
        "returns": [0.01, -0.02, 0.0, 0.005, -0.03, 0.01, 0.0, 0.0, -0.001, 0.002],
        "quantiles": {"lean": [-0.015] * 10, "har": [-0.02] * 10},
    },
    "limits": ["A limit of the recipe."],
}


def page_of(result, evidence, language="en"):
    return render(Facts(result, where="result.json"), Facts(evidence, where="evidence.json"), Words.of(language))


def text_of(page):
    return re.sub(
        r"[ \n]+", " ", html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S)))
    )


@pytest.mark.parametrize("language", languages())
def test_every_section_and_every_model_stand_on_the_page(tmp_path, language):
    write_json(tmp_path / "result.json", RESULT)
    write_json(tmp_path / "evidence.json", EVIDENCE)
    page = write_report(tmp_path, language=language).read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in SECTIONS)
    words = Words.of(language)
    text = text_of(page)
    for name in RESULT["market"]["models"]:
        assert text.count(words(f"market.model.{name}")) >= 3
    assert words("market.zone.yellow") in text
    assert "A limit of the recipe." in text
    assert "3 assets left out." in text


def test_a_difference_is_claimed_only_where_its_interval_leaves_zero_out():
    assert "not shown to differ: \u22120.40%" in text_of(page_of(RESULT, EVIDENCE))
    lower = copy.deepcopy(RESULT)
    lower["market"]["best_incumbent"] = "garch"
    assert "lower by \u221219.00%" in text_of(page_of(lower, EVIDENCE))
    refused = {**RESULT, "kept": False}
    assert "The incumbent stays" in text_of(page_of(refused, EVIDENCE))


def test_the_chart_marks_each_day_beyond_the_value_at_risk():
    page = page_of(RESULT, EVIDENCE)
    drawn = page[page.index('id="figure-market_days"') :]
    assert drawn.count('r="3.4"') == 2
    assert "Not measured" in text_of(page_of(RESULT, {}))


def test_what_a_run_says_is_escaped():
    hostile = copy.deepcopy(RESULT)
    hostile["data"]["name"] = HOSTILE
    hostile["market"]["models"][HOSTILE] = model(0.4, 4)
    page = page_of(hostile, EVIDENCE)
    assert "<script>" not in page
    assert "49" not in text_of(page).split("{{7*7}}")[0][-3:]


def paths_of(document, path=()):
    for key, value in document.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from paths_of(value, (*path, key))


PATHS = [path for path in paths_of(RESULT) if path != ("market",)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(PATHS), max_size=6), st.booleans(), st.sampled_from(languages()))
def test_any_missing_part_leaves_a_whole_page(paths, as_null, language):
    changed = copy.deepcopy(RESULT)
    for path in paths:
        holder: Any = changed
        for key in path[:-1]:
            holder = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and path[-1] in holder:
            if as_null:
                holder[path[-1]] = None
            else:
                del holder[path[-1]]
    page = page_of(changed, EVIDENCE, language)
    assert page.rstrip().endswith("</html>")
    assert "None" not in text_of(page)
