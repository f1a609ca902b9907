"""The processes that the benchmark of the service starts: services, rivals and load, each ended at the end."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.request import urlopen

import numpy as np

from benchmarks.serviced.load import Asked
from leanrisk.core.errors import LeanRiskError

ROOT = Path(__file__).parents[2]
_START_S = 60.0
_NEVER_MS = 1e9
"""The latency of a load that got no answer: it misses every bar, and JSON can hold it."""


@dataclass
class Served:
    """A process that answers on `port`."""

    process: subprocess.Popen[bytes]
    port: int


@dataclass
class Answers:
    """What a load found: requests a second, latencies in ms, failures, and lines of answers where they were asked."""

    per_s: float
    p50_ms: float
    p99_ms: float
    good: int
    failed: int
    lost: int
    lines: list[list[str]] = field(default_factory=list)


def environment() -> dict[str, str]:
    """Return the environment of every process: this checkout, one thread per library."""
    path = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


@dataclass(frozen=True)
class Begun:
    """A load that runs, and the file that takes what it finds."""

    process: subprocess.Popen[str]
    found: IO[str]


@contextlib.contextmanager
def service(folder: Path, settings: str) -> Iterator[Served]:
    """Yield `leanrisk serve` with these settings, ready."""
    port = free_port()
    file = folder / f"serve-{port}.toml"
    file.write_text(f"port = {port}\nnotice_s = 0.0\n{settings}")
    with process([sys.executable, "-m", "leanrisk", "serve", "--config", str(file)], folder, port) as one:
        until_ready(one, "/v2/health/ready")
        yield one


@contextlib.contextmanager
def process(command: list[str], folder: Path, port: int, more: dict[str, str] | None = None) -> Iterator[Served]:
    """Yield a process; at the end it is asked to end, then made to."""
    with open(folder / f"log-{port}.txt", "ab") as log:
        one = subprocess.Popen(
            command, cwd=folder, env={**environment(), **(more or {})}, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield Served(one, port)
        finally:
            one.terminate()
            try:
                one.wait(30)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()


def until_ready(one: Served, path: str) -> None:
    """Return once the process answers 200 there."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end and one.process.poll() is None:
        with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{one.port}{path}", timeout=5):
            return
        time.sleep(0.02)
    raise LeanRiskError(f"A service must be ready within {_START_S:g} s: port {one.port} is not. Read its log.")


def begun(asked: Asked) -> Begun:
    """Start a load."""
    # A file, not a pipe: a full pipe would hold the load up until somebody reads what it found.
    found = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115 -- `ended` closes it
    one = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.serviced.load"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=found,
        text=True,
    )
    assert one.stdin is not None
    one.stdin.write(json.dumps(asdict(asked)))
    one.stdin.close()
    return Begun(one, found)


def ended(load: Begun, asked: Asked) -> Answers:
    """Return what a load found, when it has."""
    with load.found:
        if load.process.wait() != 0:
            raise LeanRiskError("A load must tell what it found: it failed. Its traceback is above.")
        load.found.seek(0)
        told: dict[str, Any] = json.load(load.found)
    taken = np.array(told["taken"] or [_NEVER_MS])
    good = told["statuses"].get("200", 0)
    lines = [line.split() for line in Path(asked.answers).read_text("ascii").splitlines()] if asked.answers else []
    return Answers(
        good / (told["ended"] - told["began"]),
        float(np.median(taken)),
        float(np.quantile(taken, 0.99)),
        good,
        sum(told["statuses"].values()) - good + told["lost"],
        told["lost"],
        lines,
    )


def loaded(asked: Asked) -> Answers:
    """Return what a load found."""
    return ended(begun(asked), asked)


def free_port() -> int:
    """Return a port that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder on the disk that the checkout is on, since a log's flushes are what is measured."""
    return tempfile.TemporaryDirectory(prefix=".service-bench-", dir=ROOT, ignore_cleanup_errors=True)
