"""A column of texts as a field of a table: what it brings out of time, what a leaked one would cost, and its price.

Slim trees with fixed parameters are fitted on the same training rows without the texts' number, with it out of fold (as
the step 'text' gives it), and with the leaked one of a model that saw the rows; all are held out of time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.distilled.text_rows import cpu_ms_per_1000
from benchmarks.runner import Bar, Outcome
from leanrisk.core.dataset import Dataset
from leanrisk.core.measurement import Interval
from leanrisk.core.metrics import auc
from leanrisk.core.progress import Progress
from leanrisk.core.schema import Kind
from leanrisk.core.seeding import derived_seed
from leanrisk.core.text_fields import text_field_of
from leanrisk.data.load import load
from leanrisk.data.simulate.purpose import PURPOSE
from leanrisk.data.simulate.sme import simulate_sme, sme_schema
from leanrisk.data.split import split
from leanrisk.evaluate.delong import auc_difference
from leanrisk.features.encoder import Encoder
from leanrisk.models.gbdt_fit import slim_gbdt
from leanrisk.models.incumbent import Reading
from leanrisk.pipelines.job import Job
from leanrisk.pipelines.newest_slice import newest_slice
from leanrisk.pipelines.recipe import Recipe, SimulatedData, Step

_SEEDS = {"smoke": (0,), "full": (0, 1, 2)}
_ROWS = {"smoke": 4_000, "full": 40_000}
_FEATURES = {"smoke": 20, "full": 80}
_FIELD = text_field_of(PURPOSE.name)

Scores = npt.NDArray[np.float64]


def run(preset: str, progress: Progress) -> Outcome:
    """Return the gain in AUC with its 95 % interval, by seed and in the mean, and the price of reading a text."""
    gains, leaked, figures = [], [], dict[str, float | int | str]()
    data = SimulatedData("sme", _ROWS[preset], _FEATURES[preset], text=True)
    for seed in _each(_SEEDS[preset], progress):
        found = _measured(data, seed)
        gains.append(found["gain"])
        leaked.append(found["leaked"])
        figures |= {f"seed_{seed}_{name}": value for name, value in found["figures"].items()}
    gain, lost = _mean(gains), _mean(leaked)
    figures |= {"rows": data.rows, "features": data.features, "seeds": len(gains)}
    figures |= {**_told("gain_auc", gain), **_told("leaked_auc", lost)}
    bars = (
        Bar.at_least("AUC out of time that the text brings, lower 95 % bound in the mean of seeds", gain.lo, 0.0),
        Bar.at_least("Seeds whose own lower bound is above zero", sum(each.lo > 0 for each in gains), len(gains)),
    )
    return Outcome(figures, bars)


def _each(seeds: Iterable[int], progress: Progress) -> Iterable[int]:
    """Yield the seeds, each told as it is done."""
    seeds = tuple(seeds)
    with progress.track("reading purposes", len(seeds)) as advance:
        for seed in seeds:
            yield seed
            advance(1)


def _measured(data: SimulatedData, seed: int) -> dict[str, Any]:
    frame = simulate_sme(rows=data.rows, features=data.features, seed=seed, text=True)
    dataset = load(frame, sme_schema(features=data.features, text=True))
    recipe = Recipe("text-field", steps=(Step("text"),))
    with TemporaryDirectory() as folder:
        job = Job.open(dataset, recipe, out=Path(folder) / "run", seed=seed)
    assert job.texts is not None
    model = job.texts.models[PURPOSE.name]
    older = newest_slice(job.parts.train, recipe.refresh.slice, seed=seed)[0]
    test = split(job.dataset, recipe.split, seed=seed).open_test()
    known = dataset.schema.features_of(Kind.NUMERIC, Kind.DATE, Kind.CATEGORY)
    seen = older.frame.with_columns(pl.Series(_FIELD, model.log_odds(older.frame[PURPOSE.name].to_list())))
    without = _scores(older.keeping(known), test, seed)
    honest = _scores(older.keeping((*known, _FIELD)), test, seed)
    leaked = _scores(replace(older, frame=seen).keeping((*known, _FIELD)), test, seed)
    labels, alone = test.labels, test.frame[_FIELD].fill_nan(None).fill_null(strategy="mean").to_numpy()
    gain, cost = auc_difference(labels, without, honest), auc_difference(labels, honest, leaked)
    texts = [text for text in test.frame[PURPOSE.name].head(2_000).to_list() if text]
    figures = {
        "auc_without": round(auc(labels, without), 4),
        "auc_with": round(auc(labels, honest), 4),
        "auc_leaked": round(auc(labels, leaked), 4),
        "auc_text_alone": round(auc(labels, alone), 4),
        **_told("gain_auc", gain),
        "text_bytes": model.size_bytes,
        "text_cpu_us": round(cpu_ms_per_1000(lambda asked: np.array([model.log_odds_of(asked[0])]), texts), 1),
    }
    return {"gain": gain, "leaked": cost, "figures": figures}


def _scores(rows: Dataset, test: Dataset, seed: int) -> Scores:
    encoder = Encoder.fit(rows)
    reading = Reading(frame=encoder.inputs, record=encoder.record)
    trees = slim_gbdt(
        encoder.inputs(rows.frame), rows.labels, encoder.fields, reading, seed=derived_seed(seed, "text-field bench")
    )
    return trees.predict(test.frame)


def _mean(found: list[Interval]) -> Interval:
    """Return the mean of independent books' differences with the interval of that mean."""
    value = float(np.mean([each.value for each in found]))
    half = sqrt(sum(((each.hi - each.lo) / 2) ** 2 for each in found)) / len(found)
    return Interval(value, value - half, value + half)


def _told(name: str, found: Interval) -> dict[str, float]:
    return {name: round(found.value, 4), f"{name}_lo": round(found.lo, 4), f"{name}_hi": round(found.hi, 4)}
