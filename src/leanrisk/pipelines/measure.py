"""Quality and cost of a model, measured with the very route that serves it."""

from __future__ import annotations

import datetime as dt
import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError
from leanrisk.core.measurement import Latency, Measurement
from leanrisk.evaluate.alerts import NO_CASE, Stakes
from leanrisk.evaluate.quality import quality
from leanrisk.models.incumbent import Incumbent
from leanrisk.pipelines.recipe import MeasureConfig
from leanrisk.techniques.base import Candidate

_WARM_UP = 200
_RECORDS = 500
_BATCH_ROWS = 20_000
_QUICK_CALLS = 500
_QUICK_RESAMPLES = 200
_DAY_US = 86_400_000_000


def measured(
    candidate: Candidate, rows: Dataset, *, config: MeasureConfig, seed: int, quick: bool = False
) -> Measurement:
    """Return quality on `rows` with intervals, latency of single records and batch throughput.

    `quick` takes fewer resamples and calls, for the steps in between.
    """
    model = candidate.model
    resamples = min(config.resamples, _QUICK_RESAMPLES) if quick else config.resamples
    calls = min(config.calls, _QUICK_CALLS) if quick else config.calls
    began = time.perf_counter()
    scores = model.predict(rows.frame)
    elapsed = time.perf_counter() - began
    return Measurement(
        quality=quality(
            rows.labels,
            scores,
            seed=seed,
            budget=config.budget,
            resamples=resamples,
            stakes=stakes_of(rows, config),
        ),
        features=len(candidate.columns),
        bytes=candidate.size_bytes,
        latency_ms=latency(candidate.route(rows.schema), asked_of(candidate, rows), calls=calls),
        rows_per_s=rows.rows / elapsed if elapsed > 0 else None,
    )


def stakes_of(rows: Dataset, config: MeasureConfig) -> Stakes | None:
    """Return amounts, cases and days of the rows where the recipe names such columns; None where it names neither.

    An amount that is missing counts 0. Raises `ConfigError` for a column that the table lacks.
    """
    if not config.amount and not config.case:
        return None
    for key, name in (("amount", config.amount), ("case", config.case)):
        if name and name not in rows.frame.columns:
            listed = ", ".join(rows.frame.columns)
            raise ConfigError(
                f"measure.{key} names a column of the table: '{name}' is none. Correct it, or remove it: {listed}."
            )
    amounts = cases = times = None
    if config.amount:
        amounts = rows.frame[config.amount].cast(pl.Float64, strict=False).fill_null(0.0).to_numpy()
    if config.case:
        places = rows.frame[config.case].rank("dense").cast(pl.Int64)
        cases = places.fill_null(NO_CASE).to_numpy()
        times = _days(rows)
    return Stakes(amounts, cases, times)


def _days(rows: Dataset) -> npt.NDArray[np.float64] | None:
    if rows.schema.time is None:
        return None
    column = rows.frame[rows.schema.time]
    if column.dtype.is_temporal():
        return (column.cast(pl.Datetime("us")).cast(pl.Int64) / _DAY_US).to_numpy()
    return column.cast(pl.Float64).to_numpy()


def latency(route: Callable[[Any], float] | None, asked: Sequence[Any], *, calls: int) -> Latency | None:
    """Return p50 and p99 in milliseconds over `calls` single calls after warm-up; None where there is no route."""
    if route is None or not asked:
        return None
    for record in islice(cycle(asked), _WARM_UP):
        route(record)
    taken = np.empty(calls)
    # Collecting the garbage of the whole run, which here lives in the same process, is no part of a decision.
    gc.disable()
    try:
        for place, record in enumerate(islice(cycle(asked), calls)):
            began = time.perf_counter_ns()
            route(record)
            taken[place] = time.perf_counter_ns() - began
    finally:
        gc.enable()
    return Latency(float(np.median(taken)) / 1e6, float(np.quantile(taken, 0.99)) / 1e6, calls)


def bare_latency(model: Incumbent, records: Sequence[Mapping[str, Any]], *, calls: int) -> Latency | None:
    """Return the latency of the model's own one-row call on a ready numpy row."""
    return latency(model.bare(), [model.bare_row(record) for record in records] if model.bare() else [], calls=calls)


def compiled_latency(model: Incumbent, records: Sequence[Mapping[str, Any]], *, calls: int) -> Latency | None:
    """Return the latency of the model's fastest exact route on a ready numpy row, or None where it has none."""
    route = model.compiled()
    return latency(route, [model.bare_row(record) for record in records] if route else [], calls=calls)


def throughput(candidate: Candidate, rows: Dataset) -> float:
    """Return scored rows per second in one batch of up to 20,000 rows, the better of two tries."""
    frame = rows.frame.head(_BATCH_ROWS)
    best = 0.0
    for _ in range(2):
        began = time.perf_counter()
        candidate.model.predict(frame)
        best = max(best, frame.height / (time.perf_counter() - began))
    return best


def asked_of(candidate: Candidate, rows: Dataset) -> list[dict[str, Any]]:
    """Return records to ask the candidate, decided just after its memory's clock where it has one, as a service is."""
    records = records_of(rows, candidate.columns)
    time, memory = rows.schema.time, candidate.memory
    if time is None or memory is None or not math.isfinite(memory.clock):
        return records
    kind = rows.frame.schema[time]
    now: Any = memory.clock
    if kind.is_temporal():
        # The first whole day that begins after the clock.
        now = dt.datetime(1970, 1, 1) + dt.timedelta(days=math.floor(memory.clock) + 1)
        now = now.date() if kind == pl.Date else now
    return [{**record, time: now} for record in records]


def records_of(rows: Dataset, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return up to 500 records of raw fields, spread over the rows, with the decision time if there is one."""
    wanted = [*names, *((rows.schema.time,) if rows.schema.time else ())]
    present = [name for name in dict.fromkeys(wanted) if name in rows.frame.columns]
    places = np.linspace(0, rows.rows - 1, min(rows.rows, _RECORDS)).astype(np.int64)
    frame: pl.DataFrame = rows.frame.select(present)[places]
    return frame.to_dicts()
