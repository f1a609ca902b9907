"""The engine of the memory: events a second of a build, microseconds of a look-up, bytes kept, seconds to open."""

from __future__ import annotations

import gc
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.runner import Bar, Outcome
from leanrisk.core.memory import Entity, Fact, Memory
from leanrisk.core.progress import Advance, Progress
from leanrisk.core.seeding import generator
from leanrisk.graph.build import build_facts
from leanrisk.graph.events import Events
from leanrisk.graph.keys import text_key
from leanrisk.graph.store import MemoryStore

_BUILDS = {"smoke": (10_000, 100_000), "full": (100_000, 1_000_000, 10_000_000)}
_OPENED = {"smoke": 20_000, "full": 1_000_000}
_CALLS = {"smoke": 500, "full": 5_000}
_LEVELS = 12
_MOST_RUNS, _RUN_EVENTS = 5, 3_000_000
"""A build is run so often, the large ones less, and the fastest run counts."""
_ROUNDS = 10
"""Rounds of look-ups, all of which count: a machine with other work shows it at the 99th percentile."""
_FACTS = (Fact.COUNT, Fact.RATE, Fact.WINDOW_RATE)
_YEAR, _LATEST_OUTCOME = 365.0, 60.0

Figures = dict[str, float | int | str]


def run(preset: str, progress: Progress) -> Outcome:
    """Return what builds of growing size, single look-ups, one live entity and an `open` cost on this machine."""
    sizes, opened = _BUILDS[preset], _OPENED[preset]
    figures: Figures = {
        "levels": _LEVELS,
        "windows": len(_memory(1).windows),
        "calls": _CALLS[preset],
        "rounds": _ROUNDS,
    }
    with progress.track("Memory", total=len(sizes) + 3) as advance:
        figures |= _builds(sizes, advance)
        figures["bytes_per_entity_and_window"] = round(_bytes(opened // 10), 1)
        advance(1)
        store, texts = _store(opened)
        figures |= _lookups(store, texts, _CALLS[preset])
        advance(1)
        figures |= _opening(store)
        advance(1)
    figures["load_1m"] = round(os.getloadavg()[0], 2)
    return Outcome(figures=figures, bars=_bars(figures, sizes))


def _bars(figures: Figures, sizes: tuple[int, ...]) -> tuple[Bar, ...]:
    rates = [float(figures[f"build_{size}_events_per_s"]) for size in sizes]
    return (
        Bar.at_least("build, events/s at the slowest size", min(rates), 500_000.0),
        Bar.at_most("build, seconds per event at the largest size over the smallest", rates[0] / rates[-1], 2.0),
        Bar.at_most("look-up of 12 entities, p99 microseconds", float(figures["lookup_p99_us"]), 50.0),
        Bar.at_most("bytes per live entity and window", float(figures["bytes_per_entity_and_window"]), 200.0),
        Bar.at_most("open, seconds", float(figures["open_s"]), 1.0),
    )


def _memory(levels: int) -> Memory:
    return Memory(entities=tuple(Entity(f"e{place}", (f"e{place}",), facts=_FACTS) for place in range(levels)))


def _events(rows: int, levels: int, entities: int) -> tuple[Events, list[str]]:
    """Return a year of events and the texts that name entities, few of which have most of the events."""
    draw = generator(0, f"benchmark.memory_engine.{rows}")
    happened = np.sort(draw.uniform(0.0, _YEAR, rows))
    texts = [str(place) for place in range(entities)]
    keys = np.fromiter(map(text_key, texts), dtype=np.uint64, count=entities)
    named = {f"e{place}": keys[(entities * draw.random(rows) ** 2).astype(np.int64)] for place in range(levels)}
    events = Events(
        id=np.arange(1, rows + 1, dtype=np.uint64),
        happened=happened,
        known=happened + draw.uniform(1.0, _LATEST_OUTCOME, rows),
        outcome=(draw.random(rows) < 0.05).astype(np.float32),
        amount=draw.random(rows).astype(np.float32),
        keys=named,
        ends={},
    )
    return events, texts


def _builds(sizes: tuple[int, ...], advance: Advance) -> Figures:
    figures: Figures = {}
    for size in sizes:
        events, _ = _events(size, 1, max(size // 100, 1))
        runs = max(1, min(_MOST_RUNS, _RUN_EVENTS // size))
        timed = [_seconds_of_build(events) for _ in range(runs)]
        seconds, busy = (min(each) for each in zip(*timed, strict=True))
        figures |= {
            f"build_{size}_s": round(seconds, 3),
            f"build_{size}_events_per_s": round(size / seconds),
            f"build_{size}_cpu_us_per_event": round(busy / size * 1e6, 3),
        }
        advance(1)
    return figures


def _seconds_of_build(events: Events) -> tuple[float, float]:
    """Return the seconds that passed, and the CPU-seconds of all threads: the latter hardly depend on who else runs."""
    began, busy = time.perf_counter(), time.process_time()
    build_facts(_memory(1), events, events)
    return time.perf_counter() - began, time.process_time() - busy


def _bytes(entities: int) -> float:
    """Return what the counters of one entity take per window, the table that finds them included, events left out."""
    memory = _memory(1)
    rows = 4 * entities
    events, _ = _events(rows, 1, entities)
    gc.collect()
    tracemalloc.start()
    try:
        store = MemoryStore.build(memory, events)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    own = store.history
    kept = sum(values.nbytes for values in (own.id, own.happened, own.known, own.outcome, own.amount, own.keys["e0"]))
    live = np.unique(own.keys["e0"]).size
    return (held - kept) / live / len(memory.windows)


def _store(rows: int) -> tuple[MemoryStore, list[str]]:
    events, texts = _events(rows, _LEVELS, max(rows // 100, 1))
    return MemoryStore.build(_memory(_LEVELS), events), texts


def _lookups(store: MemoryStore, texts: list[str], calls: int) -> Figures:
    """Return p50 and p99 of single look-ups of entities drawn at random, after a warm-up, over all rounds."""
    draw = generator(0, "benchmark.memory_engine.lookups")
    # So late that every outcome is known: none is left to be counted within a call.
    at = _YEAR + _LATEST_OUTCOME
    picked = draw.integers(0, len(texts), (calls, _LEVELS))
    records = [{f"e{level}": texts[place] for level, place in enumerate(row)} for row in picked.tolist()]
    for record in records[: calls // 10]:
        store.lookup(record, at)
    gc.disable()
    try:
        seconds = np.concatenate([_round(store, records, at, time.perf_counter) for _ in range(_ROUNDS)])
        # The thread's own CPU time leaves out what it waited for others; reading that clock costs some of it.
        busy = np.concatenate([_round(store, records, at, time.thread_time) for _ in range(_ROUNDS)])
    finally:
        gc.enable()
    return {
        f"lookup_{name}p{share}_us": round(float(np.percentile(each, share)) * 1e6, 2)
        for name, each in (("", seconds), ("cpu_", busy))
        for share in (50, 99)
    }


def _round(
    store: MemoryStore, records: list[dict[str, str]], at: float, clock: Callable[[], float]
) -> npt.NDArray[np.float64]:
    seconds: npt.NDArray[np.float64] = np.empty(len(records))
    for call, record in enumerate(records):
        began = clock()
        store.lookup(record, at)
        seconds[call] = clock() - began
    return seconds


def _opening(store: MemoryStore) -> Figures:
    """Return the seconds to open the store from disk, its files read lately, every SHA-256 checked."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "memory"
        store.save(folder)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        fastest = float("inf")
        for _ in range(3):
            began = time.perf_counter()
            MemoryStore.open(folder)
            fastest = min(fastest, time.perf_counter() - began)
    return {"open_events": store.history.rows, "open_s": round(fastest, 3), "open_mib": round(size / 2**20, 1)}
