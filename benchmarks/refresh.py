"""Consecutive training rounds of two books in time order: today's routines against lean refreshes, cost and quality."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.rounds import trees
from benchmarks.rounds.champion import Effort, champion_of, incumbent_of
from benchmarks.rounds.cohorts import Cohorts, Round, sba_cohorts, simulated_cohorts
from benchmarks.rounds.command import champion_bundle, commanded
from benchmarks.rounds.tunings import round_teacher, tuned
from benchmarks.rounds.verdicts import difference, pooled
from benchmarks.runner import Bar, Outcome
from leanrisk.core.measurement import Cost, Interval
from leanrisk.core.metrics import auc
from leanrisk.core.progress import Progress
from leanrisk.cost.meter import Meter
from leanrisk.evaluate.gates import GateConfig
from leanrisk.evaluate.quality import quality
from leanrisk.models.gbdt import Gbdt
from leanrisk.pipelines.contender import Contender
from leanrisk.techniques.base import Candidate, Model, Teacher
from leanrisk.techniques.lean_model import LeanModel
from leanrisk.techniques.reteach import Reteach

Values = dict[str, float | int | str]

_SOURCE = 0.094
_FULL, _DEFAULT, _COMMAND = "full_routine", "swift_in_run", "swift_command"
_LEAN = {
    _DEFAULT: ("swift", Reteach()),
    "tiny_all_weights": ("tiny", Reteach(method="all")),
    "tiny_lora": ("tiny", Reteach(method="lora")),
    "tiny_lora_freeze_cached": ("tiny", Reteach(method="lora+freeze")),
}


def run(preset: str, progress: Progress) -> Outcome:
    """Return CPU-s, wall, peak RSS, adapter bytes, AUC and KS out of time, and forgetting, for each routine and round.

    A lean round's cost includes fitting its teachers. `swift_in_run` is the round inside a run, which has all older
    rows at hand; `swift_command` is `leanrisk refresh` on the last bundle and the new rows alone, its gates included;
    the others have no gate. Differences are against the full routine on the same test rows, pooled over the rounds.
    """
    full = preset == "full"
    effort = Effort(trials=30) if full else Effort(trials=2, pretraining=1, epochs=2, copies=1, bins=48)
    books = [simulated_cohorts(24_000, 114) if full else simulated_cohorts(8_000, 30, first=10, last=12)]
    if full and (sba := sba_cohorts()) is not None:
        books.append(sba)
    figures: Values = {}
    bars: list[Bar] = []
    for book in books:
        with tempfile.TemporaryDirectory() as folder:
            bars += _Race.of(book, effort, progress, Path(folder)).run(figures)
    return Outcome(figures, tuple(bars))


@dataclass
class _Race:
    """All routines over the rounds of one book; each lean one goes on from its own last champion."""

    book: Cohorts
    effort: Effort
    progress: Progress
    beaten: Contender
    champions: dict[str, Candidate]
    start: dict[str, Candidate]
    continued: Gbdt
    folder: Path
    bundle: Path
    costs: dict[str, list[Cost]] = field(default_factory=dict)
    differences: dict[tuple[str, str], list[Interval]] = field(default_factory=dict)

    @classmethod
    def of(cls, book: Cohorts, effort: Effort, progress: Progress, folder: Path) -> _Race:
        beaten, _ = incumbent_of(book, effort, seed=0)
        if not isinstance(beaten.model, Gbdt):
            raise TypeError(f"the incumbent is LightGBM: this one is {beaten.model.kind}")
        lesson, _ = beaten.lesson(book.train, folds=3, seed=0)
        start = {
            preset: champion_of(book, beaten, preset, effort, teacher=lesson, seed=0, progress=progress)
            for preset in {preset for preset, _ in _LEAN.values()}
        }
        champions = {name: start[preset] for name, (preset, _) in _LEAN.items()}
        bundle = champion_bundle(start["swift"], beaten, book, folder / "champion").folder
        return cls(book, effort, progress, beaten, champions, start, beaten.model, folder, bundle)

    def run(self, figures: Values) -> list[Bar]:
        models: dict[str, Model] = {}
        with self.progress.track(f"rounds of {self.book.name}", len(self.book.rounds)) as advance:
            for this in self.book.rounds:
                models = self._round(this, figures)
                advance(1)
        self._forgetting(models, figures)
        return self._sums(figures)

    def _round(self, this: Round, figures: Values) -> dict[str, Model]:
        models = {name: self._timed(name, routine) for name, routine in self._routines(this).items()}
        teacher, teaching = round_teacher(self.beaten, this, seed=0)
        for name in _LEAN:
            models[name] = self._lean(name, this, teacher, teaching)
        models[_COMMAND] = self._commanded(this, figures)
        models |= {f"{preset}_left_alone": champion.model for preset, champion in self.start.items()}
        scores = {name: model.predict(this.test.frame) for name, model in models.items()}
        self._note(this, scores, figures)
        return models

    def _routines(self, this: Round) -> dict[str, Callable[[], Model]]:
        rows = this.all_rows
        return {
            _FULL: partial(trees.tuned_anew, rows, trials=self.effort.trials, seed=0),
            "refit": partial(trees.refitted, self.beaten, rows, seed=0),
            "continued": partial(self._continued, this),
            "slim": partial(trees.slim, rows, seed=0),
        }

    def _continued(self, this: Round) -> Gbdt:
        params = self.beaten.params or {}
        self.continued = trees.trained_on(self.continued, self.beaten.encoder, this.teach, params=params, seed=0)
        return self.continued

    def _timed(self, name: str, routine: Callable[[], Model]) -> Model:
        with Meter() as meter:
            model = routine()
        self.costs.setdefault(name, []).append(meter.cost)
        return model

    def _lean(self, name: str, this: Round, teacher: Teacher, teaching: Cost) -> Model:
        after = tuned(self.champions[name], this, teacher, _LEAN[name][1], seed=0, progress=self.progress)
        self.champions[name] = after.candidate
        cost = replace(
            after.cost,
            cpu_s=after.cost.cpu_s + teaching.cpu_s,
            wall_s=after.cost.wall_s + teaching.wall_s,
            peak_rss_mb=max(after.cost.peak_rss_mb, teaching.peak_rss_mb),
        )
        self.costs.setdefault(name, []).append(cost)
        return after.model

    def _commanded(self, this: Round, figures: Values) -> Model:
        self.bundle, model, cost, verdict = commanded(self.bundle, this, self.folder / this.name, self.progress)
        self.costs.setdefault(_COMMAND, []).append(cost)
        figures[f"{self.book.name}_round_{this.name}_{_COMMAND}_accepted"] = int(verdict["accepted"])
        return model

    def _note(self, this: Round, scores: dict[str, npt.NDArray[np.float64]], figures: Values) -> None:
        labels, where = this.test.labels, f"{self.book.name}_round_{this.name}"
        figures |= {f"{where}_new_rows": this.teach.rows, f"{where}_test_rows": this.test.rows}
        for name, found in scores.items():
            told = quality(labels, found, seed=0, resamples=200)
            for metric in ("auc", "ks"):
                for end, value in (("", told[metric].value), ("_lo", told[metric].lo), ("_hi", told[metric].hi)):
                    figures[f"{where}_{name}_{metric}{end}"] = round(value, 4)
                each = difference(labels, scores[_FULL], found, metric, seed=0)
                self.differences.setdefault((name, metric), []).append(each)
            if name in self.costs:
                figures[f"{where}_{name}_cpu_s"] = round(self.costs[name][-1].cpu_s, 2)
        for name, candidate in self.champions.items():
            model = candidate.model
            if isinstance(model, LeanModel) and model.tuning and model.tuning["frontier"]:
                places = [f"{move['blocks']} ({move['why']})" for move in model.tuning["frontier"]]
                figures[f"{where}_{name}_frontier"] = " > ".join(places)

    def _forgetting(self, models: dict[str, Model], figures: Values) -> None:
        """Note what each last model makes of old rows that nothing was taught on, less its own start's AUC there."""
        old = self.book.old
        starts: dict[str, Model] = {name: self.start[preset].model for name, (preset, _) in _LEAN.items()}
        starts[_COMMAND] = self.start["swift"].model
        for name, model in models.items():
            before = auc(old.labels, starts.get(name, self.beaten.model).predict(old.frame))
            after = auc(old.labels, model.predict(old.frame))
            figures[f"{self.book.name}_{name}_old_auc_change"] = round(after - before, 4)

    def _sums(self, figures: Values) -> list[Bar]:
        where = self.book.name
        spent = {name: sum(cost.cpu_s for cost in costs) for name, costs in self.costs.items()}
        for name, costs in self.costs.items():
            figures |= {
                f"{where}_{name}_cpu_s_per_round": round(spent[name] / len(costs), 2),
                f"{where}_{name}_wall_s_per_round": round(sum(cost.wall_s for cost in costs) / len(costs), 2),
                f"{where}_{name}_peak_rss_mb": round(max(cost.peak_rss_mb for cost in costs)),
                f"{where}_{name}_share_of_full_routine": round(spent[name] / spent[_FULL], 4),
                f"{where}_{name}_times_refit": round(spent[name] / spent["refit"], 2),
            }
        for (name, metric), found in self.differences.items():
            each = pooled(found)
            figures |= {
                f"{where}_{name}_{metric}_difference": round(each.value, 4),
                f"{where}_{name}_{metric}_difference_lo": round(each.lo, 4),
                f"{where}_{name}_{metric}_difference_hi": round(each.hi, 4),
            }
        for name, candidate in self.champions.items():
            model = candidate.model
            if isinstance(model, LeanModel):
                figures[f"{where}_{name}_parameters"] = model.parameters
                figures[f"{where}_{name}_trainable"] = model.tuning["trainable"] if model.tuning else 0
                figures[f"{where}_{name}_adapter_bytes"] = model.adapter.size_bytes if model.adapter else 0
        bars = []
        for name in (_DEFAULT, _COMMAND):
            ks, share = pooled(self.differences[name, "ks"]), spent[name] / spent[_FULL]
            bars += [
                Bar.at_most(f"{where}: {name}, share of the full routine's CPU-seconds", share, _SOURCE),
                Bar.at_least(f"{where}: {name}, lower 95 % limit of the KS difference", ks.lo, GateConfig().ks_margin),
            ]
        return bars
