"""Claim C1: adapters of under 1 % of the weights learn a round as well as all weights do."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from benchmarks.rounds.champion import Effort, champion_of, incumbent_of
from benchmarks.rounds.cohorts import Cohorts, sba_cohorts, simulated_cohorts
from benchmarks.rounds.tunings import round_teacher, tuned
from benchmarks.rounds.verdicts import difference, pooled
from benchmarks.runner import Bar, Outcome
from leanrisk.core.measurement import Interval
from leanrisk.core.metrics import auc
from leanrisk.core.progress import Progress
from leanrisk.features.encoder import Encoder
from leanrisk.models.adapter import Adapter
from leanrisk.models.lesson import Lesson
from leanrisk.models.risk_config import preset_config
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import plain_network, train
from leanrisk.models.training_config import TrainingConfig
from leanrisk.techniques.reteach import Reteach
from leanrisk.techniques.tuning import LoraSettings

Values = dict[str, float | int | str]

_FEATURES = 114
_PROJECTIONS, _TABLE = "projections", "table"
_LORA = {_PROJECTIONS: LoraSettings(targets=("query_key_value",)), _TABLE: LoraSettings()}
_SOURCE_SHARE, _MOST_SHARE, _MARGIN = 0.99, 0.01, -0.002
_BATCH, _STEPS = 32, 4


def run(preset: str, progress: Progress) -> Outcome:
    """Return trainable shares, step times of `base`, and AUC of LoRA less that of full tuning over several rounds.

    LoRA on the field table is what the technique does by default; on the attention projections, what the article does.
    Rank, knots and learning rate were chosen on another simulated book and on SBA's judges, not on these tests.
    """
    full = preset == "full"
    figures: Values = {}
    book = simulated_cohorts(
        100_000 if full else 12_000, _FEATURES, first=12, last=15, most=(20_000, 5_000) if full else (3_000, 900)
    )
    bars = _base(figures, book, progress, steps=_STEPS if full else 1, preset="base" if full else "mid")
    books = [book, *([sba] if full and (sba := _first_sba()) else [])]
    for name in ("tiny", "mid") if full else ("tiny",):
        for each in books if name == "tiny" else books[:1]:
            bars += _quality(figures, each, name, full=full, progress=progress)
    return Outcome(figures, tuple(bars))


def _first_sba() -> Cohorts | None:
    """Return the rounds of 2004 to 2006, on the way into the downturn; `bench refresh` has all of them."""
    book = sba_cohorts()
    return None if book is None else replace(book, rounds=book.rounds[:3])


def _base(figures: Values, book: Cohorts, progress: Progress, *, steps: int, preset: str) -> list[Bar]:
    """Measure the share that learns in a network of BERT-base's size, and what a step costs, with and without LoRA."""
    encoder = Encoder.fit(book.train)
    rows = book.train.take(np.arange(_BATCH * steps))
    lesson = Lesson(encoder.lookups(encoder.inputs(rows.frame)), rows.labels)
    network = RiskTransformer(preset_config(preset, encoder.fields))
    adapter = Adapter.fresh(network, rank=16, alpha=32, seed=0)
    figures |= {
        f"{preset}_parameters": network.num_parameters(),
        f"{preset}_rank16_parameters": adapter.parameters,
        f"{preset}_rank16_bytes": adapter.size_bytes,
    }
    config = TrainingConfig(epochs=1, batch=_BATCH)
    ways: Mapping[str, RiskTransformer] = {"lora": plain_network(adapter.attached(network)), "full": network}
    for way, learner in ways.items():
        with progress.track(f"{preset}, {way}: {steps} steps of {_BATCH} rows"):
            cpu, wall = time.process_time(), time.perf_counter()
            log = train(
                learner,
                lesson,
                held_out=Lesson(lesson.lookups.take(slice(0, 1)), rows.labels[:1]),
                config=config,
                seed=0,
            )
            figures[f"{preset}_{way}_step_cpu_s"] = round((time.process_time() - cpu) / log.steps, 3)
            figures[f"{preset}_{way}_step_wall_s"] = round((time.perf_counter() - wall) / log.steps, 3)
    saved = 1 - adapter.parameters / network.num_parameters()
    return [Bar.at_least(f"{preset}: share of parameters that need not be trained, rank 16", saved, _SOURCE_SHARE)]


def _quality(figures: Values, book: Cohorts, preset: str, *, full: bool, progress: Progress) -> list[Bar]:
    """Teach the rounds in every way, each from its own last champion, and compare with full tuning."""
    effort = _effort(preset, full=full)
    beaten, _ = incumbent_of(book, effort, seed=0)
    lesson, _ = beaten.lesson(book.train, folds=3, seed=0)
    champion = champion_of(book, beaten, preset, effort, teacher=lesson, seed=0, progress=progress)
    ways = {"full": Reteach(method="all")}
    ways |= {name: Reteach(method="lora", lora=lora) for name, lora in _LORA.items()}
    last = dict.fromkeys(ways, champion)
    differences: dict[str, list[Interval]] = {way: [] for way in ways}
    scores: dict[str, list[float]] = {way: [] for way in (*ways, "champion")}
    cpu = dict.fromkeys(ways, 0.0)
    for this in book.rounds:
        teacher, _ = round_teacher(beaten, this, seed=0)
        labels = this.test.labels
        scores["champion"].append(auc(labels, champion.model.predict(this.test.frame)))
        reference = None
        for way, config in ways.items():
            after = tuned(last[way], this, teacher, config, seed=0, progress=progress)
            last[way] = after.candidate
            cpu[way] += after.cost.cpu_s
            found = after.model.predict(this.test.frame)
            reference = found if reference is None else reference
            scores[way].append(auc(labels, found))
            differences[way].append(difference(labels, reference, found, "auc", seed=0))
            if after.model.adapter is not None:
                figures[f"{book.name}_{preset}_{way}_parameters"] = after.model.adapter.parameters
                figures[f"{book.name}_{preset}_{way}_bytes"] = after.model.adapter.size_bytes
    where = f"{book.name}_{preset}"
    figures[f"{where}_parameters"] = last["full"].model.parameters  # type: ignore[attr-defined]
    figures[f"{where}_rounds"] = len(book.rounds)
    for way, found_auc in scores.items():
        figures[f"{where}_{way}_auc"] = round(float(np.mean(found_auc)), 4)
    for way in ways:
        figures[f"{where}_{way}_cpu_s_per_round"] = round(cpu[way] / len(book.rounds), 2)
    bars = []
    for way in list(ways)[1:]:
        each = pooled(differences[way])
        figures |= {
            f"{where}_{way}_auc_difference": round(each.value, 4),
            f"{where}_{way}_auc_difference_lo": round(each.lo, 4),
            f"{where}_{way}_auc_difference_hi": round(each.hi, 4),
        }
        if way == _TABLE:
            bars.append(Bar.at_least(f"{where}: AUC of LoRA less full tuning's", each.value, _MARGIN))
            share = int(figures[f"{where}_{way}_parameters"]) / int(figures[f"{where}_parameters"])
            figures[f"{where}_{way}_share"] = round(share, 4)
            if preset == "tiny":
                bars.append(Bar.at_most(f"{where}: adapter's share of parameters", share, _MOST_SHARE))
    return bars


def _effort(preset: str, *, full: bool) -> Effort:
    if not full:
        return Effort(trials=2, pretraining=1, epochs=2, copies=1, bins=48)
    return Effort(trials=6) if preset == "tiny" else Effort(trials=6, pretraining=4, epochs=4, copies=1, bins=48)
