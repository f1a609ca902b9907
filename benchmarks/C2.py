"""Claim C2: with the bottom blocks frozen and their states cached, a fine-tune costs a third and finds as many bads."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmarks.rounds.champion import Effort, champion_of, incumbent_of
from benchmarks.rounds.cohorts import Round, simulated_cohorts
from benchmarks.rounds.tunings import round_teacher
from benchmarks.rounds.verdicts import difference
from benchmarks.runner import Bar, Outcome
from leanrisk.core.dataset import Dataset
from leanrisk.core.metrics import recall_at_budget
from leanrisk.core.progress import Advance, Progress
from leanrisk.models.adapter import Adapter
from leanrisk.models.frontier import FreezeConfig
from leanrisk.models.lesson import Lesson
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import plain_network, predict_logits, train
from leanrisk.models.training_config import TrainingConfig
from leanrisk.models.training_loop import TrainingLog
from leanrisk.pipelines.new_rows import joined
from leanrisk.techniques.base import Ask
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.perturbed import perturbed_rows
from leanrisk.techniques.reteach import Reteach
from leanrisk.techniques.tuning import LoraSettings

Values = dict[str, float | int | str]

_FEATURES = 114
_BUDGET = 0.05
_EPOCHS = {"smoke": 3, "full": 10}
_DEPTHS = {"smoke": (0, 6, 9), "full": tuple(range(12))}
_DEPTH_ROWS = 1_500
_WHOLE, _EPOCH, _RECALL = 1 / 3, 1 / 4, 0.99


def run(preset: str, progress: Progress) -> Outcome:
    """Return the cost of an epoch at every depth, and of a whole dynamic fine-tune, against full fine-tuning.

    CPU-seconds of the training alone: the teacher's opinions are the same for all. Alert budget: 5 % of the rows.
    Above the frontier all weights learn: on another simulated book that was cheaper than adapters there (18 against 25
    CPU-s, since the blocks came to rest sooner) and ranked as full fine-tuning did (AUC 0.778, adapters 0.775).
    """
    full = preset == "full"
    book = simulated_cohorts(
        300_000 if full else 12_000, _FEATURES, first=12, last=15, most=(20_000, 5_000) if full else (2_000, 900)
    )
    effort = (
        Effort(trials=6, pretraining=4, epochs=4, copies=1, bins=48)
        if full
        else Effort(trials=2, pretraining=1, epochs=1, copies=1, bins=48)
    )
    beaten, _ = incumbent_of(book, effort, seed=0)
    lesson, _ = beaten.lesson(book.train, folds=3, seed=0)
    champion = champion_of(book, beaten, "mid", effort, teacher=lesson, seed=0, progress=progress).model
    if not isinstance(champion, LeanModel):
        raise TypeError(f"a champion is lean: this one is {champion.kind}")
    teacher, _ = round_teacher(beaten, book.rounds[0], seed=0)
    # All that comes after the cohort is tested on: one cohort has too few bads among its alerts to tell 1 % of recall.
    later = joined(joined(book.rounds[0].test, book.rounds[1].test), book.rounds[2].test)
    taught = _Taught.of(champion, replace(book.rounds[0], test=later), teacher.ask, progress)
    figures: Values = {
        "rows": taught.lesson.lookups.rows,
        "blocks": champion.network.depth,
        "test_rows": later.rows,
        "test_bads": int(later.labels.sum()),
    }
    _depths(figures, taught.thinned(_DEPTH_ROWS), _DEPTHS[preset])
    return Outcome(figures, tuple(_whole(figures, taught, epochs=_EPOCHS[preset])))


@dataclass(frozen=True)
class _Taught:
    """What every fine-tune learns from, and the champion that it starts from."""

    champion: LeanModel
    lesson: Lesson
    held_out: Lesson
    test: Dataset
    progress: Progress

    @classmethod
    def of(cls, champion: LeanModel, this: Round, ask: Ask | None, progress: Progress) -> _Taught:
        if ask is None:
            raise TypeError("this benchmark's teacher can be asked")
        rows = Reteach().rows(this.teach, this.seen, seed=0)
        frame = perturbed_rows(rows, copies=2, share=0.3, seed=0)
        encoder = champion.encoder
        unknown = np.full(frame.height, np.nan, dtype=np.float32)
        lesson = Lesson(encoder.lookups(encoder.inputs(frame)), unknown, ask(frame))
        judges = encoder.lookups(encoder.inputs(this.judge.frame))
        held_out = Lesson(judges, this.judge.labels, ask(this.judge.frame))
        return cls(champion, lesson, held_out, this.test, progress)

    def thinned(self, most: int) -> _Taught:
        """Return the same with fewer rows, for what is only timed."""
        rows = slice(0, most)
        lesson = Lesson(
            self.lesson.lookups.take(rows),
            self.lesson.targets[rows],
            None if self.lesson.teacher is None else self.lesson.teacher[rows],
        )
        return replace(self, lesson=lesson)

    def full(self, *, epochs: int) -> _Run:
        """Teach all weights."""
        return self._run(copy.deepcopy(self.champion.network), epochs=epochs, learning_rate=2e-3, freeze=None)

    def above(self, *, epochs: int, freeze: FreezeConfig) -> _Run:
        """Teach all weights above a frontier."""
        return self._run(copy.deepcopy(self.champion.network), epochs=epochs, learning_rate=2e-3, freeze=freeze)

    def lora(self, *, epochs: int, freeze: FreezeConfig | None) -> _Run:
        """Teach adapters of rank 4, all of them or those above a frontier."""
        settings, base = LoraSettings().settled(frozen=True), self.champion.network
        adapter = Adapter.fresh(base, rank=settings.rank, alpha=settings.alpha, seed=0)
        network = plain_network(adapter.attached(base))
        return self._run(network, epochs=epochs, learning_rate=settings.learning_rate, freeze=freeze)

    def _run(self, network: RiskTransformer, *, epochs: int, learning_rate: float, freeze: FreezeConfig | None) -> _Run:
        config = TrainingConfig(
            epochs=epochs, patience=epochs, batch=128, learning_rate=learning_rate, warmup=0.1, averaging=0.9
        )
        clock = _EpochClock(self.progress)
        began = time.process_time()
        log = train(network, self.lesson, held_out=self.held_out, config=config, seed=0, freeze=freeze, progress=clock)
        return _Run(network, time.process_time() - began, clock.seconds, log)

    def scores(self, network: RiskTransformer) -> npt.NDArray[np.float64]:
        """Return the network's logits of the test rows."""
        encoder = self.champion.encoder
        return predict_logits(network, encoder.lookups(encoder.inputs(self.test.frame))).astype(np.float64)


@dataclass(frozen=True)
class _Run:
    network: RiskTransformer
    cpu_s: float
    epochs: list[float]
    log: TrainingLog


class _EpochClock:
    """Progress that notes the CPU-seconds between epochs."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner
        self.seconds: list[float] = []

    @contextlib.contextmanager
    def track(self, what: str, total: float | None = None) -> Iterator[Advance]:
        """Track as the inner progress does."""
        with self._inner.track(what, total) as advance:
            last = time.process_time()

            def ended(steps: float) -> None:
                nonlocal last
                now = time.process_time()
                self.seconds.append(now - last)
                last = now
                advance(steps)

            yield ended

    def say(self, message: str) -> None:
        """Say it as the inner progress does."""
        self._inner.say(message)


def _depths(figures: Values, taught: _Taught, depths: tuple[int, ...]) -> None:
    """Note the CPU-seconds of a second epoch at each depth, with the states of the frozen blocks cached and without."""
    whole = taught.full(epochs=2).epochs[1]
    figures["epoch_full_cpu_s"] = round(whole, 2)
    figures["epoch_lora_speedup"] = round(whole / taught.lora(epochs=2, freeze=None).epochs[1], 2)
    for depth in depths:
        for cache in (False, True):
            freeze = FreezeConfig(start=depth, most=depth, dynamic=False, cache=cache)
            taken = taught.above(epochs=2, freeze=freeze)
            name = f"frozen_{depth}" + "_cached" * cache
            figures[f"epoch_{name}_speedup"] = round(whole / taken.epochs[1], 2)
            figures[f"first_epoch_{name}_speedup"] = round(whole / taken.epochs[0], 2)
            if cache:
                figures[f"{name}_disk_mb"] = round(taken.log.cached_bytes / 2**20, 1)


def _whole(figures: Values, taught: _Taught, *, epochs: int) -> list[Bar]:
    """Fine-tune in full and dynamically for the same epochs, and compare cost and recall."""
    full, dynamic = taught.full(epochs=epochs), taught.above(epochs=epochs, freeze=FreezeConfig())
    labels = taught.test.labels
    scores = {"full": taught.scores(full.network), "dynamic": taught.scores(dynamic.network)}
    scores["champion"] = taught.scores(taught.champion.network)
    for name, found in scores.items():
        figures[f"{name}_recall"] = round(recall_at_budget(labels, found, _BUDGET), 4)
    for metric in ("auc", "ks"):
        each = difference(labels, scores["full"], scores["dynamic"], metric, seed=0)
        figures |= {
            f"dynamic_{metric}_difference": round(each.value, 4),
            f"dynamic_{metric}_difference_lo": round(each.lo, 4),
            f"dynamic_{metric}_difference_hi": round(each.hi, 4),
        }
    kept = difference(labels, scores["full"], scores["dynamic"], "recall_at_budget", seed=0)
    recall = recall_at_budget(labels, scores["full"], _BUDGET)
    figures |= {
        "epochs": epochs,
        "full_cpu_s": round(full.cpu_s, 2),
        "dynamic_cpu_s": round(dynamic.cpu_s, 2),
        "dynamic_frontier": " > ".join(f"{move.blocks} at step {move.step}" for move in dynamic.log.frontier),
        "dynamic_disk_mb": round(dynamic.log.cached_bytes / 2**20, 1),
        "recall_kept": round(1 + kept.value / recall, 4),
        "recall_kept_lo": round(1 + kept.lo / recall, 4),
        "recall_kept_hi": round(1 + kept.hi / recall, 4),
    }
    last = float(np.median(_calm(dynamic))) / float(np.median(full.epochs))
    return [
        Bar.at_most("whole dynamic fine-tune, share of full fine-tuning's CPU", dynamic.cpu_s / full.cpu_s, _WHOLE),
        Bar.at_most("epoch at the final frontier, share of a full epoch's CPU", last, _EPOCH),
        Bar.at_least("recall at a 5 % alert budget, share of full fine-tuning's", 1 + kept.value / recall, _RECALL),
    ]


def _calm(run: _Run) -> list[float]:
    """Return the seconds of the epochs at the final frontier, the one that filled the cache there left out."""
    settled = run.log.frontier[-1].step // (run.log.steps // len(run.epochs)) + 2
    return run.epochs[settled:] or run.epochs[-1:]
