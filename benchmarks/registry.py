"""The registry at its work: a rollback from the command line, the journal after years of moves, a full audit."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl

from benchmarks.runner import Bar, Outcome
from leanrisk.core.files import write_json
from leanrisk.core.progress import Advance, Progress
from leanrisk.core.seeding import generator
from leanrisk.pipelines.estimators import LeanRiskClassifier
from leanrisk.records.database import database
from leanrisk.records.journal import Action, Journal
from leanrisk.registry.audit import audit
from leanrisk.registry.bundle import CARD, Bundle
from leanrisk.registry.manifest import NAME as MANIFEST
from leanrisk.registry.manifest import Manifest
from leanrisk.registry.place import RegistryConfig
from leanrisk.registry.registry import Registry

SIZES = {"smoke": (300, 4, 3), "full": (10_000, 50, 15)}
"""Rows of the journal, snapshots, rollbacks."""
_COLUMNS, _LOANS = 60, 4_000
_ROLLBACK_S = 2.0


def run(preset: str, progress: Progress) -> Outcome:
    """Return what a rollback, a look into the past and an audit take."""
    rows, snapshots, rollbacks = SIZES[preset]
    with tempfile.TemporaryDirectory(prefix="leanrisk-registry-") as aside:
        place = Path(aside)
        bundle = _bundle(place)
        figures: dict[str, float | int | str] = {"bundle_bytes": bundle.size_bytes, "journal_rows": rows}
        with progress.track("filling a journal", rows) as advance:
            figures |= _journal(place / "journal.db", rows, advance)
        registry = Registry.open(RegistryConfig.read(place / "registry"))
        try:
            with progress.track("registering", snapshots) as advance:
                figures |= _registered(registry, bundle, place, snapshots, advance)
            with progress.track("rolling back", rollbacks) as advance:
                taken = [_rollback(registry, place / "registry", advance) for _ in range(rollbacks)]
            began = time.perf_counter()
            found = audit(registry, progress=progress)
            figures |= {
                "snapshots": found.snapshots,
                "audit_s": round(time.perf_counter() - began, 3),
                "audit_files": found.files,
                "rollback_command_p50_s": round(median(taken), 3),
                "rollback_command_max_s": round(max(taken), 3),
                "rollback_row_p50_ms": round(1e3 * median(_moves(registry, rollbacks)), 2),
            }
        finally:
            registry.close()
    bars = (
        Bar.at_most("rollback command, slowest, s", max(taken), _ROLLBACK_S),
        Bar.at_most("faults that the audit found", len(found.faults), 0),
    )
    return Outcome(figures, bars)


def _bundle(place: Path) -> Bundle:
    rng = generator(0, "benchmark registry")
    values = rng.normal(size=(_LOANS, _COLUMNS))
    bad = (values[:, :5].sum(axis=1) + rng.normal(size=_LOANS) > 2).astype(int)
    loans = pl.DataFrame({f"x{place}": values[:, place] for place in range(_COLUMNS)})
    return LeanRiskClassifier(trials=2, epochs=2).fit(loans, bad).to_bundle(str(place / "bundle"))


def _journal(file: Path, rows: int, advance: Advance) -> dict[str, float]:
    """Return how fast a journal grows, answers and is followed from end to end."""
    engine = database(file)
    now = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)

    def clock() -> dt.datetime:
        nonlocal now
        now += dt.timedelta(hours=1)
        return now

    journal, before = Journal(engine, clock=clock), None
    began = time.perf_counter()
    for count in range(rows):
        after = f"{count:064x}"
        journal.append(who="ana", action=Action.PROMOTE, alias="champion", before=before, after=after, why="round")
        before = after
        advance(1)
    grown = time.perf_counter() - began
    asked = generator(0, "benchmark moments").integers(1, rows, size=200)
    taken = []
    for count in asked:
        moment = dt.datetime(2020, 1, 1, 0, 30, tzinfo=dt.UTC) + dt.timedelta(hours=int(count))
        began = time.perf_counter()
        found = journal.as_of("champion", moment)
        taken.append(time.perf_counter() - began)
        assert found == f"{count - 1:064x}"
    began = time.perf_counter()
    assert journal.verify() == rows
    verified = time.perf_counter() - began
    engine.dispose()
    return {
        "append_ms": round(1e3 * grown / rows, 3),
        "as_of_p50_ms": round(1e3 * float(np.median(taken)), 3),
        "as_of_p99_ms": round(1e3 * float(np.quantile(taken, 0.99)), 3),
        "verify_journal_s": round(verified, 3),
    }


def _registered(registry: Registry, bundle: Bundle, place: Path, count: int, advance: Advance) -> dict[str, float]:
    """Register bundles that differ in their card, and promote the first two; return what one takes."""
    taken = []
    for mark in range(count):
        card = json.loads((bundle.folder / CARD).read_text(encoding="utf-8"))
        write_json(bundle.folder / CARD, {**card, "mark": mark})
        facts = bundle.manifest.facts
        (bundle.folder / MANIFEST).unlink()
        Manifest.of(bundle.folder, facts).write(bundle.folder)
        began = time.perf_counter()
        registry.register(bundle.folder, who="ana")
        taken.append(time.perf_counter() - began)
        advance(1)
    for number in ("1", "2"):
        registry.promote(number, who="ana", why="first", force=True)
    return {"register_p50_s": round(median(taken), 3)}


def _rollback(registry: Registry, folder: Path, advance: Advance) -> float:
    """Return the seconds of the whole command, from its start to its end, and promote again."""
    command = [
        sys.executable,
        "-m",
        "leanrisk",
        "registry",
        "rollback",
        "--why",
        "benchmark",
        "--registry",
        str(folder),
    ]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    taken = time.perf_counter() - began
    registry.promote("2", who="ana", why="again", force=True)
    advance(1)
    return taken


def _moves(registry: Registry, count: int) -> list[float]:
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        registry.rollback(who="ana", why="benchmark")
        taken.append(time.perf_counter() - began)
        registry.promote("2", who="ana", why="again", force=True)
    return taken
