"""Every way into int8 of one network, side by side: bytes, scores, latency by turns, and what making it cost."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.quantized.books import Taught
from leanrisk.core.schema import Schema
from leanrisk.cost.meter import Meter
from leanrisk.models.calibration import Calibration
from leanrisk.models.quantization import Arithmetic, Quantization
from leanrisk.pipelines.measure import records_of
from leanrisk.registry.bundle import Bundle, write_bundle
from leanrisk.registry.reference import reference_rows
from leanrisk.techniques.classroom import Classroom, Scale
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.quantize import company_effect
from leanrisk.techniques.rounding import Rounding, Route, in_int8

ROUTES: Mapping[str, tuple[Route, Arithmetic]] = {
    "static": ("static", "unpacked"),
    "static_int8": ("static", "int8"),
    "dynamic": ("dynamic", "dynamic"),
    "qat": ("qat", "unpacked"),
    "qat_int8": ("qat", "int8"),
}
"""Routes by name: how the weights come about, and how the graph reckons. The names without int8 unpack their codes."""
SCORING = ("model.onnx", "encoder.json", "schema.toml")
_CALLS = 400
_TURNS, _BATCH_TURNS = 21, 5
"""Turns of single records, many and short, since neighbours on a shared machine hold it for seconds; and of batches."""
_WARM_UP = 100
_BATCH = 20_000

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Made:
    """One model as a bundle, what its making cost in CPU-seconds, and its scores on the test part."""

    model: LeanModel
    cpu_s: float
    bytes: int
    graph_bytes: int
    folder_bytes: int
    scores: Scores


def fp32(book: Taught) -> Made:
    """Return the network as it is shipped without int8."""
    return _weighed(book.model, 0.0, book)


def packed_fp32(book: Taught) -> Made:
    """Return the network in fp32 with everything else that makes an int8 bundle small: the simple remedy."""
    model = book.model
    packed = LeanModel.exported(
        model.encoder,
        model.network,
        model.calibration,
        like=book.bench.valid.frame,
        plan=Quantization(()),
        **model.facts,
    )
    return _weighed(packed, 0.0, book)


def by_route(book: Taught, name: str, *, epochs: int) -> Made:
    """Return the network after one route of `ROUTES`."""
    route, arithmetic = ROUTES[name]
    usual = Rounding()
    how = replace(
        usual,
        route=route,
        arithmetic=arithmetic,
        training=replace(usual.training, epochs=epochs, threads=1),
        classroom=Classroom(copies=2),
    )
    with Meter() as meter:
        made = in_int8(book.model, book.bench, how, scale=scale_of(book.model.calibration))
    return _weighed(made, meter.cost.cpu_s, book)


def scale_of(calibration: Calibration) -> Scale:
    """Return the unit that the network's numbers are in."""
    return Scale(calibration.intercept, calibration.slope) if calibration.link == "identity" else Scale()


def _weighed(model: LeanModel, cpu_s: float, book: Taught) -> Made:
    with TemporaryDirectory(prefix="leanrisk-c6-") as folder:
        bundle = bundle_of(model, Path(folder) / "bundle", book.test.schema.keeping(model.features))
        sizes = {file.name: file.stat().st_size for file in bundle.folder.iterdir() if file.is_file()}
    return Made(
        model=model,
        cpu_s=cpu_s,
        bytes=sum(sizes[name] for name in SCORING),
        graph_bytes=sizes["model.onnx"],
        folder_bytes=sum(sizes.values()),
        scores=model.predict(book.test.frame),
    )


def bundle_of(model: LeanModel, folder: Path, schema: Schema) -> Bundle:
    """Return the model's bundle as a run writes it, without what only a later round needs."""
    return write_bundle(
        folder,
        graph=model.graph,
        encoder=model.scoring_encoder,
        schema=schema,
        reference=reference_rows(model.encoder),
        card={"features": list(model.features)},
        facts={"precision": model.precision},
    )


def timed(models: Mapping[str, LeanModel], book: Taught, *, calls: int = _CALLS) -> dict[str, dict[str, float]]:
    """Return p50 and p99 in microseconds of single records and rows per second in a batch, one thread each.

    The models are asked by turns, and the best turn counts: the machine is shared, and noise only ever adds.
    """
    first = next(iter(models.values()))
    records = records_of(book.test, first.features)
    frame = book.test.frame.head(_BATCH)
    routes = {name: model.usual() for name, model in models.items()}
    for route in routes.values():
        for record in records[:_WARM_UP]:
            route(record)
    best = {name: {"p50_us": np.inf, "p99_us": np.inf, "rows_per_s": 0.0} for name in models}
    for turn in range(_TURNS):
        for name, route in routes.items():
            p50, p99 = _latency(route, records, calls)
            speed = _speed(models[name], frame) if turn < _BATCH_TURNS else 0.0
            known = best[name]
            known |= {
                "p50_us": min(known["p50_us"], p50),
                "p99_us": min(known["p99_us"], p99),
                "rows_per_s": max(known["rows_per_s"], speed),
            }
    return best


def _speed(model: LeanModel, frame: pl.DataFrame) -> float:
    began = time.perf_counter()
    model.predict(frame)
    return frame.height / (time.perf_counter() - began)


def _latency(route: Callable[[Any], float], records: list[dict[str, Any]], calls: int) -> tuple[float, float]:
    taken = np.empty(calls)
    gc.disable()
    try:
        for place in range(calls):
            record = records[place % len(records)]
            began = time.perf_counter_ns()
            route(record)
            taken[place] = time.perf_counter_ns() - began
    finally:
        gc.enable()
    return float(np.median(taken)) / 1e3, float(np.quantile(taken, 0.99)) / 1e3


def company(made: Made, book: Taught) -> float:
    """Return by how much a row's score depends on the rows beside it."""
    return company_effect(made.model, made.model.encoder.inputs(book.test.frame.head(64)))
