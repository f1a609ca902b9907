"""What a benchmark hands back, and how it is found, run and written down.

A benchmark is a module of this folder with `run(preset, progress) -> Outcome`; its file name is its name.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from leanrisk.core.errors import ConfigError
from leanrisk.core.files import write_json
from leanrisk.core.progress import Progress
from leanrisk.pipelines.machine import processor

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
PRESETS = ("smoke", "full")

Figures = Mapping[str, float | int | str]


@dataclass(frozen=True)
class Bar:
    """One thing a benchmark must reach: what, the value that was measured, the bar, and whether it was reached."""

    what: str
    value: float
    bar: float
    passed: bool

    @classmethod
    def at_most(cls, what: str, value: float, bar: float) -> Bar:
        """Return the bar that `value` passes by being `bar` or less."""
        return cls(what, value, bar, value <= bar)

    @classmethod
    def at_least(cls, what: str, value: float, bar: float) -> Bar:
        """Return the bar that `value` passes by being `bar` or more."""
        return cls(what, value, bar, value >= bar)


@dataclass(frozen=True)
class Outcome:
    """What a benchmark measured: figures by name (the unit ends the name: `_s`, `_ms`, `_rows_per_s`), and its bars."""

    figures: Figures
    bars: tuple[Bar, ...]


Run = Callable[[str, Progress], Outcome]


def names() -> tuple[str, ...]:
    """Return the names of all benchmarks, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "runner")))


def run_named(name: str, *, preset: str, progress: Progress, results: Path = RESULTS) -> dict[str, Any]:
    """Run the benchmark `name`, write `results`/NAME.json and return what was written.

    Raises `ConfigError` for an unknown name or preset, `OutputError` where the result cannot be written.
    """
    if name not in names():
        raise ConfigError(f"A benchmark is one of {', '.join(names())}: '{name}' is not. Choose one of them.")
    if preset not in PRESETS:
        raise ConfigError(f"A preset is one of {', '.join(PRESETS)}: '{preset}' is not. Choose one of them.")
    run: Run = import_module(f"{__package__}.{name}").run
    began = time.perf_counter()
    outcome = run(preset, progress)
    result = {
        "name": name,
        "commit": commit(),
        "machine": _machine(),
        "preset": preset,
        "figures": {"seconds": round(time.perf_counter() - began, 3), **outcome.figures},
        "bars": [asdict(bar) for bar in outcome.bars],
    }
    write_json(results / f"{name}.json", result)
    return result


def commit() -> str:
    """Return the commit that runs, marked where files have changed since; "unknown" outside a repository."""
    described = _git("describe", "--always", "--abbrev=12", "--exclude=*", "--dirty")
    return described or "unknown"


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=FOLDER, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
