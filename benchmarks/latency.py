"""Latency: a record to a calibrated probability against one LightGBM served in three ways, and batches on two cores."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from benchmarks.runner import Bar, Outcome
from leanrisk.core.dataset import Dataset, conform
from leanrisk.core.measurement import Latency
from leanrisk.core.progress import Progress
from leanrisk.data.simulate.sme import simulate_sme, sme_schema
from leanrisk.features.encoder import Encoder
from leanrisk.models.calibration import Calibration
from leanrisk.models.export import export_graph
from leanrisk.models.gbdt import Gbdt
from leanrisk.models.gbdt_fit import refit_gbdt
from leanrisk.models.incumbent import Reading
from leanrisk.models.onnx_session import GraphSession
from leanrisk.models.record_scorer import RecordScorer
from leanrisk.models.risk_config import preset_config
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.pipelines.measure import latency, records_of

_PRESETS = ("swift", "tiny", "mid")
_DEFAULT = "swift"
_FEATURES = (114, 217)
_LEAN = 114
"""Features of the lean model in the bars; the incumbent reads all 217."""
_P50_US, _P99_US, _USUAL, _ROWS_PER_S, _TIMES = 100.0, 250.0, 0.213, 100_000.0, 4.0
_RAMP = Calibration("isotonic", 0.8, 0.1, x=(-3.0, -2.0, -1.0, 0.0, 1.5), y=(-3.5, -2.5, -0.9, 0.2, 2.0))

Figures = dict[str, float | int | str]
_Route = tuple[Callable[[Any], float] | None, Sequence[Any]]


@dataclass(frozen=True)
class _Effort:
    rows: int
    trees: int
    calls: int
    rounds: int
    batch: int


_EFFORTS = {"smoke": _Effort(2_000, 20, 200, 1, 2_000), "full": _Effort(20_000, 1_000, 4_000, 5, 20_000)}
_LEAVES = 63


def run(preset: str, progress: Progress) -> Outcome:
    """Return p50 and p99 of single records on one thread, and rows a second of batches on one and two.

    The LightGBM is trained (1,000 trees of 63 leaves on 217 features). The lean models are not: their time does not
    depend on their weights. Every figure of a route is the median over several rounds, in which the routes take turns,
    so that what else the machine does meets all of them.
    """
    effort = _EFFORTS[preset]
    with progress.track("Preparing", total=3) as advance:
        books = {features: _book(features, effort.rows) for features in _FEATURES}
        advance(1)
        encoders = {features: Encoder.fit(book) for features, book in books.items()}
        scorers = {(name, n): _scorer(name, encoders[n]) for name in _PRESETS for n in _FEATURES}
        advance(1)
        incumbent = _incumbent(books[217], encoders[217], effort.trees)
        advance(1)
    figures: Figures = {
        "rows": effort.rows,
        "trees": incumbent.rounds,
        "leaves": _LEAVES,
        "calls": effort.calls,
        "rounds": effort.rounds,
        "weights": "LightGBM trained; lean models with first weights, whose time is that of taught ones",
    }
    figures |= {f"{name}_{n}_bytes": len(_graph(name, encoders[n])) for name, n in scorers}
    figures |= _single(_routes(scorers, incumbent, books), effort, progress)
    figures |= _batches(scorers, incumbent, books, encoders, effort, progress)
    figures["load_1m"] = round(os.getloadavg()[0], 2)
    return Outcome(figures, _bars(figures))


def _book(features: int, rows: int) -> Dataset:
    schema = sme_schema(features=features)
    return Dataset(conform(simulate_sme(rows=rows, features=features, seed=1), schema), schema)


def _graph(preset: str, encoder: Encoder) -> bytes:
    network = RiskTransformer(preset_config(preset, encoder.fields))
    return export_graph(network, encoder.fields, _RAMP)


def _scorer(preset: str, encoder: Encoder) -> RecordScorer:
    return RecordScorer(GraphSession(_graph(preset, encoder)), encoder.writer)


def _incumbent(book: Dataset, encoder: Encoder, trees: int) -> Gbdt:
    inputs, reading = encoder.inputs(book.frame), Reading(encoder.inputs, encoder.record)
    params = {"num_leaves": _LEAVES, "learning_rate": 0.02, "min_data_in_leaf": 20}
    return refit_gbdt(inputs, book.labels, encoder.fields, reading, params=params, rounds=trees, seed=1, threads=2)


def _routes(
    scorers: Mapping[tuple[str, int], RecordScorer], incumbent: Gbdt, books: Mapping[int, Dataset]
) -> dict[str, _Route]:
    """Return each route with what it is asked: records, or ready rows where a route takes nothing else."""
    records = {features: records_of(book, book.features) for features, book in books.items()}
    rows = [incumbent.bare_row(record) for record in records[217]]
    lean = {f"{name}_{n}": (scorer, records[n]) for (name, n), scorer in scorers.items()}
    return {
        **lean,
        "lightgbm_usual": (incumbent.usual(), records[217]),
        "lightgbm_bare": (incumbent.bare(), rows),
        "lightgbm_compiled": (incumbent.compiled(), rows),
    }


def _single(routes: Mapping[str, _Route], effort: _Effort, progress: Progress) -> Figures:
    taken: dict[str, list[Latency]] = {name: [] for name in routes}
    with progress.track("Asking one record at a time", total=effort.rounds * len(routes)) as advance:
        for _ in range(effort.rounds):
            for name, (route, asked) in routes.items():
                found = latency(route, asked, calls=effort.calls)
                if found is not None:
                    taken[name].append(found)
                advance(1)
    figures: Figures = {}
    for name, each in taken.items():
        figures[f"{name}_p50_us"] = round(1e3 * statistics.median(one.p50 for one in each), 2)
        figures[f"{name}_p99_us"] = round(1e3 * statistics.median(one.p99 for one in each), 2)
    return figures


def _batches(
    scorers: Mapping[tuple[str, int], RecordScorer],
    incumbent: Gbdt,
    books: Mapping[int, Dataset],
    encoders: Mapping[int, Encoder],
    effort: _Effort,
    progress: Progress,
) -> Figures:
    """Return rows a second from a table of raw columns to probabilities, the median over the rounds."""
    frames = {features: book.frame.head(effort.batch) for features, book in books.items()}
    asked: dict[str, Callable[[], object]] = {"lightgbm_2_threads": lambda: incumbent.predict(frames[217])}
    for (name, n), scorer in scorers.items():
        for threads in (1, 2):
            asked[f"{name}_{n}_{threads}_threads"] = partial(_answers, scorer, encoders[n], frames[n], threads)
    taken: dict[str, list[float]] = {name: [] for name in asked}
    with progress.track("Scoring batches", total=effort.rounds * len(asked)) as advance:
        for _ in range(effort.rounds):
            for name, ask in asked.items():
                began = time.perf_counter()
                ask()
                taken[name].append(time.perf_counter() - began)
                advance(1)
    rows = min(frame.height for frame in frames.values())
    return {f"{name}_rows_per_s": round(rows / statistics.median(each)) for name, each in taken.items()}


def _answers(scorer: RecordScorer, encoder: Encoder, frame: pl.DataFrame, threads: int) -> object:
    return scorer.session.probability(encoder.inputs(frame), threads=threads)


def _bars(figures: Figures) -> tuple[Bar, ...]:
    found = {name: float(value) for name, value in figures.items() if not isinstance(value, str)}
    lean = f"{_DEFAULT}_{_LEAN}"
    p50, batch = found[f"{lean}_p50_us"], found[f"{lean}_2_threads_rows_per_s"]
    return (
        Bar.at_most(f"{lean}: record to probability, p50 microseconds", p50, _P50_US),
        Bar.at_most(f"{lean}: record to probability, p99 microseconds", found[f"{lean}_p99_us"], _P99_US),
        Bar.at_most(f"{lean}: p50 as a share of LightGBM's usual way", p50 / found["lightgbm_usual_p50_us"], _USUAL),
        Bar.at_most(f"{lean}: p50 as a share of bare Booster.predict", p50 / found["lightgbm_bare_p50_us"], 1.0),
        Bar.at_least(f"{lean}: batch rows/s on 2 threads", batch, _ROWS_PER_S),
        Bar.at_least(f"{lean}: batch rows/s over LightGBM's", batch / found["lightgbm_2_threads_rows_per_s"], _TIMES),
    )
