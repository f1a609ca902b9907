"""Claim C7: a graph memory raises KS, and takes in new facts without retraining."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from benchmarks.remembered import books
from benchmarks.remembered.books import Book
from benchmarks.remembered.drift import Drifted, six_months
from benchmarks.remembered.models import Effort, Scores, families, lean, with_facts, without_memory
from benchmarks.runner import Bar, Outcome
from leanrisk.core.measurement import Interval
from leanrisk.core.metrics import auc, ks, recall_at_budget
from leanrisk.core.progress import Progress
from leanrisk.cost.meter import Meter
from leanrisk.evaluate.bootstrap import metric_difference

Values = dict[str, float | int | str]
Labels = npt.NDArray[np.float32]

_MAKERS: Mapping[str, Callable[[bool], Book | None]] = {
    "sba": books.sba,
    "card_fraud_handbook": books.handbook,
    "aml_simulator": books.transfers,
    "amlsim": books.amlsim,
    "card_simulator": books.payments,
}
_BARS = {"sba": 0.25, "card_fraud_handbook": 0.50, "aml_simulator": 0.079, "amlsim": 0.079}
"""How much of its KS the lean model with memory must gain on the tuned LightGBM without."""
_EFFORT = {
    # More copies raised KS in each of three windows before the test quarter, and so did fewer bins than the usual 48:
    # a coarser line through each number carries further into years that nobody has seen.
    "sba": Effort(trials=15, epochs=8, copies=8, bins=16),
    "amlsim": Effort(trials=15, epochs=8, copies=3),
    "card_fraud_handbook": Effort(trials=8, epochs=4, copies=1),
    "aml_simulator": Effort(trials=6, epochs=3, copies=1),
    "card_simulator": Effort(trials=8, epochs=4, copies=1),
}
_QUICK = Effort(trials=2, folds=2, epochs=2, copies=1)
_BUDGET = 0.01
_RESAMPLES = 500


def run(preset: str, progress: Progress) -> Outcome:
    """Return KS of LightGBM and the lean model without and with a memory, book by book, and six months of drift."""
    full = preset == "full"
    figures: Values = {}
    bars: list[Bar] = []
    for name, maker in _MAKERS.items():
        with Meter() as meter, progress.track(f"{name}: remembering"):
            book = maker(full)
        if book is None:
            figures[f"{name}_note"] = "the public data are not on this machine"
            continue
        figures[f"{name}_memory_cpu_s"] = round(meter.cost.cpu_s, 1)
        bars += _gains(figures, book, _EFFORT[name] if full else _QUICK, progress)
    with progress.track("six months of drift"):
        drifted = six_months(full, Effort(trials=6) if full else _QUICK)
    return Outcome(figures, (*bars, *_drift(figures, drifted)))


def _gains(figures: Values, book: Book, effort: Effort, progress: Progress) -> list[Bar]:
    """Measure the four models and the families of facts on the test part of one book."""
    labels, where = book.test.labels, book.name
    figures |= {
        f"{where}_rows": book.rows,
        f"{where}_train_rows": book.train.rows,
        f"{where}_test_rows": book.test.rows,
        f"{where}_test_bads": int(labels.sum()),
        f"{where}_facts": len(book.facts),
    }
    with progress.track(f"{where}: tuning LightGBM"):
        beaten = without_memory(book, effort)
    before = beaten.model.predict(book.test.frame)
    models: dict[str, Scores] = {
        "lightgbm": before,
        "lightgbm_memory": with_facts(book, beaten, book.facts),
        "lean": lean(book, beaten, (), effort, progress),
        "lean_memory": lean(book, beaten, book.facts, effort, progress),
    }
    for name, scores in models.items():
        figures |= _quality(f"{where}_{name}", labels, scores)
    for name, scores in families(book, beaten).items():
        figures[f"{where}_only_{name}_ks"] = round(ks(labels, scores), 4)
    return _compared(figures, where, labels, before, models["lean_memory"])


def _quality(where: str, labels: Labels, scores: Scores) -> Values:
    return {
        f"{where}_ks": round(ks(labels, scores), 4),
        f"{where}_auc": round(auc(labels, scores), 4),
        f"{where}_recall_at_1_percent": round(recall_at_budget(labels, scores, _BUDGET), 4),
    }


def _compared(figures: Values, where: str, labels: Labels, before: Scores, after: Scores) -> list[Bar]:
    gain, share = (
        metric_difference(labels, before, after, "ks", seed=0, resamples=_RESAMPLES, relative=relative)
        for relative in (False, True)
    )
    figures |= _interval(f"{where}_ks_gain", gain) | _interval(f"{where}_ks_gain_share", share)
    if where not in _BARS:
        return []
    what = f"{where}: KS of lean with memory over LightGBM without"
    return [
        Bar.at_least(f"{what}, as a share", share.value, _BARS[where]),
        # Where LightGBM is near chance the share has no base to speak of; the plain difference has.
        Bar.at_least(f"{what}, lower limit of the difference", gain.lo, 0.0),
    ]


def _drift(figures: Values, found: Drifted) -> list[Bar]:
    """Compare the three ways over the months; the score of each month is judged within that month."""
    months = np.unique(found.month)
    means = {}
    for way, scores in found.scores.items():
        each = [ks(found.labels[found.month == place], scores[found.month == place]) for place in months]
        means[way] = float(np.mean(each))
        figures[f"drift_{way}_ks"] = round(means[way], 4)
        figures |= {f"drift_{way}_ks_month_{place + 1}": round(value, 4) for place, value in enumerate(each)}
    figures |= {f"drift_{way}_cpu_s": round(value, 2) for way, value in found.cpu_s.items()}
    frozen, updated = found.scores["frozen"], found.scores["updated"]
    gain = metric_difference(found.labels, frozen, updated, "ks", seed=0, resamples=_RESAMPLES)
    rest = metric_difference(found.labels, updated, found.scores["retrained"], "ks", seed=0, resamples=_RESAMPLES)
    figures |= _interval("drift_updated_less_frozen_ks", gain) | _interval("drift_retrained_less_updated_ks", rest)
    return [Bar.at_least("drift: KS of an updated memory less a frozen one, lower limit", gain.lo, 0.0)]


def _interval(where: str, found: Interval) -> Values:
    return {
        where: round(found.value, 4),
        f"{where}_lo": round(found.lo, 4),
        f"{where}_hi": round(found.hi, 4),
    }
