"""Many requests and many swaps: what memory does meanwhile."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import numpy.typing as npt
import psutil
from scipy import stats

from benchmarks.runner import Bar
from benchmarks.serviced.books import Book, variant
from benchmarks.serviced.effort import Effort, Figures
from benchmarks.serviced.load import Asked
from benchmarks.serviced.processes import begun, ended, service
from leanrisk.records.journal import Action
from leanrisk.registry.bundle import Bundle
from leanrisk.registry.place import RegistryConfig

_GROWTH = 0.02
"""Of the resident memory, over the last three quarters of the run, at the interval's upper end."""
_BLOCKS = 20
_FASTEST = 3_000
"""Requests a second of a service so fast that it still has time for every swap."""


def measured(place: Path, book: Book, effort: Effort) -> tuple[Figures, list[Bar]]:
    """Return figures and bars."""
    folder = place / "soak"
    folder.mkdir()
    config = RegistryConfig.read(folder / "registry")
    store, journal = config.store, config.journal
    two = [store.add(Bundle.load(variant(book.bundle, folder / f"s{mark}", mark))) for mark in (1, 2)]

    def point(snapshot: str) -> None:
        before = journal.aliases().get("champion")
        journal.append(who="ana", action=Action.PROMOTE, alias="champion", before=before, after=snapshot, why="soak")

    point(two[0])
    with service(folder, f'registry = "{folder / "registry"}"\n[shadow]\naliases = []\n') as one:
        asked = Asked(one.port, "/score", str(book.records), 500, 16, count=effort.soak_requests)
        load, process = begun(asked), psutil.Process(one.process.pid)
        moments, resident, swaps = [], [], 0
        every_s, began = effort.soak_requests / _FASTEST / effort.soak_swaps, time.monotonic()
        while load.process.poll() is None and time.monotonic() - began < asked.seconds:
            if swaps < effort.soak_swaps and time.monotonic() - began > swaps * every_s:
                swaps += 1
                point(two[swaps % 2])
                with urlopen(Request(f"http://127.0.0.1:{one.port}/admin/reload", method="POST"), timeout=60):
                    pass
            moments.append(time.monotonic() - began)
            resident.append(process.memory_info().rss / 2**20)
            time.sleep(0.1)
        found = ended(load, asked)
    share, low, high = _growth(np.array(moments), np.array(resident))
    figures: Figures = {
        "soak_requests": found.good,
        "soak_failed": found.failed,
        "soak_swaps": swaps,
        "soak_s": round(moments[-1], 1),
        "soak_rss_mib": round(float(np.median(resident)), 1),
        "soak_growth_share": round(share, 5),
        "soak_growth_low": round(low, 5),
        "soak_growth_high": round(high, 5),
    }
    return figures, [
        Bar.at_least("requests of the soak", found.good, effort.soak_requests),
        Bar.at_least("swaps of the soak", swaps, effort.soak_swaps),
        Bar.at_most("requests that failed in the soak", found.failed, 0),
        Bar.at_most("growth of memory after the first quarter, share, upper end of its interval", high, _GROWTH),
    ]


def _growth(moments: npt.NDArray[np.float64], resident: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the line's growth over the last three quarters as a share of memory, with its 95 % interval.

    The line goes through the medians of blocks, since neighbouring samples are not independent.
    """
    late = moments >= moments[-1] / 4
    blocks = np.array_split(np.flatnonzero(late), min(_BLOCKS, int(late.sum())))
    x = np.array([moments[block].mean() for block in blocks])
    y = np.array([np.median(resident[block]) for block in blocks])
    line = stats.linregress(x, y)
    margin = line.stderr * stats.t.ppf(0.975, max(1, len(x) - 2))
    scale = (x[-1] - x[0]) / y.mean()
    return float(line.slope * scale), float((line.slope - margin) * scale), float((line.slope + margin) * scale)
