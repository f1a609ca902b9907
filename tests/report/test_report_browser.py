"""The page as people see it: in a real Chromium, on a desk and on a phone, and on paper."""

import copy

import pytest

from leanrisk.core.files import write_json
from leanrisk.report.page import write_report
from tests.report import sample_run

WIDE = "x" * 200
OVERFLOWING = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && !e.closest('svg')
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 90))"""
CLIPPED = """[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1)
  .map(e => e.getAttribute('aria-label'))"""
SMALLEST_TEXT = """Math.min(...[...document.querySelectorAll('svg.chart text')].map(
  e => parseFloat(getComputedStyle(e).fontSize) * e.ownerSVGElement.getBoundingClientRect().width / 440))"""
OUT_OF_CHART = """[...document.querySelectorAll('svg.chart')].flatMap(s => [...s.querySelectorAll('text')].filter(t => {
  const a = s.getBoundingClientRect(), b = t.getBoundingClientRect();
  return b.left < a.left - 4 || b.right > a.right + 4 || b.bottom > a.bottom + 4; }).map(t => t.textContent))"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    result, evidence = copy.deepcopy(sample_run.result()), copy.deepcopy(sample_run.evidence())
    result["scenario"] = result["data"]["name"] = result["machine"]["cpu"] = WIDE
    wide_moves = (result["lean"]["tuning"]["frontier"], ("why",))
    for rows, keys in (
        wide_moves,
        (result["steps"], ("technique", "reason")),
        (evidence["dropped"], ("column", "reason")),
    ):
        for row in rows:
            row.update(dict.fromkeys(keys, WIDE))
    write_json(folder / "wide" / "result.json", result)
    write_json(folder / "wide" / "evidence.json", evidence)
    sample_run.write_run(folder / "plain")
    sample_run.write_run(folder / "regression", regression=True)
    write_json(folder / "empty" / "result.json", {})
    made = {(name, "en"): write_report(folder / name) for name in ("plain", "wide", "regression", "empty")}
    made["plain", "zh"] = write_report(folder / "plain", out=folder / "zh.html", language="zh")
    return made


@pytest.mark.parametrize("width", [1280, 820, 390])
@pytest.mark.parametrize(
    "name", [("plain", "en"), ("plain", "zh"), ("wide", "en"), ("regression", "en"), ("empty", "en")]
)
def test_no_page_scrolls_sideways_or_complains(browser, pages, name, width):
    browser.problems.clear()
    browser.requests.clear()
    browser.open(pages[name], width=width, phone=width < 500)
    assert browser.evaluate("window.innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(OVERFLOWING) == []
    assert browser.problems == []
    assert {address.partition(":")[0] for address in browser.requests} <= {"file", "data"}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [1280, 390])
def test_charts_and_tables_are_whole_and_legible(browser, pages, language, width):
    browser.open(pages["plain", language], width=width, phone=width < 500)
    assert browser.evaluate(CLIPPED) == []
    assert browser.evaluate(OUT_OF_CHART) == []
    assert browser.evaluate(SMALLEST_TEXT) >= 9


def test_the_dark_theme_changes_paper_and_charts(browser, pages):
    paper = "getComputedStyle(document.body).backgroundColor"
    line = "getComputedStyle(document.querySelector('.line.lean')).stroke"
    browser.open(pages["plain", "en"], width=1280)
    light = browser.evaluate(f"[{paper}, {line}]")
    browser.open(pages["plain", "en"], width=1280, scheme="dark")
    dark = browser.evaluate(f"[{paper}, {line}]")
    assert light[0] != dark[0]
    assert light[1] != dark[1]


def test_it_prints_on_a4_with_no_chart_cut(browser, pages, tmp_path):
    browser.open(pages["plain", "en"], width=1280)
    browser.pdf(tmp_path / "report.pdf")
    paper = (tmp_path / "report.pdf").read_bytes()
    assert paper.startswith(b"%PDF")
    assert b"/MediaBox [0 0 594.95996 841.91998]" in paper or b"/MediaBox [0 0 595" in paper
    uncut = "[...document.querySelectorAll('figure, .card')].every(e => getComputedStyle(e).breakInside === 'avoid')"
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate(uncut)
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.call("Emulation.setEmulatedMedia", media="")
