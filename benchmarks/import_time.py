"""Import time: how long a fresh interpreter takes to answer `leanrisk --help` and to import the package."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.runner import Bar, Outcome
from leanrisk.core.progress import Advance, Progress

_RUNS = {"smoke": 3, "full": 21}
_COMMANDS = {
    "bare_interpreter": ["-c", "pass"],
    "leanrisk_help": ["-m", "leanrisk", "--help"],
    "import_leanrisk": ["-c", "import leanrisk"],
    "import_serve_scoring": ["-c", "import leanrisk.serve.scoring"],
}


def run(preset: str, progress: Progress) -> Outcome:
    """Return the median, fastest and slowest wall seconds of each command, each in an interpreter of its own."""
    figures: dict[str, float | int | str] = {"runs": _RUNS[preset]}
    with progress.track("Starting interpreters", total=len(_COMMANDS) * (_RUNS[preset] + 1)) as advance:
        for name, words in _COMMANDS.items():
            seconds = [_seconds(words, advance=advance) for _ in range(_RUNS[preset] + 1)][1:]
            figures[f"{name}_median_s"] = round(statistics.median(seconds), 4)
            figures[f"{name}_min_s"] = round(min(seconds), 4)
            figures[f"{name}_max_s"] = round(max(seconds), 4)
    return Outcome(
        figures=figures,
        bars=(
            Bar.at_most("leanrisk --help, median seconds", float(figures["leanrisk_help_median_s"]), 0.3),
            Bar.at_most(
                "import leanrisk, median seconds above a bare interpreter",
                round(float(figures["import_leanrisk_median_s"]) - float(figures["bare_interpreter_median_s"]), 4),
                0.02,
            ),
            Bar.at_most(
                "import leanrisk.serve.scoring, median seconds", float(figures["import_serve_scoring_median_s"]), 0.5
            ),
        ),
    )


def _seconds(words: list[str], *, advance: Advance) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    took = time.perf_counter() - began
    advance(1)
    return took
