"""One cell: so many bads of one draw; tuned class weights, every other remedy, and what the step lets through."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.synthesized.books import RareBook
from leanrisk.core.dataset import Dataset
from leanrisk.core.metrics import auc
from leanrisk.core.progress import Silent
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.models.gbdt import Gbdt
from leanrisk.models.gbdt_fit import SLIM_PARAMS, SLIM_ROUNDS, refit_gbdt
from leanrisk.models.incumbent import Reading
from leanrisk.models.synthesis.settings import GeneratorConfig
from leanrisk.techniques.base import WeightedFit
from leanrisk.techniques.synthesize.arm import Arm, Method
from leanrisk.techniques.synthesize.search import Search, Tried, caught_shares
from leanrisk.techniques.synthesize.technique import Synthesize

BUDGET = 0.01
_READING = EncoderConfig(levels=500, min_level_rows=10)
_SIZES: Mapping[str, tuple[dict[str, Any], int]] = {
    "slim": (dict(SLIM_PARAMS), SLIM_ROUNDS),
    "small": ({**SLIM_PARAMS, "num_leaves": 4}, 60),
}
_WEIGHTS = (math.inf, 30.0)
_TUNING_FOLDS = 2


@dataclass(frozen=True)
class Effort:
    """How many goods there are to a bad, what the step tries, and up to how many bads every remedy is tested."""

    goods_per_bad: int
    folds: int = 3
    rows: int = 15_000
    tested: int = 100
    methods: tuple[Method, ...] = (Method.BAGS, Method.SMOTE, Method.TILT)
    generator: GeneratorConfig = field(default_factory=lambda: GeneratorConfig(batch=256, steps=200, latent=16))


@dataclass(frozen=True)
class Cell:
    """Recall on the test part at a budget of 1 % of the goods, all models recalibrated.

    `usual`: LightGBM with weights that balance the classes, no tuning. `weighted`: size and weight tuned out of fold;
    the incumbent that the step has to beat. `arms`: every remedy. `gated`: what the step lets through. `aucs` are those
    of `weighted` and `gated`.
    """

    book: str
    bads: int
    seed: int
    usual: float
    weighted: float
    arms: Mapping[str, float]
    chosen: str
    gated: float
    aucs: tuple[float, float]


@dataclass(frozen=True)
class Draw:
    """Training rows of one cell, and how the trees read them."""

    book: RareBook
    rows: Dataset
    encoder: Encoder
    effort: Effort
    seed: int

    @classmethod
    def of(cls, book: RareBook, bads: int, seed: int, effort: Effort) -> Draw:
        """Return the draw of a seed with so many bads."""
        rows = book.drawn(bads, seed=seed, goods_per_bad=effort.goods_per_bad)
        return cls(book, rows, Encoder.fit(rows, _READING), effort, seed)

    def cell(self) -> Cell:
        """Return what each remedy reaches."""
        size, weight = self._tuned()
        step = Synthesize(
            against=0.0 if math.isinf(weight) else weight,
            methods=self.effort.methods,
            folds=self.effort.folds,
            rows=self.effort.rows,
            generator=self.effort.generator,
            label_curve=False,
        )
        search, found = step.tried(self.rows, self._fit(size), seed=self.seed, progress=Silent())
        chosen = step.chosen(found)
        bads = int((self.rows.labels == 1).sum())
        told = found if bads <= self.effort.tested else [each for each in found if each in (found[0], chosen)]
        scores = {each.arm.label: self._scores(search, each) for each in told}
        recalls = {label: self._recall(some) for label, some in scores.items()}
        before, after = (scores[each.arm.label] for each in (found[0], chosen))
        return Cell(
            self.book.name,
            bads,
            self.seed,
            self._usual(size, weight, recalls[found[0].arm.label]),
            recalls[found[0].arm.label],
            recalls,
            "refused" if chosen is found[0] else chosen.arm.label,
            recalls[chosen.arm.label],
            (auc(self.book.test.labels, before), auc(self.book.test.labels, after)),
        )

    def _fit(self, size: str) -> WeightedFit:
        return partial(_fitted, self.encoder, size)

    def _tuned(self) -> tuple[str, float]:
        """Return the size and the weight of real bads with the highest recall out of fold."""
        plain = Arm(Method.WEIGHTS, seed=self.seed)
        arms = [replace(plain, weight=weight) for weight in _WEIGHTS]
        tries = [
            (each.recall, size, each.arm.weight)
            for size in _SIZES
            for each in Search(
                self.rows,
                self._fit(size),
                folds=_TUNING_FOLDS,
                most=self.effort.rows,
                seed=self.seed,
                progress=Silent(),
            ).tried(arms)
        ]
        best = max(tries, key=lambda each: each[0])
        return best[1], best[2]

    def _usual(self, size: str, weight: float, known: float) -> float:
        if size == "slim" and math.isinf(weight):
            return known
        balanced = Arm(Method.WEIGHTS, weight=math.inf, seed=self.seed)
        return self._recall(balanced.taught(self.rows, None, self._fit("slim")).predict(self.book.test.frame))

    def _scores(self, search: Search, tried: Tried) -> npt.NDArray[np.float64]:
        scores: npt.NDArray[np.float64] = search.final(tried.arm, self.rows).predict(self.book.test.frame)
        return scores

    def _recall(self, scores: npt.NDArray[np.float64]) -> float:
        return float(caught_shares(self.book.test.labels, scores, (BUDGET,)).mean())


def kept_cells(path: Path) -> list[Cell]:
    """Return the cells that an earlier run wrote, line by line; a line that was cut is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text().splitlines():
        try:
            plain = json.loads(line)
        except json.JSONDecodeError:
            continue
        found.append(Cell(**{**plain, "aucs": tuple(plain["aucs"])}))
    return found


def keep_cell(path: Path, cell: Cell) -> None:
    """Add one cell to the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        stream.write(json.dumps(asdict(cell)) + "\n")


def planned(books: Iterable[str], seeds: Mapping[int, int], *, first: int = 0) -> Sequence[tuple[str, int, int]]:
    """Return book, bads and seed of every cell, the fewest bads first; `seeds` by number of bads, from `first` on."""
    names = list(books)
    return [
        (name, bads, seed) for bads, count in seeds.items() for seed in range(first, first + count) for name in names
    ]


def _fitted(encoder: Encoder, size: str, rows: Dataset, weights: npt.NDArray[np.float32]) -> Gbdt:
    params, rounds = _SIZES[size]
    reading = Reading(encoder.inputs, encoder.record)
    inputs = encoder.inputs(rows.frame)
    return refit_gbdt(
        inputs, rows.labels, encoder.fields, reading, params=params, rounds=rounds, seed=1, weights=weights
    )
