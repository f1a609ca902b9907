"""Label efficiency: AUC and KS out of time against the number of labels, with a base, without one, and LightGBM."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from benchmarks.runner import FOLDER, Bar, Outcome
from leanrisk.core.dataset import Dataset
from leanrisk.core.inputs import Inputs, Lookups
from leanrisk.core.measurement import Cost, Interval
from leanrisk.core.metrics import auc, ks
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.seeding import derived_seed, generator
from leanrisk.cost.rates import RateCard
from leanrisk.data.load import load
from leanrisk.data.simulate.sme import simulate_sme, sme_schema
from leanrisk.data.split import SplitConfig, split
from leanrisk.evaluate.delong import auc_difference
from leanrisk.evaluate.gates import GateConfig
from leanrisk.models.gbdt_search import GbdtConfig, GbdtFit, train_gbdt_full
from leanrisk.models.incumbent import Reading
from leanrisk.models.lesson import Lesson
from leanrisk.models.pretraining import PretrainingConfig
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import predict_logits, train
from leanrisk.models.training_config import TrainingConfig
from leanrisk.pipelines.pretrain import pretrain
from leanrisk.scenarios.catalogue import load_schema
from leanrisk.techniques.base import Teacher
from leanrisk.techniques.classroom import Classroom, Scale
from leanrisk.techniques.pretrained import Base
from leanrisk.techniques.teaching import teach

_SBA = "sba_loans/sba_balanced_30000.parquet"
_SPLIT = SplitConfig(test_share=0.25, valid_share=0.1)
_HELD_OUT = 0.15
_SILENT = Silent()

Scores = npt.NDArray[np.floating[Any]]
ALL = 0
"""Stands for every label there is."""


@dataclass(frozen=True)
class Effort:
    """How much one preset spends; `distilled` are the numbers of labels at which pupils of LightGBM are taught too."""

    rows: int
    features: int
    seeds: int
    labels: tuple[int, ...]
    distilled: tuple[int, ...]
    pretraining: PretrainingConfig
    trials: int
    epochs: int


_EFFORTS = {
    "smoke": Effort(4_000, 30, 1, (500, 1_000, ALL), (1_000,), PretrainingConfig(epochs=3), 2, 3),
    "full": Effort(
        24_000,
        60,
        2,
        (500, 1_000, 2_000, 5_000, 10_000, ALL),
        (1_000, 5_000),
        PretrainingConfig(epochs=12),
        8,
        10,
    ),
}
_RATES = {"scratch": 2e-3, "base": 1e-3}
"""Learning rates, each the better one of those tried; a base that is taught faster forgets what it was taught."""


@dataclass(frozen=True)
class Book:
    """One book before its test: `history` holds first the rows that may be labelled, then those never labelled."""

    name: str
    history: Dataset
    pool: int
    test: Dataset
    base: Base
    cost: Cost

    @property
    def scratch(self) -> RiskTransformer:
        """A network like the base's that was never taught; its head starts at 0 as well, so that only rows differ."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(0, "scratch"))
            network = RiskTransformer(self.base.network.config)
            for parameter in network.head.parameters():
                torch.nn.init.zeros_(parameter)
        return network

    def lookups(self, inputs: Inputs) -> Lookups:
        """Return the rows as the network reads them."""
        return self.base.encoder.lookups(inputs)


def run(preset: str, progress: Progress) -> Outcome:
    """Return AUC and KS by book, number of labels and way of learning, and the labels that pre-training saves.

    A network taught outcomes only, from scratch and from the base; LightGBM after its search; the mean of its log-odds
    and the base's; and, at some sizes, pupils of that LightGBM on all rows, from scratch and from the base. Every
    figure is a mean over seeds (draws of labels), the pupils' of the first seed; limits are the means of DeLong's.
    """
    effort = _EFFORTS[preset]
    figures: dict[str, float | int | str] = {}
    bars: list[Bar] = []
    folder = Path(os.environ.get("LEANRISK_DATA", FOLDER.parent.parent / "shared" / "data"))
    # Rates and the silent head were chosen on seed 1: its test rows would flatter them.
    frame = simulate_sme(rows=effort.rows, features=effort.features, seed=5)
    tables = [("simulated", load(frame, sme_schema(features=effort.features)))]
    if (folder / _SBA).is_file():
        tables.append(("sba", load(folder / _SBA, load_schema("sba_loans"))))
    for name, dataset in tables:
        book = _opened(name, dataset, effort, progress)
        curves = _curves(book, effort, progress)
        figures |= _figures(book, curves)
        figures |= _savings(book, curves)
        gains = [curves.difference((size, "scratch"), (size, "base")).value for size in curves.scores]
        bars.append(Bar.at_least(f"{name}: AUC gained by pre-training, mean over labels", float(np.mean(gains)), 0.0))
    return Outcome({"seeds": effort.seeds, **figures}, tuple(bars))


@dataclass(frozen=True)
class Curves:
    """Log-odds of the test rows by number of labels and way of learning, one array for each seed."""

    truth: npt.NDArray[np.float32]
    scores: Mapping[int, Mapping[str, list[Scores]]]

    def mean(self, metric: Callable[..., float], size: int, way: str) -> float:
        """Return the mean of the metric over seeds."""
        return float(np.mean([metric(self.truth, found) for found in self.scores[size][way]]))

    def difference(self, before: tuple[int, str], after: tuple[int, str]) -> Interval:
        """Return AUC(after) - AUC(before), each a number of labels and a way: DeLong's limits, mean over seeds."""
        # A way that one seed alone has is compared on that seed.
        old, new = (self.scores[size][way] for size, way in (before, after))
        found = [auc_difference(self.truth, *pair) for pair in zip(old, new, strict=False)]
        return Interval(*(float(np.mean([getattr(one, end) for one in found])) for end in ("value", "lo", "hi")))

    def fewest(self, way: str, other: str, size: int) -> int | None:
        """Return the fewest labels with which `way` is proven as good as `other` with `size`, None where it is not.

        Proven as the gates mean it: the lower limit of the difference is above their margin.
        """
        margin = GateConfig().auc_margin
        proven = [n for n in self.scores if n <= size and self.difference((size, other), (n, way)).lo >= margin]
        return min(proven, default=None)


def _opened(name: str, dataset: Dataset, effort: Effort, progress: Progress) -> Book:
    """Cut the book out of time and pre-train on all rows older than its test, whether their outcome is known or not."""
    dataset = replace(dataset, frame=dataset.frame.with_row_index("_row"))
    parts, time = split(dataset, _SPLIT, seed=0), str(dataset.schema.time)
    test = parts.open_test()
    pool = pl.concat([parts.train.frame, parts.valid.frame])
    older = dataset.frame.filter(pl.col(time) < test.frame[time].min(), ~pl.col("_row").is_in(pool["_row"].implode()))
    history = replace(dataset, frame=pl.concat([pool, older]).drop("_row"))
    with TemporaryDirectory() as out:
        base = pretrain(history, out=Path(out) / "base", config=effort.pretraining, progress=progress)
    return Book(name, history, pool.height, test, base, Cost(**base.facts["cost"]))


def _curves(book: Book, effort: Effort, progress: Progress) -> Curves:
    sizes = [size for size in dict.fromkeys(size or book.pool for size in effort.labels) if size <= book.pool]
    scores: dict[int, dict[str, list[Scores]]] = {size: {} for size in sizes}
    with progress.track(f"{book.name}: learning from labels", len(sizes) * effort.seeds) as advance:
        for size in sizes:
            for seed in range(effort.seeds):
                for way, found in _scores(book, size, effort, seed).items():
                    scores[size].setdefault(way, []).append(found)
                advance(1)
    return Curves(book.test.labels, scores)


_COMPARED = (
    ("base", "scratch"),
    ("base", "gbdt"),
    ("mean", "gbdt"),
    ("distilled_base", "distilled_scratch"),
    ("distilled_base", "gbdt"),
)


def _scores(book: Book, size: int, effort: Effort, seed: int) -> dict[str, Scores]:
    """Return the test rows' log-odds by each way of learning from the same `size` labels."""
    encoder, rng = book.base.encoder, generator(seed, "labels", str(size))
    drawn = np.sort(rng.choice(book.pool, size=size, replace=False))
    rows = book.history.take(drawn)
    inputs, tested = encoder.inputs(rows.frame), encoder.inputs(book.test.frame)
    forest = train_gbdt_full(
        inputs,
        rows.labels,
        encoder.fields,
        Reading(encoder.inputs, encoder.record),
        config=GbdtConfig(trials=effort.trials),
        seed=seed,
    )
    starts = {"scratch": book.scratch, "base": book.base.network}
    scores: dict[str, Scores] = {"gbdt": forest.model.margin(tested)}
    for way, start in starts.items():
        scores[way] = _by_outcomes(book, start, inputs, rows.labels, _RATES[way], effort, seed)
    scores["mean"] = scores["gbdt"] + scores["base"]
    # Pupils take longest, and differ least from seed to seed: one will do.
    if size in effort.distilled and seed == 0:
        teacher = _teacher(book, forest, drawn)
        for way, start in starts.items():
            scores[f"distilled_{way}"] = _by_teacher(book, start, teacher, drawn, effort, seed)
    return scores


def _by_outcomes(
    book: Book,
    start: RiskTransformer,
    inputs: Inputs,
    labels: npt.NDArray[np.float32],
    rate: float,
    effort: Effort,
    seed: int,
) -> Scores:
    network, lookups = copy.deepcopy(start), book.lookups(inputs)
    held = np.zeros(labels.size, dtype=np.bool_)
    for outcome in (0, 1):
        places = generator(seed, "held-out", str(outcome)).permutation(np.flatnonzero(labels == outcome))
        held[places[: max(1, round(_HELD_OUT * places.size))]] = True
    batch = min(256, max(16, labels.size // 16))
    train(
        network,
        Lesson(lookups.take(~held), labels[~held]),
        held_out=Lesson(lookups.take(held), labels[held]),
        config=TrainingConfig(epochs=effort.epochs, batch=batch, learning_rate=rate),
        seed=seed,
    )
    return predict_logits(network, book.lookups(book.base.encoder.inputs(book.test.frame)))


def _teacher(book: Book, forest: GbdtFit, drawn: npt.NDArray[np.int64]) -> Teacher:
    """Return LightGBM's opinions on all rows of the history: out of fold on those whose labels it saw."""
    margins = forest.model.margin(book.base.encoder.inputs(book.history.frame)).astype(np.float32)
    margins[drawn] = forest.oof.margin
    return Teacher(margins)


def _by_teacher(
    book: Book,
    start: RiskTransformer,
    teacher: Teacher,
    drawn: npt.NDArray[np.int64],
    effort: Effort,
    seed: int,
) -> Scores:
    network, target = copy.deepcopy(start), str(book.history.schema.target)
    known = np.zeros(book.history.rows, dtype=np.bool_)
    known[drawn] = True
    frame = book.history.frame.with_columns(pl.when(pl.Series(known)).then(pl.col(target)).alias(target))
    teach(
        network,
        book.base.encoder,
        replace(book.history, frame=frame),
        teacher,
        classroom=Classroom(copies=0),
        training=TrainingConfig(epochs=min(4, effort.epochs)),
        scale=Scale(),
        seed=seed,
        progress=_SILENT,
    )
    return predict_logits(network, book.lookups(book.base.encoder.inputs(book.test.frame)))


def _figures(book: Book, curves: Curves) -> dict[str, float | int | str]:
    facts = book.base.facts
    told: dict[str, float | int | str] = {
        f"{book.name}_history_rows": book.history.rows,
        f"{book.name}_label_pool": book.pool,
        f"{book.name}_test_rows": book.test.rows,
        f"{book.name}_pretrain_cpu_s": round(book.cost.cpu_s, 1),
        f"{book.name}_pretrain_epochs": len(facts["log"]["losses"]),
        f"{book.name}_fields_guessed": round(facts["log"]["guessed"], 4),
        f"{book.name}_fields_commonest": round(facts["log"]["commonest"], 4),
    }
    for size, ways in curves.scores.items():
        for way in ways:
            told[f"{book.name}_{size}_{way}_auc"] = round(curves.mean(auc, size, way), 4)
            told[f"{book.name}_{size}_{way}_ks"] = round(curves.mean(ks, size, way), 4)
        for way, other in _COMPARED:
            if way in ways:
                limits = curves.difference((size, other), (size, way))
                for end in ("value", "lo", "hi"):
                    told[f"{book.name}_{size}_{way}_over_{other}_{end}"] = round(getattr(limits, end), 4)
    return told


def _savings(book: Book, curves: Curves) -> dict[str, float | int | str]:
    """Return how many labels fewer a base needs to be as good as LightGBM, and as a network without one; their price.

    Only numbers of labels that were taught count, so a saving is never read between two points. What the base itself
    cost stands beside it, paid once.
    """
    card, name = RateCard.default(), book.name
    told: dict[str, float | int | str] = {f"{name}_pretrain_{card.currency}": _rounded(card.price(book.cost), 4)}
    for other in ("gbdt", "scratch"):
        for size in curves.scores:
            fewest = curves.fewest("base", other, size)
            saved = 0 if fewest is None else size - fewest
            money = card.price(Cost(0.0, 0.0, 0.0), {"labels": saved})
            told[f"{name}_{size}_labels_saved_over_{other}"] = saved or "none"
            told[f"{name}_{size}_saved_over_{other}_{card.currency}"] = _rounded(money, 2) if saved else "none"
    return told


def _rounded(money: float | None, digits: int) -> float | str:
    return "no price" if money is None else round(money, digits)
