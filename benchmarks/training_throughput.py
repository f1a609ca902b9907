"""Training throughput: rows a second of forward, backward and update at 114 features, by preset and threads."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass

import numpy as np

from benchmarks.runner import Bar, Outcome
from leanrisk.core.dataset import Dataset, conform
from leanrisk.core.progress import Progress
from leanrisk.core.seeding import generator
from leanrisk.data.simulate.sme import simulate_sme, sme_schema
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.models.lesson import Lesson
from leanrisk.models.risk_config import preset_config
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import train
from leanrisk.models.training_config import TrainingConfig

_FEATURES = 114
_ROWS = {"smoke": 2_000, "full": 20_000}
_RUNS = {"smoke": 1, "full": 7}
_MODELS = {("swift", 48): 40_000.0, ("tiny", 48): 10_000.0, ("tiny", 255): 10_000.0}
"""Preset and bins of what is taught, and the bar in rows a second on two cores."""
_CASES = tuple((model, bins, threads) for model, bins in _MODELS for threads in (1, 2))


@dataclass(frozen=True)
class _Taken:
    wall_s: float
    cpu_s: float


def run(preset: str, progress: Progress) -> Outcome:
    """Return rows a second of one taught epoch, the fastest and the median of several, and CPU-seconds per row.

    The teacher is noise around the truth: what is learned does not matter here. The fastest run is what the machine
    can do; the median shows how much else it had to do.
    """
    rows, runs = _ROWS[preset], _RUNS[preset]
    lessons = {bins: _lesson(rows, bins) for bins in {bins for _, bins, _ in _CASES}}
    figures: dict[str, float | int | str] = {"rows": rows, "features": _FEATURES, "runs": runs}
    with progress.track("Teaching", total=len(_CASES) * runs) as advance:
        for model, bins, threads in _CASES:
            encoder, lesson = lessons[bins]
            network = RiskTransformer(preset_config(model, encoder.fields))
            taken = []
            for _ in range(runs):
                taken.append(_epoch(network, lesson, threads=threads))
                advance(1)
            name = f"{model}_{bins}_bins_{threads}_threads"
            figures[f"{model}_{bins}_bins_parameters"] = network.num_parameters()
            figures[f"{name}_rows_per_s"] = round(rows / min(t.wall_s for t in taken))
            figures[f"{name}_median_rows_per_s"] = round(rows / statistics.median(t.wall_s for t in taken))
            figures[f"{name}_cpu_us_per_row"] = round(1e6 * min(t.cpu_s for t in taken) / rows, 1)
    figures["load_1m"] = round(os.getloadavg()[0], 2)
    return Outcome(figures=figures, bars=_bars(figures))


def _bars(figures: dict[str, float | int | str]) -> tuple[Bar, ...]:
    return tuple(
        Bar.at_least(
            f"{model} with {bins} bins, 2 threads, rows/s",
            float(figures[f"{model}_{bins}_bins_2_threads_rows_per_s"]),
            bar,
        )
        for (model, bins), bar in _MODELS.items()
    )


def _lesson(rows: int, bins: int) -> tuple[Encoder, Lesson]:
    schema = sme_schema(features=_FEATURES)
    book = Dataset(conform(simulate_sme(rows=rows, features=_FEATURES, seed=1), schema), schema)
    encoder = Encoder.fit(book, EncoderConfig(bins=bins))
    opinion = book.labels + generator(1, "teacher").normal(-3.0, 1.0, rows)
    return encoder, Lesson(encoder.lookups(encoder.inputs(book.frame)), book.labels, opinion.astype(np.float32))


def _epoch(network: RiskTransformer, lesson: Lesson, *, threads: int) -> _Taken:
    """Teach one epoch; a held-out part of one row keeps the early-stopping look out of the figure."""
    held_out = Lesson(lesson.lookups.take(slice(0, 1)), lesson.targets[:1])
    cpu, wall = time.process_time(), time.perf_counter()
    train(network, lesson, held_out=held_out, config=TrainingConfig(epochs=1, threads=threads), seed=0)
    return _Taken(time.perf_counter() - wall, time.process_time() - cpu)
