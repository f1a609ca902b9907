"""Promotions, two bad snapshots and rollbacks under load: who is refused, who answers, and how soon."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from benchmarks.runner import Bar
from benchmarks.serviced.books import Book, variant
from benchmarks.serviced.effort import Effort, Figures
from benchmarks.serviced.load import Asked
from benchmarks.serviced.processes import Served, begun, ended, environment, service
from leanrisk.records.journal import Action
from leanrisk.registry.bundle import Bundle
from leanrisk.registry.place import RegistryConfig
from leanrisk.registry.registry import Registry

_RATE = 400.0
_ROLLBACK_S = 2.0
_BAD_S = 3.0
"""How long a bad snapshot is asked for; the service looks every second."""


def measured(place: Path, book: Book, effort: Effort) -> tuple[Figures, list[Bar]]:
    """Return figures and bars."""
    folder = place / "swaps"
    folder.mkdir()
    registry = Registry.open(RegistryConfig.read(folder / "registry"))
    try:
        good = [
            registry.register(variant(book.bundle, folder / f"v{mark}", mark), who="ana").snapshot for mark in (1, 2)
        ]
        bad = [_damaged(registry, book, folder), _different(registry, book, folder)]
        registry.promote(good[0], who="ana", why="first", force=True)
        with service(folder, f'registry = "{folder / "registry"}"\n[shadow]\naliases = []\n') as one:
            answers = folder / "answers.txt"
            asked = Asked(one.port, "/score", str(book.records), 600, 16, _RATE, answers=str(answers))
            asked.seconds = effort.rollbacks * 5 + 2 * _BAD_S + 4
            load = begun(asked)
            taken, spans = [], []
            for _ in range(effort.rollbacks):
                registry.promote(good[1], who="ana", why="again", force=True)
                _until(one, good[1])
                began = time.time()
                taken.append(_rolled_back(folder))
                _until(one, good[0])
                spans.append((began, time.time()))
            for snapshot in bad:
                _pointed(registry, snapshot)
                time.sleep(_BAD_S)
                _pointed(registry, good[0])
            found = ended(load, asked)
        snapshots = {line[3] for line in found.lines if line[1] == "200"}
        last = [_last_old(found.lines, good[1], *span) for span in spans]
    finally:
        registry.close()
    figures: Figures = {
        "swap_rate_per_s": _RATE,
        "swap_answers": found.good,
        "swap_p50_ms": round(found.p50_ms, 2),
        "swap_p99_ms": round(found.p99_ms, 2),
        "rollback_command_p50_s": round(statistics.median(taken), 3),
        "rollback_last_old_p50_s": round(statistics.median(last), 3),
        "rollback_last_old_max_s": round(max(last), 3),
    }
    return figures, [
        Bar.at_most("failed requests through two promotes of bad snapshots, good ones and rollbacks", found.failed, 0),
        Bar.at_most("answers of a snapshot that is not one of the two good ones", len(snapshots - set(good)), 0),
        Bar.at_most("rollback command to the last old answer, slowest, s", max(last), _ROLLBACK_S),
    ]


def _damaged(registry: Registry, book: Book, folder: Path) -> str:
    store = registry.config.store
    snapshot = store.add(Bundle.load(variant(book.bundle, folder / "damaged", 3)))
    graph = store.folder(snapshot) / "model.onnx"
    graph.chmod(0o644)
    graph.write_bytes(graph.read_bytes()[:-1] + b"?")
    return snapshot


def _different(registry: Registry, book: Book, folder: Path) -> str:
    return registry.config.store.add(Bundle.load(variant(book.bundle, folder / "different", 4, differs=True)))


def _pointed(registry: Registry, snapshot: str) -> None:
    """Move the pointer as no command of ours would: those refuse such a snapshot."""
    before = registry.journal.aliases().get("champion")
    registry.journal.append(
        who="ana", action=Action.PROMOTE, alias="champion", before=before, after=snapshot, why="benchmark"
    )


def _rolled_back(folder: Path) -> float:
    command = [sys.executable, "-m", "leanrisk", "registry", "rollback", "--why", "benchmark"]
    began = time.perf_counter()
    subprocess.run(
        [*command, "--registry", str(folder / "registry")], check=True, stdout=subprocess.DEVNULL, env=environment()
    )
    return time.perf_counter() - began


def _until(one: Served, snapshot: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with urlopen(f"http://127.0.0.1:{one.port}/model", timeout=10) as answer:
            if json.load(answer)["snapshot"] == snapshot:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{snapshot} never played")


def _last_old(lines: list[list[str]], old: str, began: float, ended: float) -> float:
    """Return the seconds from a rollback's start to the last answer of the old snapshot, before the next promote."""
    moments = [float(line[0]) for line in lines if line[1] == "200" and line[3] == old]
    return max((moment for moment in moments if began <= moment <= ended), default=began) - began
