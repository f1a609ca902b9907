"""How many requests a second, how late the slowest, how many rows of a batch; beside MLflow's server and FastAPI."""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from http.client import HTTPConnection
from pathlib import Path

import psutil

from benchmarks.runner import Bar
from benchmarks.serviced.books import Book
from benchmarks.serviced.effort import Effort, Figures
from benchmarks.serviced.load import Asked
from benchmarks.serviced.processes import Answers, Served, free_port, loaded, process, service, until_ready
from leanrisk.registry.bundle import Bundle
from leanrisk.registry.pyfunc import write_model

_PER_S, _P99_MS, _ROWS_PER_S = 1_500.0, 15.0, 100_000.0
_CONNECTIONS = 32
_IDLE, _IDLE_WITHIN_S = 10.0, 15.0
"""Percent of a core below which a process counts as idle, and the seconds that it is waited for."""
_BATCHES = 5
"""Batches of a round, after a first one that is not counted: it finds no memory of its own yet."""


def measured(place: Path, book: Book, effort: Effort) -> tuple[Figures, list[Bar]]:
    """Return figures and bars; ours and the rivals' take turns, and the median of the rounds counts."""
    folder = place / "speed"
    folder.mkdir()
    settings = f'bundle = "{book.bundle}"\n[limits]\nbatch_rows = 10000000\n'
    found: dict[str, list[Answers]] = {}
    batches: list[float] = []
    with (
        service(folder, settings) as ours,
        _mlflow(folder, book) as mlflow,
        _bare(folder, "lightgbm", book.lightgbm) as trees,
        _bare(folder, "bundle", book.bundle) as same,
    ):
        sides = {"score": (ours, book.records, "/score"), "mlflow": (mlflow, book.mlflow, "/invocations")}
        sides |= {"bare_lightgbm": (trees, book.records, "/score"), "bare_bundle": (same, book.records, "/score")}
        for _ in range(effort.rounds):
            for name, (one, bodies, path) in sides.items():
                asked = Asked(one.port, path, str(bodies), effort.seconds / (1 if name == "score" else 2), _CONNECTIONS)
                found.setdefault(f"{name}_full", []).append(loaded(asked))
                _until_idle(one)
                if name == "score":
                    asked.rate = _PER_S / 2
                    found.setdefault("score_half", []).append(loaded(asked))
                    batches += [_batch(ours, book) for _ in range(_BATCHES + 1)][1:]
    figures: Figures = {}
    for name, each in found.items():
        figures[f"{name}_requests_per_s"] = round(statistics.median(one.per_s for one in each), 1)
        figures[f"{name}_p50_ms"] = round(statistics.median(one.p50_ms for one in each), 2)
        figures[f"{name}_p99_ms"] = round(statistics.median(one.p99_ms for one in each), 2)
        figures[f"{name}_failed"] = sum(one.failed for one in each)
    figures |= {"batch_rows": book.batch_rows, "batch_rows_per_s": round(statistics.median(batches))}
    return figures, [
        Bar.at_least("/score with a durable log, requests/s", float(figures["score_full_requests_per_s"]), _PER_S),
        Bar.at_most("/score at half that load, p99 ms", float(figures["score_half_p99_ms"]), _P99_MS),
        Bar.at_least("/score/batch, rows/s", float(figures["batch_rows_per_s"]), _ROWS_PER_S),
    ]


def flush_ms(place: Path) -> float:
    """Return what the disk takes for an append of a record and its flush, the median of 100."""
    taken = []
    file = os.open(place / "flush", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for _ in range(100):
        began = time.perf_counter()
        os.write(file, b"x" * 2_000)
        os.fdatasync(file)
        taken.append(time.perf_counter() - began)
    os.close(file)
    return round(1e3 * statistics.median(taken), 3)


def _until_idle(one: Served) -> None:
    """Return once a process has answered what was still asked of it, so that the next one has the machine."""
    process, end = psutil.Process(one.process.pid), time.monotonic() + _IDLE_WITHIN_S
    while process.cpu_percent(0.3) > _IDLE and time.monotonic() < end:
        pass


def _batch(ours: Served, book: Book) -> float:
    body = book.batch.read_bytes()
    one = HTTPConnection("127.0.0.1", ours.port, timeout=300)
    began = time.perf_counter()
    one.request("POST", "/score/batch", body, {"Content-Type": "application/vnd.apache.arrow.stream"})
    answer = one.getresponse()
    told = answer.read()
    taken = time.perf_counter() - began
    one.close()
    if answer.status != 200:
        raise RuntimeError(f"a batch was refused: {told[:500]!r}")
    return book.batch_rows / taken


@contextlib.contextmanager
def _ready(command: list[str], folder: Path, port: int, more: dict[str, str], path: str) -> Iterator[Served]:
    with process(command, folder, port, more) as one:
        until_ready(one, path)
        yield one


def _mlflow(folder: Path, book: Book) -> AbstractContextManager[Served]:
    """Return MLflow's own scoring server on the same bundle, started as `mlflow models serve` starts it."""
    write_model(Bundle.load(book.bundle), folder / "flavour")
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "mlflow.pyfunc.scoring_server.app:app", "--port", str(port)]
    return _ready(command, folder, port, {"__pyfunc_model_path__": str(folder / "flavour")}, "/ping")


def _bare(folder: Path, kind: str, model: Path) -> AbstractContextManager[Served]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", f"benchmarks.serviced.bare_{kind}:app", "--port", str(port)]
    command += ["--log-level", "warning", "--no-access-log"]
    return _ready(command, folder, port, {"LEANRISK_BENCH_MODEL": str(model)}, "/health")
