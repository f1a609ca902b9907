"""How long a generator of 100,000 rows and 50 columns learns, in how much memory, and how fast it draws rows."""

from __future__ import annotations

import time

import numpy as np
import polars as pl

from leanrisk.core.progress import Progress
from leanrisk.core.seeding import generator
from leanrisk.cost.meter import Meter
from leanrisk.models.synthesis.row_generator import learn
from leanrisk.models.synthesis.sampling import Sampling, originals_of
from leanrisk.models.synthesis.settings import GeneratorConfig

_NUMBERS = 39


def table(rows: int) -> pl.DataFrame:
    """Return 39 skewed, correlated numbers, some with gaps, ten categories, and a class of 1 %: 50 columns."""
    rng = generator(5, "speed")
    base = rng.normal(size=(rows, 8))
    columns: dict[str, object] = {}
    for place in range(_NUMBERS):
        values = np.exp(base @ rng.normal(size=8) * 0.3 + 0.5 * rng.normal(size=rows))
        columns[f"number_{place}"] = np.where(rng.random(rows) < (0.1 if place % 4 == 0 else 0.0), np.nan, values)
    for place in range(10):
        columns[f"level_{place}"] = np.array(list("abcdefgh"))[np.clip(base @ rng.normal(size=8) + 4, 0, 7).astype(int)]
    bad = (base[:, 0] > np.quantile(base[:, 0], 0.99)).astype(np.int8)
    return pl.DataFrame(columns).fill_nan(None).with_columns(bad=pl.Series(bad))


def speed(full: bool, progress: Progress) -> dict[str, float | int]:
    """Return seconds and MiB of learning, and rows a second drawn with copies refused, for the default generator."""
    frame = table(100_000 if full else 2_000)
    config = GeneratorConfig() if full else GeneratorConfig(steps=50)
    with Meter() as meter:
        learned = learn(frame, conditions=["bad"], config=config, seed=1, progress=progress)
    sampling = Sampling(learned, {"bad": 1}, seed=1, originals=originals_of(learned, frame, seed=1))
    rows = 400_000 if full else 10_000
    began = time.perf_counter()
    drawn = sum(part.height for part in sampling.frames(rows))
    return {
        "generator_rows": frame.height,
        "generator_columns": frame.width,
        "generator_learning_s": round(meter.cost.wall_s, 1),
        "generator_learning_cpu_s": round(meter.cost.cpu_s, 1),
        "generator_peak_rss_mb": round(meter.cost.peak_rss_mb),
        "generator_rows_per_s": round(drawn / (time.perf_counter() - began)),
        "generator_refused_copies": sampling.refused.memorised,
    }
