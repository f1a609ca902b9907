"""Table half of C5: every student of one best teacher on public books, by AUC share and microseconds per decision."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.remembered.books import data_folder
from benchmarks.runner import Bar
from leanrisk.core.metrics import auc
from leanrisk.core.progress import Progress
from leanrisk.cost.meter import Meter
from leanrisk.data.load import load
from leanrisk.data.split import Split, SplitConfig, split
from leanrisk.evaluate.bootstrap import metric_difference
from leanrisk.evaluate.fidelity import fidelity
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.models.forest_fit import ForestConfig
from leanrisk.models.gbdt_search import GbdtConfig, train_gbdt_full
from leanrisk.models.training_config import TrainingConfig
from leanrisk.pipelines.contender import Contender, log_odds, reading_of
from leanrisk.pipelines.measure import records_of
from leanrisk.pipelines.teachers import plugged
from leanrisk.scenarios.catalogue import load_schema
from leanrisk.techniques.base import Bench, Candidate, Model, Teacher, unmeasured
from leanrisk.techniques.classroom import Classroom
from leanrisk.techniques.distill import Distill

Values = dict[str, float | int | str]
Scores = npt.NDArray[np.float64]
Route = Callable[[Mapping[str, Any]], float]

SHARE, TIMES = 0.995, 20.0
_SEED = 0
_WARM_UP, _TURN = 10, 40
_RESAMPLES = 500
_BOOKS = {
    "sba": ("sba_loans/sba_balanced_30000.parquet", "sba_loans"),
    "taiwan_credit": ("taiwan_credit_default/taiwan_credit.parquet", "taiwan_credit_default"),
    "give_me_some_credit": ("give_me_some_credit/cs_training.parquet", "give_me_some_credit"),
    "home_credit": ("home_credit/application_train_11873.parquet", "home_credit"),
}


@dataclass(frozen=True)
class Effort:
    """How much one preset spends: most `rows` of a book, `trials` of the search, `calls` timed, networks' `epochs`."""

    rows: int
    trials: int
    calls: int
    epochs: int
    copies: int


EFFORTS = {"smoke": Effort(4_000, 2, 200, 2, 1), "full": Effort(40_000, 20, 1_000, 8, 3)}


@dataclass
class Row:
    """One model of the table: its scores on validation and test rows, and the ways to ask it about a record."""

    valid: Scores
    test: Scores
    routes: dict[str, Route] = field(default_factory=dict)
    facts: Values = field(default_factory=dict)


def tables(preset: str, progress: Progress) -> tuple[Values, list[Bar]]:
    """Return the figures and the bars of all books; a book whose data are not here says so and has no bar."""
    effort, figures, bars = EFFORTS[preset], Values(), list[Bar]()
    for name, (file, schema) in _BOOKS.items():
        path = data_folder() / file
        if not path.is_file():
            figures[f"{name}_note"] = "the public data are not on this machine"
            continue
        frame = pl.read_parquet(path)
        frame = frame.sample(min(frame.height, effort.rows), seed=_SEED)
        parts = split(load(frame, load_schema(schema)), SplitConfig(), seed=_SEED)
        told, reached = _book(name, parts, effort, progress)
        figures |= told
        bars += reached
    return figures, bars


def _book(name: str, parts: Split, effort: Effort, progress: Progress) -> tuple[Values, list[Bar]]:
    test, valid = parts.open_test(), parts.valid
    figures: Values = {f"{name}_train_rows": parts.train.rows, f"{name}_test_rows": test.rows}
    with progress.track(f"{name}: teachers"):
        teachers, teacher, start = _teachers(parts, test.frame, effort)
    students = {}
    for label, step in _students(effort).items():
        with progress.track(f"{name}: {label}"), Meter() as meter:
            bench = Bench(parts.train, valid, teacher, unmeasured, _SEED)
            made = step.apply(start, bench)
        students[label] = _row(made.model, valid.frame, test.frame)
        students[label].facts |= {"cpu_s": round(meter.cost.cpu_s, 1), "kb": round(made.size_bytes / 1e3)}
    best = max(teachers, key=lambda who: auc(test.labels, teachers[who].test))
    records = records_of(test, parts.train.features)
    with progress.track(f"{name}: asking by turns"):
        micro = _by_turns({**teachers, **students}, records, effort.calls)
    figures[f"{name}_best_teacher"] = best
    for who, row in {**teachers, **students}.items():
        figures[f"{name}_{who}_auc"] = round(auc(test.labels, row.test), 4)
        figures |= {f"{name}_{who}_{way}_us": round(value, 1) for way, value in micro[who].items()}
        figures |= {f"{name}_{who}_{key}": value for key, value in row.facts.items()}
    for who, row in students.items():
        figures |= _against(f"{name}_{who}", test.labels, teachers[best], row, micro[best], micro[who])
    return figures, _bars(figures, name, students, valid.labels)


def _teachers(parts: Split, test: pl.DataFrame, effort: Effort) -> tuple[dict[str, Row], Teacher, Candidate]:
    """Return the teachers' rows, the one that teaches (the mean of all), and what the students start from."""
    train, valid = parts.train, parts.valid.frame
    encoder = Encoder.fit(train, EncoderConfig(levels=500, min_level_rows=10))
    reading = reading_of(encoder)
    config = GbdtConfig(trials=effort.trials, threads=1)
    fit = train_gbdt_full(encoder.inputs(train.frame), train.labels, encoder.fields, reading, config=config, seed=_SEED)
    others = plugged({"catboost": _catboost()}) if find_spec("catboost") else ()
    beaten = Contender(fit.model, encoder, fit.params, fit.rounds, others=others)
    lesson, _ = beaten.lesson(train, folds=3, seed=_SEED)
    panel = dict(zip(("lightgbm", "forest", *(other.name for other in others)), _panel(beaten, parts), strict=True))
    rows = {who: _row(model, valid, test) for who, model in panel.items()}
    if "catboost" in panel:
        rows["catboost"].routes["usual"] = _usual(panel["catboost"], encoder)
    on_valid, on_test = (
        _probability(np.mean([log_odds(scores) for scores in part], axis=0))
        for part in ([row.valid for row in rows.values()], [row.test for row in rows.values()])
    )
    members = [row.routes["usual"] for row in rows.values()]
    rows["mean_of_teachers"] = Row(
        on_valid, on_test, {"usual": lambda record: float(np.mean([ask(record) for ask in members]))}
    )
    rows["lightgbm"].facts |= {"trees": fit.rounds}
    return rows, lesson, Candidate(train.features, fit.model)


def _panel(beaten: Contender, parts: Split) -> tuple[Model, ...]:
    return beaten.panel(parts.train, seed=_SEED)


def _catboost() -> Any:
    return import_module("catboost").CatBoostClassifier(
        iterations=500, depth=6, learning_rate=0.05, thread_count=1, random_seed=_SEED, verbose=0,
        allow_writing_files=False,
    )  # fmt: skip


def _usual(teaching: Any, encoder: Encoder) -> Route:
    """Return how CatBoost is mostly served: a one-row pandas frame, `predict_proba`."""
    import pandas as pd

    names, ask = pd.Index(list(encoder.fields.names)), teaching.model.predict_proba
    return lambda record: float(ask(pd.DataFrame(encoder.record(record).matrix(), columns=names))[0, 1])


def _students(effort: Effort) -> dict[str, Distill]:
    room, training = Classroom(copies=effort.copies), TrainingConfig(epochs=effort.epochs, threads=1)
    trees = Distill(student="trees", classroom=room, training=training)
    return {
        "trees": trees,
        "trees_of_63_leaves": replace(trees, trees=ForestConfig(trees=100, leaves=63)),
        "trees_300": replace(trees, trees=ForestConfig(trees=300)),
        # The simple remedy: as many trees, from the outcomes alone.
        "trees_of_outcomes": replace(
            trees, training=replace(training, teacher_weight=0.0), classroom=replace(room, copies=0)
        ),
        "scorecard": Distill(student="scorecard", classroom=replace(room, copies=0), training=training),
        "swift": Distill(classroom=room, training=training),
        "tiny": Distill(preset="tiny", classroom=room, training=replace(training, epochs=max(2, effort.epochs // 2))),
    }


def _row(model: Any, valid: pl.DataFrame, test: pl.DataFrame) -> Row:
    """Return the model's scores, and its routes from a record: the usual one, and the bare call where it has one."""
    made = Row(model.predict(valid), model.predict(test))
    usual = model.usual()
    if usual is not None:
        made.routes["usual"] = usual
    if hasattr(model, "bare"):
        bare, row = model.bare(), model.bare_row
        made.routes["bare"] = lambda record: float(bare(row(record)))
    return made


def _by_turns(rows: Mapping[str, Row], records: Sequence[Any], calls: int) -> dict[str, dict[str, float]]:
    """Return the median microseconds of every route; they are asked by turns, so that a busy machine slows them all.

    A turn is a block of calls, of which the first do not count: each finds its own caches warm, as a service does.
    Every route starts from a dict of raw fields; "bare" encodes it, too, and skips the pandas frame alone.
    """
    routes = {(who, way): route for who, row in rows.items() for way, route in row.routes.items()}
    taken: dict[tuple[str, str], list[int]] = {key: [] for key in routes}
    for turn in range(max(2, calls // _TURN)):
        for key, route in routes.items():
            for call in range(_WARM_UP + _TURN):
                record = records[(turn * _TURN + call) % len(records)]
                began = time.perf_counter_ns()
                route(record)
                if call >= _WARM_UP:
                    taken[key].append(time.perf_counter_ns() - began)
    found: dict[str, dict[str, float]] = {who: {} for who in rows}
    for (who, way), spent in taken.items():
        found[who][way] = float(np.median(spent)) / 1e3
    return found


def _against(
    where: str, labels: Any, teacher: Row, student: Row, before: Mapping[str, float], after: Mapping[str, float]
) -> Values:
    lost = metric_difference(labels, teacher.test, student.test, "auc", seed=_SEED, resamples=_RESAMPLES, relative=True)
    told = fidelity(labels, teacher.test, student.test)
    return {
        f"{where}_auc_share": round(1 + lost.value, 4),
        f"{where}_auc_share_lo": round(1 + lost.lo, 4),
        f"{where}_auc_share_hi": round(1 + lost.hi, 4),
        f"{where}_times_faster": round(before["usual"] / after["usual"], 1),
        **({f"{where}_times_faster_than_bare": round(before["bare"] / after["usual"], 2)} if "bare" in before else {}),
        f"{where}_rank_correlation": round(told["rank_correlation"] or 0.0, 4),
        f"{where}_agreement": round(told["agreement"], 4),
        f"{where}_swapped_in": told["swap_in"],
        f"{where}_swapped_out": told["swap_out"],
    }


def _bars(figures: Values, name: str, students: Mapping[str, Row], labels: Any) -> list[Bar]:
    """Return the bars of the student that validation rows choose: the best of those that are fast enough there.

    Test rows judge; they choose nothing. Where none is fast enough, the best of all.
    """
    shares = {who: auc(labels, row.valid) for who, row in students.items()}
    fast = [who for who in shares if float(figures[f"{name}_{who}_times_faster"]) >= TIMES]
    chosen = max(fast or shares, key=shares.__getitem__)
    figures[f"{name}_chosen"] = chosen
    share, times = (float(figures[f"{name}_{chosen}_{key}"]) for key in ("auc_share", "times_faster"))
    return [
        Bar.at_least(f"{name}: AUC of the chosen student ({chosen}) as a share of the best teacher's", share, SHARE),
        Bar.at_least(f"{name}: times fewer microseconds per decision than that teacher ({chosen})", times, TIMES),
    ]


def _probability(margin: npt.NDArray[np.floating[Any]]) -> Scores:
    return np.asarray(1.0 / (1.0 + np.exp(-margin.astype(np.float64))), dtype=np.float64)
