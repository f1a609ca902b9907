"""The report of a run: one HTML file that needs no network, no script and no second file.

Charts are static SVG rather than Plotly, which the design names for figures. Measured with plotly 7.1, whose Python
package ships only the full bundle: 14 charts made a page of 5.1 MB that took 0.7-1.2 s to show, and 2.8-3.8 s with the
processor slowed four times (a phone); printed on A4 its charts shrank to unreadable text and were cut between pages;
and a mail gateway that strips scripts leaves no chart at all. As SVG the whole page is 0.11 MB, shows in 0.1-0.2 s
(slowed: 0.3-0.4 s), prints as sharp vectors, and follows the reader's light or dark theme through the style sheet.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from leanrisk.core.files import write_text
from leanrisk.report import (
    bars,
    curves,
    fidelity,
    funnel,
    learning,
    made_rows,
    market,
    provenance,
    reading,
    selection_curves,
    tables,
)
from leanrisk.report.comparison import comparison
from leanrisk.report.facts import Facts
from leanrisk.report.figure import SIDES, Figure
from leanrisk.report.headline import headline
from leanrisk.report.numbers import fixed
from leanrisk.report.quality import metrics
from leanrisk.report.spending import BreakEven
from leanrisk.report.words import Words

RESULT, EVIDENCE, PAGE = "result.json", "evidence.json", "report.html"
SECTIONS = (
    "summary",
    "comparison",
    "gates",
    "steps",
    "features",
    "learning",
    "ranking",
    "calibration",
    "stability",
    "fidelity",
    "fairness",
    "money",
    "data",
    "limits",
)
"""Anchors of the page in reading order; the catalogue holds each title under `section.<name>`."""
_TEMPLATES = Path(__file__).with_name("templates")


def write_report(run: Path, *, out: Path | None = None, language: str = "en") -> Path:
    """Write the report of the run in folder `run` and return its path: `out`, or report.html in that folder.

    Reads result.json, and evidence.json where the run left one: without it the charts say "not measured".
    `language` is "en" or "zh". Raises `ConfigError` for a folder without a run, a malformed file or an unknown
    language, and `OutputError` where the page cannot be written; an older page then stays as it was.
    """
    words = Words.of(language)
    result = Facts.read(run / RESULT)
    evidence = Facts.read(run / EVIDENCE) if (run / EVIDENCE).exists() else Facts({}, where=EVIDENCE)
    target = run / PAGE if out is None else out
    write_text(target, render(result, evidence, words))
    return target


def render(run: Facts, evidence: Facts, words: Words) -> str:
    """Return the page as HTML text; every text of the run is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    if run.at("market") is not None:
        return environment.get_template(market.TEMPLATE).render(w=words, **market.context(run, evidence, words))
    return environment.get_template("report.html.j2").render(
        w=words,
        sections=SECTIONS,
        title=_title(run, words),
        meta=_meta(run, evidence, words),
        headline=headline(run, words),
        groups=comparison(run, words),
        figures=_figures(run, evidence, words),
        tables=_tables(run, evidence, words),
        notes=_notes(run, evidence, words),
    )


def _title(run: Facts, words: Words) -> str:
    scenario = run.text("scenario")
    return words("title.run", scenario=words.named("scenario", scenario)) if scenario else words("title.plain")


def _meta(run: Facts, evidence: Facts, words: Words) -> list[str]:
    """Return the line under the title: data set, size of the test, its period, the day of the run."""
    test = next((part for part in evidence.items("split", "parts") if part.text("part") == "test"), None)
    rows = test.number("rows") if test else None
    period = [test.text(key) for key in ("from", "to")] if test else []
    parts = [
        run.text("data", "name"),
        None if rows is None else words("meta.test_rows", rows=fixed(rows, 0)),
        words("interval", lo=period[0], hi=period[1]) if period and all(period) else None,
        _day(run.text("created"), words),
    ]
    return [part for part in parts if part]


def _day(created: str | None, words: Words) -> str | None:
    if created is None:
        return None
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        # A date that is not ISO is shown as it stands: it is the run's own word, and nothing is computed from it.
        return created
    return words("meta.created", day=moment.date().isoformat())


def _figures(run: Facts, evidence: Facts, words: Words) -> dict[str, Figure]:
    drawn = [
        bars.gates(run, words),
        *(bars.waterfall(run, words, measure) for measure in bars.MEASURES),
        bars.waterfall_quality(run, words),
        selection_curves.by_features(run, words),
        *selection_curves.by_price(run, words),
        made_rows.arms(run, words),
        made_rows.labels(run, words),
        learning.frontier(run, words),
        learning.drift(run, words),
        curves.roc(run, evidence, words),
        *(curves.ks(evidence, words, side) for side in SIDES),
        curves.gains(evidence, words),
        curves.calibration(evidence, words),
        curves.scores(evidence, words),
        curves.feature_shift(evidence, words),
        bars.spending(evidence, words),
        bars.break_even(BreakEven.of(run), words),
    ]
    return {figure.name: figure for figure in drawn}


def _tables(run: Facts, evidence: Facts, words: Words) -> dict[str, Any]:
    return {
        "gates": tables.gates(run, words) if run.items("gates") else None,
        "steps": tables.steps(run, words) if run.items("steps") else None,
        "texts": reading.texts(run, words),
        "stages": funnel.stages(run, words),
        "fates": funnel.fates(run, words),
        "learning": learning.facts(run, words),
        "training": tables.training(run, words),
        "gains": {side: tables.gains(evidence, words, side) for side in SIDES},
        "calibration": tables.calibration(evidence, words, "lean"),
        "ledger": tables.ledger(evidence, words),
        "totals": tables.ledger_totals(evidence, words),
        "split": provenance.split(evidence, words),
        "dropped": provenance.dropped(evidence, words),
        "fidelity": fidelity.deployed(evidence, words),
        "followed": fidelity.by_step(run, words),
        "fairness": tables.fairness(evidence, words),
        "facts": provenance.facts_of_run(run, evidence, words),
    }


def _notes(run: Facts, evidence: Facts, words: Words) -> dict[str, Any]:
    best = evidence.number("best_possible_ks")
    ranked = not metrics(run) or any(name in ("auc", "ks") for name in metrics(run))
    return {
        "learning": learning.note(run, words),
        "ranked": ranked,
        "best_ks": words("ranking.best_ks_absent") if best is None else words("ranking.best_ks", value=fixed(best)),
        "made": made_rows.worth(run, words),
        "split": evidence.text("split", "note"),
        "limits": evidence.texts("limits"),
    }
