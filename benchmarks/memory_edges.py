"""What edge tables bring a memory: KS on a book whose risk runs along them, and the microseconds of a look-up."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.remembered.models import Effort
from benchmarks.remembered.network import linked_loans
from benchmarks.runner import Bar, Outcome
from leanrisk.core.metrics import auc, ks
from leanrisk.core.progress import Progress
from leanrisk.evaluate.bootstrap import metric_difference
from leanrisk.graph.store import MemoryStore

_EFFORT, _QUICK = Effort(trials=4, folds=2, epochs=4, copies=1), Effort(trials=2, folds=2, epochs=2, copies=1)
_RESAMPLES, _CALLS, _ROUNDS = 500, 2_000, 5
_PAIRS = (("lightgbm_memory", "lightgbm_edges"), ("lean_memory", "lean_edges"), ("lightgbm", "lean_edges"))


def run(preset: str, progress: Progress) -> Outcome:
    """Return KS with a memory that reads edge tables and with one that does not, and what a look-up takes."""
    full = preset == "full"
    found = linked_loans(full, _EFFORT if full else _QUICK, progress)
    figures: dict[str, float | int | str] = {
        "test_rows": found.labels.size,
        "test_bads": int(found.labels.sum()),
        "edges": found.edges,
        "edge_facts": found.facts,
    }
    for name, scores in found.scores.items():
        figures |= {
            f"{name}_ks": round(ks(found.labels, scores), 4),
            f"{name}_auc": round(auc(found.labels, scores), 4),
        }
    bars: list[Bar] = []
    for before, after in _PAIRS:
        gain = metric_difference(
            found.labels, found.scores[before], found.scores[after], "ks", seed=0, resamples=_RESAMPLES
        )
        where = f"{after}_less_{before}_ks"
        figures |= {where: round(gain.value, 4), f"{where}_lo": round(gain.lo, 4), f"{where}_hi": round(gain.hi, 4)}
        bars.append(Bar.at_least(f"KS of {after} less {before}, lower limit", gain.lo, 0.0))
    with progress.track("looking up"):
        micros = _lookups(found.store, found.records)
    figures |= {"lookup_entities": len(found.store.config.entities), "lookup_p50_us": round(float(micros[0]), 1)}
    figures["lookup_p99_us"] = round(float(micros[1]), 1)
    bars.append(Bar.at_most("look-up with three edge tables, p99 microseconds", float(micros[1]), 100.0))
    return Outcome(figures, tuple(bars))


def _lookups(store: MemoryStore, records: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the median and the 99th percentile of a look-up, microseconds, in the quietest of some rounds."""
    at = store.clock + 1.0
    rounds = []
    for _ in range(_ROUNDS):
        taken = np.empty(_CALLS)
        for place in range(_CALLS):
            record = records[place % len(records)]
            begin = time.perf_counter_ns()
            store.lookup(record, at)
            taken[place] = (time.perf_counter_ns() - begin) / 1000
        rounds.append((float(np.quantile(taken, 0.5)), float(np.quantile(taken, 0.99))))
    return min(rounds, key=lambda pair: pair[1])
