"""One cell: so many bads of one draw; tuned class weights, every way to make bads, and what the search picks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.synthesized.books import MAKERS, RareBook
from leanrisk.core.dataset import Dataset
from leanrisk.core.progress import Silent
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.models.gbdt import Gbdt
from leanrisk.models.gbdt_fit import SLIM_PARAMS, SLIM_ROUNDS, refit_gbdt
from leanrisk.models.incumbent import Reading
from leanrisk.models.synthesis.settings import GeneratorConfig
from leanrisk.techniques.synthesize.arm import Arm, Method
from leanrisk.techniques.synthesize.search import Search, Tried, best, caught_shares
from leanrisk.techniques.synthesize.technique import Synthesize

BUDGET = 0.01
_READING = EncoderConfig(levels=500, min_level_rows=10)
_SIZES: Mapping[str, tuple[dict[str, Any], int]] = {
    "slim": (dict(SLIM_PARAMS), SLIM_ROUNDS),
    "small": ({**SLIM_PARAMS, "num_leaves": 4}, 60),
}
_WEIGHTS = (30.0, math.inf)
_MADE = (Method.SMOTE, Method.GAN, Method.VAE)


@dataclass(frozen=True)
class Effort:
    """How many goods are learned beside the bads, and how long generators learn."""

    goods: int = 5000
    folds: int = 2
    generator: GeneratorConfig = field(default_factory=lambda: GeneratorConfig(batch=256, steps=200, latent=16))


@dataclass(frozen=True)
class Cell:
    """Recall on the test part at a budget of 1 % of the goods: `weighted` is class weights tuned out of fold.

    `usual`: weights that balance the classes, no tuning. `arms`: each way to make bads. `gated`: what the search takes.
    """

    book: str
    bads: int
    seed: int
    usual: float
    weighted: float
    arms: Mapping[str, float]
    chosen: str
    gated: float


def cells_of(name: str, full: bool, seeds: int, sizes: Sequence[int], effort: Effort) -> list[Cell]:
    """Return every cell of a book that has bads enough for it; none where its data are not on this machine."""
    book = MAKERS[name](full)
    if book is None:
        return []
    there = int((book.pool.labels == 1).sum())
    draws = (Draw(book, effort, seed) for seed in range(seeds))
    return [draw.cell(bads) for draw in draws for bads in sizes if bads <= there]


class Draw:
    """One draw of goods, shared by all numbers of bads: generators learn the goods once."""

    def __init__(self, book: RareBook, effort: Effort, seed: int) -> None:
        self.book, self.effort, self.seed = book, effort, seed
        self._courses: dict[Method, Any] = {}

    def cell(self, bads: int) -> Cell:
        """Return what each way reaches with so many bads."""
        rows = self.book.drawn(bads, self.effort.goods, seed=self.seed)
        encoder = Encoder.fit(rows, _READING)
        tuned = [(size, self._search(rows, encoder, size)) for size in _SIZES]
        plain = Arm(Method.WEIGHTS, seed=self.seed, generator=self.effort.generator)
        weights = [replace(plain, weight=weight) for weight in _WEIGHTS]
        tries = [(search, tried) for _, search in tuned for tried in search.tried(weights)]
        search, weighted = max(tries, key=lambda pair: pair[1].recall)
        made = [replace(plain, method=method, ratio=0.05, weight=30.0) for method in _MADE]
        found = search.tried([replace(weighted.arm, slope=1.0, intercept=0.0), *made])
        picked = best(found, proof=Synthesize().proof)
        recalls = {each.arm.label: self._recall(search, each, rows) for each in found}
        return Cell(
            self.book.name,
            bads,
            self.seed,
            self._recall(tuned[0][1], tries[1][1], rows),
            recalls[weighted.arm.label],
            {each.arm.method.value: recalls[each.arm.label] for each in found[1:]},
            "weights" if picked is found[0] else picked.arm.method.value,
            recalls[picked.arm.label],
        )

    def _search(self, rows: Dataset, encoder: Encoder, size: str) -> Search:
        made = Search(
            rows,
            partial(_fitted, encoder, size),
            folds=self.effort.folds,
            most=rows.rows,
            seed=self.seed,
            progress=Silent(),
        )
        # The goods of a draw are the same whatever the number of bads.
        made._courses = self._courses
        return made

    def _recall(self, search: Search, tried: Tried, rows: Dataset) -> float:
        model = search.final(tried.arm, rows)
        test = self.book.test
        return float(caught_shares(test.labels, model.predict(test.frame), (BUDGET,)).mean())


def _fitted(encoder: Encoder, size: str, rows: Dataset, weights: npt.NDArray[np.float32]) -> Gbdt:
    params, rounds = _SIZES[size]
    reading = Reading(encoder.inputs, encoder.record)
    inputs = encoder.inputs(rows.frame)
    return refit_gbdt(
        inputs, rows.labels, encoder.fields, reading, params=params, rounds=rounds, seed=1, weights=weights
    )
