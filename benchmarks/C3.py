"""Claim C3: made bads where real ones are scarce. Every cell is printed, the losses too."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt

from benchmarks.runner import Bar, Outcome
from benchmarks.synthesized.books import MAKERS
from benchmarks.synthesized.cells import Cell, Effort, cells_of
from leanrisk.core.progress import Progress
from leanrisk.core.seeding import generator
from leanrisk.models.synthesis.settings import GeneratorConfig

_BADS = (25, 50, 100, 200, 500)
_SCARCE = 100
_SEEDS = 3
_AIM = 0.27
_QUICK = Effort(goods=1500, folds=2, generator=GeneratorConfig(batch=64, steps=20, latent=4, width=16))
_RESAMPLES = 2000

Floats = npt.NDArray[np.float64]
Values = dict[str, float | int | str]


def run(preset: str, progress: Progress) -> Outcome:
    """Measure recall at an alert budget of 1 % over the number of real bads; two books at a time."""
    full = preset == "full"
    effort = Effort() if full else _QUICK
    seeds, sizes = (_SEEDS, _BADS) if full else (1, _BADS[:1])
    figures: Values = {
        "draws": seeds,
        "goods_learned": effort.goods,
        "note_draws": "fewer draws and goods than the claim asks for (10 draws): what this machine has time for",
    }
    cells: list[Cell] = []
    with (
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool,
        progress.track("books", len(MAKERS)) as advance,
    ):
        tasks = {name: pool.submit(cells_of, name, full, seeds, sizes, effort) for name in MAKERS}
        for name, task in tasks.items():
            found = task.result()
            if not found:
                figures[f"{name}_note"] = "the public data are not on this machine"
            cells += found
            advance(1)
    bars = _claims(cells, figures)
    return Outcome(figures | _told(cells), tuple(bars))


def _told(cells: Sequence[Cell]) -> Values:
    """Return the mean recalls of every cell over its draws, and how often each way was chosen."""
    figures: Values = {}
    for book, bads in dict.fromkeys((cell.book, cell.bads) for cell in cells):
        mine = [cell for cell in cells if (cell.book, cell.bads) == (book, bads)]
        where = f"{book}_{bads}_bads"
        figures[f"{where}_recall_weights_balanced"] = _mean([cell.usual for cell in mine])
        figures[f"{where}_recall_weights_tuned"] = _mean([cell.weighted for cell in mine])
        for method in mine[0].arms:
            figures[f"{where}_recall_{method}"] = _mean([cell.arms[method] for cell in mine])
        figures[f"{where}_recall_gated"] = _mean([cell.gated for cell in mine])
        figures[f"{where}_chosen"] = ", ".join(cell.chosen for cell in mine)
        difference = np.array([cell.gated - cell.weighted for cell in mine])
        figures |= _limits(f"{where}_gated_less_weights", difference)
    return figures


def _claims(cells: Sequence[Cell], figures: Values) -> list[Bar]:
    scarce = [cell for cell in cells if cell.bads <= _SCARCE]
    bars = []
    for what, ways in (("tuned", "weighted"), ("balanced", "usual")):
        low, value, high = _share(scarce, ways)
        name = f"scarce_gain_share_over_weights_{what}"
        figures |= {name: round(value, 4), f"{name}_lo": round(low, 4), f"{name}_hi": round(high, 4)}
        told = f"up to {_SCARCE} bads: recall of what the gate lets through over {what} class weights, as a share"
        bars.append(Bar.at_least(told, value, _AIM))
        if ways == "weighted":
            bars.append(Bar.at_least(f"{told}, lower limit", low, 0.0))
    uppers = [
        _interval(np.array([cell.gated - cell.weighted for cell in cells if (cell.book, cell.bads) == key]))[1]
        for key in dict.fromkeys((cell.book, cell.bads) for cell in cells)
    ]
    bars.append(Bar.at_least("worst cell: upper limit of gated less tuned class weights", min(uppers), 0.0))
    return bars


def _share(cells: Sequence[Cell], before: str) -> tuple[float, float, float]:
    """Return the gain in mean recall as a share with its 95 % limits; a book's draws are resampled, cells and all."""
    keys = list(dict.fromkeys((cell.book, cell.seed) for cell in cells))
    sums = np.array(
        [
            [sum(cell.gated for cell in mine), sum(getattr(cell, before) for cell in mine)]
            for key in keys
            if (mine := [cell for cell in cells if (cell.book, cell.seed) == key])
        ]
    )
    rng = generator(0, "C3")
    books = [np.flatnonzero([key[0] == book for key in keys]) for book in dict.fromkeys(key[0] for key in keys)]
    gains = []
    for _ in range(_RESAMPLES):
        some = np.concatenate([rng.choice(members, members.size) for members in books])
        gains.append(sums[some, 0].sum() / max(1e-9, sums[some, 1].sum()) - 1.0)
    low, high = np.quantile(gains, [0.025, 0.975])
    return float(low), float(sums[:, 0].sum() / max(1e-9, sums[:, 1].sum()) - 1.0), float(high)


def _interval(values: Floats) -> tuple[float, float]:
    """Return 95 % limits of a mean by Student's distribution; equal values have none to either side."""
    from scipy.stats import t

    if values.size < 2:
        return float(values.mean()), float(values.mean())
    half = float(t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size))
    return float(values.mean()) - half, float(values.mean()) + half


def _limits(where: str, values: Floats) -> Values:
    low, high = _interval(values)
    return {where: round(float(values.mean()), 4), f"{where}_lo": round(low, 4), f"{where}_hi": round(high, 4)}


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)
