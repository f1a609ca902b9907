"""Encoding and scoring: rows a second of a table, microseconds of a single record, at 114 features."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.runner import Bar, Outcome
from leanrisk.core.dataset import Dataset, conform
from leanrisk.core.progress import Advance, Progress
from leanrisk.data.simulate.sme import simulate_sme, sme_schema
from leanrisk.features.encoder import Encoder
from leanrisk.models.calibration import Calibration
from leanrisk.models.export import export_graph
from leanrisk.models.onnx_session import GraphSession
from leanrisk.models.risk_config import preset_config
from leanrisk.models.risk_transformer import RiskTransformer

_FEATURES = 114
_ROWS = {"smoke": 3_000, "full": 100_000}
_RUNS = {"smoke": 1, "full": 7}
_CALLS = {"smoke": 200, "full": 10_000}
_MODELS = {"swift": 0.14, "tiny": 0.5}
"""The presets, and the bar in milliseconds for one row, from record to probability, p50."""

Figures = dict[str, float | int | str]


def run(preset: str, progress: Progress) -> Outcome:
    """Return throughput in batches (the fastest run) and the p50 and p99 of single calls, each on one thread."""
    rows, runs, calls = _ROWS[preset], _RUNS[preset], _CALLS[preset]
    schema = sme_schema(features=_FEATURES)
    book = Dataset(conform(simulate_sme(rows=rows, features=_FEATURES, seed=1), schema), schema)
    encoder = Encoder.fit(book)
    inputs = encoder.inputs(book.frame)
    records = book.frame.select(encoder.columns).head(500).to_dicts()
    figures: Figures = {"rows": rows, "features": _FEATURES, "runs": runs, "calls": calls}
    with progress.track(
        "Encoding and scoring", total=(2 + len(_MODELS)) * runs + (1 + 2 * len(_MODELS)) * calls
    ) as advance:
        figures["frame_to_inputs_rows_per_s"] = _rate(partial(encoder.inputs, book.frame), rows, runs, advance)
        figures["inputs_to_lookups_rows_per_s"] = _rate(partial(encoder.lookups, inputs), rows, runs, advance)
        figures |= _named("record_to_inputs", _calls(encoder.record, records, calls, advance), scale=1e6, unit="us")
        for model in _MODELS:
            network = RiskTransformer(preset_config(model, encoder.fields))
            session = GraphSession(export_graph(network, encoder.fields, Calibration("platt", 1.1, -0.2)))
            figures[f"{model}_graph_rows_per_s"] = _rate(partial(session.probability, inputs), rows, runs, advance)
            figures |= _single(model, session, encoder, records, calls, advance)
    figures["load_1m"] = round(os.getloadavg()[0], 2)
    return Outcome(figures=figures, bars=_bars(figures))


def _bars(figures: Figures) -> tuple[Bar, ...]:
    lookups = 1 / (
        1 / float(figures["frame_to_inputs_rows_per_s"]) + 1 / float(figures["inputs_to_lookups_rows_per_s"])
    )
    return (
        Bar.at_least("table to look-ups, rows/s", round(lookups), 200_000.0),
        Bar.at_most("record to inputs, p50 microseconds", float(figures["record_to_inputs_p50_us"]), 15.0),
        *(
            Bar.at_most(f"{model}: record to probability, p50 ms", float(figures[f"{model}_record_p50_ms"]), bar)
            for model, bar in _MODELS.items()
        ),
    )


def _single(
    model: str, session: GraphSession, encoder: Encoder, records: list[dict[str, Any]], calls: int, advance: Advance
) -> Figures:
    rows = [encoder.record(record) for record in records]
    graph = _calls(session.probability, rows, calls, advance)
    whole = _calls(lambda record: float(session.probability(encoder.record(record))[0]), records, calls, advance)
    return {
        **_named(f"{model}_graph", graph, scale=1e3, unit="ms"),
        **_named(f"{model}_record", whole, scale=1e3, unit="ms"),
    }


def _rate(job: Callable[[], object], rows: int, runs: int, advance: Advance) -> int:
    fastest = float("inf")
    for _ in range(runs):
        began = time.perf_counter()
        job()
        fastest = min(fastest, time.perf_counter() - began)
        advance(1)
    return round(rows / fastest)


def _calls(job: Callable[[Any], object], items: list[Any], calls: int, advance: Advance) -> list[float]:
    """Return the seconds of each of `calls` calls, after a warm-up of one pass over the items."""
    for item in items:
        job(item)
    seconds = []
    for call in range(calls):
        item = items[call % len(items)]
        began = time.perf_counter()
        job(item)
        seconds.append(time.perf_counter() - began)
    advance(calls)
    return seconds


def _named(name: str, seconds: list[float], *, scale: float, unit: str) -> Figures:
    return {
        f"{name}_p{share}_{unit}": round(float(np.percentile(seconds, share)) * scale, 4 if unit == "ms" else 2)
        for share in (50, 99)
    }
