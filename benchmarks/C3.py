"""Claim C3: made rows where real bads are scarce, one bad to 999 goods. Every cell is printed, the losses too.

Cells are kept one by one in a temporary folder by commit, so that a run that was cut goes on where it stopped.
LEANRISK_C3_CELLS may name further files of cells, of commits whose technique and benchmark were the same.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.runner import Bar, Outcome, commit
from benchmarks.synthesized.books import GOODS_PER_BAD, MAKERS, RareBook
from benchmarks.synthesized.cells import Cell, Draw, Effort, keep_cell, kept_cells, planned
from leanrisk.core.progress import Progress
from leanrisk.core.seeding import generator
from leanrisk.models.synthesis.settings import GeneratorConfig

_SEEDS: Mapping[int, int] = {25: 10, 50: 10, 100: 10, 200: 3, 500: 2}
_FIRST = 10
"""Earlier draws were looked at while the rule was found by which a tilt is taken."""
_SCARCE = 100
_AIM = 0.27
_QUICK = Effort(goods_per_bad=60, folds=2, generator=GeneratorConfig(batch=64, steps=20, latent=4, width=16))
_RESAMPLES = 2000

Floats = npt.NDArray[np.float64]
Values = dict[str, float | int | str]


def run(preset: str, progress: Progress) -> Outcome:
    """Measure recall at an alert budget of 1 % over the number of real bads."""
    full = preset == "full"
    effort, seeds = (Effort(goods_per_bad=GOODS_PER_BAD), _SEEDS) if full else (_QUICK, {25: 1})
    figures: Values = {f"draws_of_{bads}_bads": count for bads, count in seeds.items()}
    figures |= {"goods_per_bad": effort.goods_per_bad, "generator_steps": effort.generator.steps}
    books: dict[str, RareBook] = {}
    for name, maker in MAKERS.items():
        book = maker(full)
        if book is None:
            figures[f"{name}_note"] = "the public data are not on this machine"
        else:
            books[name] = book
            figures[f"{name}_pool_bads"] = int((book.pool.labels == 1).sum())
            figures[f"{name}_test_bads"] = int((book.test.labels == 1).sum())
    found = _cells(books, seeds, effort, _folder(preset) if full else None, progress)
    cells = [cell for cell in found if cell.seed >= _FIRST]
    bars = _claims(cells, figures)
    explored = _told([cell for cell in found if cell.seed < _FIRST], before="explored_")
    figures["cells_at"] = ", ".join(sorted(path.stem for path in _others())) or commit()
    return Outcome(figures | _told(cells) | _worths(cells) | explored, tuple(bars))


def _folder(preset: str) -> Path | None:
    """Return where cells are kept; nowhere where the code has changed since its commit."""
    at = commit()
    return None if at.endswith("-dirty") else Path(tempfile.gettempdir()) / "leanrisk-C3" / f"{preset}-{at}.jsonl"


def _others() -> list[Path]:
    """Return further files of cells."""
    return [Path(name) for name in os.environ.get("LEANRISK_C3_CELLS", "").split(os.pathsep) if name]


def _cells(
    books: Mapping[str, RareBook], seeds: Mapping[int, int], effort: Effort, kept: Path | None, progress: Progress
) -> list[Cell]:
    files = [] if kept is None else [kept, *_others()]
    found = list({(cell.book, cell.bads, cell.seed): cell for file in files for cell in kept_cells(file)}.values())
    known = {(cell.book, cell.bads, cell.seed) for cell in found}
    plan = [each for each in planned(books, seeds, first=_FIRST) if each not in known]
    with progress.track("cells", len(plan)) as advance:
        for name, bads, seed in plan:
            if books[name].holds(bads, goods_per_bad=effort.goods_per_bad):
                found.append(Draw.of(books[name], bads, seed, effort).cell())
                if kept is not None:
                    keep_cell(kept, found[-1])
            advance(1)
    return found


def _told(cells: Sequence[Cell], *, before: str = "") -> Values:
    """Return the mean recalls of every cell over its draws, and what was let through in each."""
    figures: Values = {}
    for book, bads in dict.fromkeys((cell.book, cell.bads) for cell in cells):
        mine = _of(cells, book, bads)
        where = f"{before}{book}_{bads}_bads"
        figures[f"{where}_draws"] = len(mine)
        figures[f"{where}_recall_weights_balanced"] = _mean([cell.usual for cell in mine])
        figures[f"{where}_recall_weights_tuned"] = _mean([cell.weighted for cell in mine])
        for arm in dict.fromkeys(label for cell in mine for label in cell.arms):
            told = [cell.arms[arm] for cell in mine if arm in cell.arms]
            if len(told) == len(mine) and not arm.startswith("weights"):
                figures[f"{where}_recall_{arm}"] = _mean(told)
        figures[f"{where}_recall_gated"] = _mean([cell.gated for cell in mine])
        figures[f"{where}_auc_weights_tuned"] = _mean([cell.aucs[0] for cell in mine])
        figures[f"{where}_auc_gated"] = _mean([cell.aucs[1] for cell in mine])
        figures[f"{where}_chosen"] = ", ".join(cell.chosen for cell in mine)
        figures |= _limits(f"{where}_gated_less_weights_tuned", np.array([cell.gated - cell.weighted for cell in mine]))
    return figures


def _worths(cells: Sequence[Cell]) -> Values:
    figures: Values = {}
    for book in dict.fromkeys(cell.book for cell in cells):
        figures |= _worth(book, [cell for cell in cells if cell.book == book])
    return figures


def _worth(book: str, cells: Sequence[Cell]) -> Values:
    """Return how many bads tuned weights need for what the step reaches with fewer, along the line through their means.

    Held within the numbers that were measured: beyond them nothing is known.
    """
    sizes = sorted({cell.bads for cell in cells})
    if len(sizes) < 2:
        return {}
    plain = [float(np.mean([cell.weighted for cell in _of(cells, book, size)])) for size in sizes]
    rising = np.maximum.accumulate(plain)
    found: Values = {}
    for size in sizes[:-1]:
        reached = float(np.mean([cell.gated for cell in _of(cells, book, size)]))
        places = np.log(sizes) + 1e-9 * np.arange(len(sizes))
        found[f"{book}_{size}_bads_worth"] = round(float(np.exp(np.interp(reached, rising, places))))
    return found


def _claims(cells: Sequence[Cell], figures: Values) -> list[Bar]:
    scarce = [cell for cell in cells if cell.bads <= _SCARCE]
    bars = []
    for what, ways in (("balanced", "usual"), ("tuned", "weighted")):
        low, value, high = _share(scarce, ways)
        name = f"scarce_gain_share_over_weights_{what}"
        figures |= {name: round(value, 4), f"{name}_lo": round(low, 4), f"{name}_hi": round(high, 4)}
        pooled = sum(cell.gated for cell in scarce) / max(1e-9, sum(getattr(cell, ways) for cell in scarce)) - 1.0
        figures[f"{name}_pooled"] = round(pooled, 4)
        told = f"up to {_SCARCE} bads: recall of what the gate lets through over {what} class weights, as a share"
        bars.append(Bar.at_least(told, value, _AIM))
        bars.append(Bar.at_least(f"{told}, lower limit", low, 0.0))
    for book in dict.fromkeys(cell.book for cell in scarce):
        for what, ways in (("balanced", "usual"), ("tuned", "weighted")):
            low, value, high = _share([cell for cell in scarce if cell.book == book], ways)
            name = f"{book}_scarce_gain_share_over_weights_{what}"
            figures |= {name: round(value, 4), f"{name}_lo": round(low, 4), f"{name}_hi": round(high, 4)}
    keys = dict.fromkeys((cell.book, cell.bads) for cell in cells)
    uppers = [_interval(np.array([cell.gated - cell.weighted for cell in _of(cells, *key)]))[1] for key in keys]
    bars.append(Bar.at_least("worst cell: upper limit of gated less tuned class weights", min(uppers), 0.0))
    return bars


def _of(cells: Sequence[Cell], book: str, bads: int) -> list[Cell]:
    return [cell for cell in cells if (cell.book, cell.bads) == (book, bads)]


def _share(cells: Sequence[Cell], before: str) -> tuple[float, float, float]:
    """Return the gain in mean recall as a share, the mean of the books' shares, with its 95 % limits.

    A book's draws are resampled, cells of all numbers of bads together. Books count alike: recall differs tenfold.
    """
    rng = generator(0, "C3")
    sums = []
    for book in dict.fromkeys(cell.book for cell in cells):
        mine = [cell for cell in cells if cell.book == book]
        draws = [[cell for cell in mine if cell.seed == seed] for seed in dict.fromkeys(cell.seed for cell in mine)]
        sums.append(np.array([[sum(c.gated for c in draw), sum(getattr(c, before) for c in draw)] for draw in draws]))
    gains = [_gain([part[rng.choice(len(part), len(part))] for part in sums]) for _ in range(_RESAMPLES)]
    low, high = np.quantile(gains, [0.025, 0.975])
    return float(low), _gain(sums), float(high)


def _gain(sums: Sequence[Floats]) -> float:
    return float(np.mean([part[:, 0].sum() / max(1e-9, part[:, 1].sum()) - 1.0 for part in sums]))


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
