"""Claim C6: a lean model in int8 takes a quarter of its bytes, ranks as before, and decides no slower."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.quantized.books import Taught, taught_books
from benchmarks.quantized.routes import ROUTES, Made, by_route, company, fp32, packed_fp32, timed
from benchmarks.runner import Bar, Outcome
from leanrisk.core.metrics import auc, ks
from leanrisk.core.progress import Progress
from leanrisk.evaluate.delong import auc_difference
from leanrisk.models.graph_proof import INTEGER_OPERATORS

Values = dict[str, float | int | str]

_SMALLER, _MOST_AUC = 0.74, 0.001
_NOISE = 1.05
"""How many times as long a route may take and count as not slower: the best of all turns differs by as much."""


def run(preset: str, progress: Progress) -> Outcome:
    """Return bytes, AUC, latency and the cost of every route into int8, book by book, and the book of market risk."""
    full = preset == "full"
    figures: Values = {}
    bars: list[Bar] = []
    for book in taught_books(full, progress):
        if isinstance(book, str):
            figures[f"{book}_note"] = "the public data are not on this machine"
        else:
            bars += _book(figures, book, full, progress)
    return Outcome(figures, tuple(bars))


def _book(figures: Values, book: Taught, full: bool, progress: Progress) -> list[Bar]:
    made: dict[str, Made] = {"fp32": fp32(book), "packed_fp32": packed_fp32(book)}
    with progress.track(f"{book.name}: into int8", len(ROUTES)) as advance:
        for name in ROUTES:
            made[name] = by_route(book, name, epochs=3 if full else 1)
            advance(1)
    with progress.track(f"{book.name}: timing"):
        speed = timed({name: each.model for name, each in made.items()}, book, calls=400 if full else 100)
    labels, before = book.test.labels, made["fp32"]
    where = book.name
    figures |= {f"{where}_features": len(before.model.features), f"{where}_test_rows": book.test.rows}
    for name, each in made.items():
        figures |= {f"{where}_{name}_{key}": value for key, value in _row(book, each, before).items()}
        figures |= {f"{where}_{name}_{key}": round(value, 1) for key, value in speed[name].items()}
        figures[f"{where}_{name}_auc"] = round(auc(labels, each.scores), 5)
        figures[f"{where}_{name}_ks"] = round(ks(labels, each.scores), 4)
    return _bars(figures, where, made, speed)


def _row(book: Taught, each: Made, before: Made) -> Values:
    row: Values = {
        "bytes": each.bytes,
        "graph_bytes": each.graph_bytes,
        "folder_bytes": each.folder_bytes,
        "cpu_s": round(each.cpu_s, 2),
        "company": company(each, book),
    }
    if each is before:
        return row
    change = auc_difference(book.test.labels, before.scores, each.scores)
    told = each.model.plan
    proof = each.model.facts.get("int8", {}).get("proof", {})
    products = sum(proof.get("operators", {}).get(name, 0) for name in INTEGER_OPERATORS)
    return row | {
        "smaller": round(1 - each.bytes / before.bytes, 4),
        "graph_smaller": round(1 - each.graph_bytes / before.graph_bytes, 4),
        "folder_smaller": round(1 - each.folder_bytes / before.folder_bytes, 4),
        "auc_change": round(change.value, 5),
        "auc_change_lo": round(change.lo, 5),
        "auc_change_hi": round(change.hi, 5),
        "parts": 0 if told is None else len(told.parts),
        "integer_products": products,
    }


def _bars(figures: Values, where: str, made: Mapping[str, Made], speed: Mapping[str, Mapping[str, float]]) -> list[Bar]:
    bars = []
    for name in ("static", "qat"):
        what = f"{where}: {name}"
        bars += [
            Bar.at_least(f"{what}, whole artefact smaller", float(figures[f"{where}_{name}_smaller"]), _SMALLER),
            Bar.at_least(f"{what}, change in AUC", float(figures[f"{where}_{name}_auc_change"]), -_MOST_AUC),
        ]
        for key in ("p50_us", "p99_us"):
            ratio = speed[name][key] / speed["fp32"][key]
            bars.append(Bar.at_most(f"{what}, {key} over fp32", round(ratio, 3), _NOISE))
    return bars
