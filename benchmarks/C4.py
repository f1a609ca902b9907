"""Claim C4: half of the features gone at a KS that is not inferior, in a fifth of the time of a plain SHAP-RFECV."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.runner import Bar, Outcome
from benchmarks.selected.books import NAMES, Book, book
from benchmarks.selected.half import rulings
from benchmarks.selected.rfecv import Eliminated, best, parsimonious, shap_rfecv
from leanrisk.core.dataset import Dataset
from leanrisk.core.metrics import auc, ks
from leanrisk.core.progress import Progress
from leanrisk.evaluate.bootstrap import metric_difference
from leanrisk.evaluate.gates import GateConfig, accepted, judge
from leanrisk.evaluate.intervals import ONE_SIDED_95
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.models.calibration import Calibration
from leanrisk.models.export import export_graph
from leanrisk.models.gbdt import Gbdt
from leanrisk.models.gbdt_attribution import Forest
from leanrisk.models.gbdt_fit import SLIM_PARAMS, SLIM_ROUNDS, refit_gbdt
from leanrisk.models.incumbent import Reading
from leanrisk.models.onnx_session import GraphSession
from leanrisk.models.record_scorer import RecordScorer
from leanrisk.models.risk_config import preset_config
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.pipelines.measure import records_of
from leanrisk.techniques.base import Bench, Candidate, Teacher, unmeasured
from leanrisk.techniques.select.prices import Prices
from leanrisk.techniques.select.sampling import folds_of, newest_rows
from leanrisk.techniques.select.technique import Select

Values = dict[str, float | int | str]
Names = tuple[str, ...]

_SEED = 0
_SHARE, _LEFT, _TIMES = 0.5, 114, 5.0
_READING = EncoderConfig(levels=500, min_level_rows=10)
_RAMP = Calibration("isotonic", 0.8, 0.1, x=(-3.0, -2.0, -1.0, 0.0, 1.5), y=(-3.5, -2.5, -0.9, 0.2, 2.0))
_WARM_UP = 200


@dataclass(frozen=True)
class _Effort:
    names: Sequence[str]
    rows: int
    features: int
    most: int
    calls: int
    turns: int


_EFFORTS = {
    "smoke": _Effort(("simulator",), 4_000, 40, 1_500, 300, 3),
    "full": _Effort(NAMES, 240_000, 217, 8_000, 1_000, 9),
}


def run(preset: str, progress: Progress) -> Outcome:
    """Return what is left of each book's features, at what KS, after how long, against SHAP-RFECV on the same rows.

    Both sides read the same sample of training rows by the same folds, with LightGBM of the same parameters, on one
    thread of one process, one after the other. The validation rows decide; the newest rows (test) only report.
    """
    effort = _EFFORTS[preset]
    figures: Values = {"most_train_rows": effort.most, "simulated_rows": effort.rows}
    bars: list[Bar] = []
    for name in effort.names:
        made = book(name, rows=effort.rows, most=effort.most, features=effort.features)
        if made is None:
            figures[f"{name}_note"] = "the public data are not on this machine"
            continue
        told, reached = _measured(made, effort, progress)
        figures |= {f"{name}_{key}": value for key, value in told.items()}
        bars += reached
    return Outcome(figures, tuple(bars))


def _measured(made: Book, effort: _Effort, progress: Progress) -> tuple[Values, list[Bar]]:
    train, config = made.train, Select()
    whole = _refit(train)
    began = time.perf_counter(), time.process_time()
    after = config.apply(Candidate(train.features, whole), _bench(made, progress))
    ours = time.perf_counter() - began[0], time.process_time() - began[1]
    began = time.perf_counter(), time.process_time()
    rounds, names = _reference(train, config, progress)
    theirs = time.perf_counter() - began[0], time.process_time() - began[1]
    sets = {"best": best(rounds), "parsimonious": parsimonious(rounds)}
    scores = {"all": whole, "select": after.model} | {
        f"rfecv_{way}": _refit(train.keeping(names[column] for column in each.columns)) for way, each in sets.items()
    }
    results = judge(
        made.valid.labels,
        *(_asked(scores, made.valid, who) for who in ("all", "select")),
        config=GateConfig(),
        seed=_SEED,
    )
    kept, reason = accepted(results, GateConfig())
    kept = kept and not after.objection
    figures: Values = {
        "rows": made.rows,
        "columns": made.columns,
        "train_rows": train.rows,
        "train_bads": int(train.labels.sum()),
        "valid_rows": made.valid.rows,
        "valid_bads": int(made.valid.labels.sum()),
        "test_rows": made.test.rows,
        "features": len(train.features),
        "features_select": len(after.features),
        **{f"features_rfecv_{way}": int(each.columns.size) for way, each in sets.items()},
        "gate": after.objection or reason,
        "gate_accepts": "yes" if kept else "no",
        "select_s": round(ours[0], 2),
        "select_cpu_s": round(ours[1], 2),
        "rfecv_s": round(theirs[0], 2),
        "rfecv_cpu_s": round(theirs[1], 2),
        "rfecv_rounds": len(rounds),
        "times_faster": round(theirs[0] / ours[0], 2),
        **_baskets(train, after.features),
        **_halves(after, len(train.features)),
        **_quality(made, scores),
    }
    final = after.features if kept else train.features
    figures |= _latencies(made, final, effort)
    return figures, _bars(made, figures, scores, kept=kept)


def _refit(rows: Dataset, *, draw: int = 0) -> Gbdt:
    encoder = Encoder.fit(rows, _READING)
    reading = Reading(encoder.inputs, encoder.record)
    return refit_gbdt(
        encoder.inputs(rows.frame),
        rows.labels,
        encoder.fields,
        reading,
        params=SLIM_PARAMS,
        rounds=SLIM_ROUNDS,
        seed=_SEED + draw,
    )


def _bench(made: Book, progress: Progress) -> Bench:
    compare = partial(judge, config=GateConfig(), seed=_SEED)
    return Bench(
        made.train,
        made.valid,
        Teacher(None),
        unmeasured,
        _SEED,
        progress=progress,
        refit=_refit,
        compare=compare,
    )


def _reference(train: Dataset, config: Select, progress: Progress) -> tuple[list[Eliminated], Names]:
    encoder = Encoder.fit(train, _READING)
    folds = folds_of(train.labels, newest_rows(train, config.newest), count=config.folds, seed=_SEED)
    count = len(encoder.fields.names)
    rounds = shap_rfecv(
        encoder.inputs(train.frame).matrix(),
        train.labels,
        folds,
        category=frozenset(range(len(encoder.fields.numeric), count)),
        forest=Forest.restrained(),
        seed=_SEED,
        progress=progress,
    )
    return rounds, encoder.fields.names


def _asked(models: dict[str, Any], rows: Dataset, who: str) -> npt.NDArray[np.float64]:
    return np.asarray(models[who].predict(rows.frame))


def _quality(made: Book, models: dict[str, Any]) -> Values:
    """Return KS and AUC of every model on validation and test rows, and what the selection changes on the test."""
    figures: Values = {}
    for part, rows in (("valid", made.valid), ("test", made.test)):
        for who in models:
            scores = _asked(models, rows, who)
            figures |= {
                f"{part}_{who}_ks": round(ks(rows.labels, scores), 4),
                f"{part}_{who}_auc": round(auc(rows.labels, scores), 4),
            }
        for other in ("all", "rfecv_best"):
            found = _difference(rows, models, other)
            figures |= {f"{part}_select_less_{other}_ks_{key}": round(value, 4) for key, value in found.items()}
    return figures


def _difference(rows: Dataset, models: dict[str, Any], other: str) -> dict[str, float]:
    """Return the KS of the selection less that of another model, with its one-sided 95 % bounds."""
    before, after = (_asked(models, rows, who) for who in (other, "select"))
    found = metric_difference(rows.labels, before, after, "ks", seed=_SEED, level=ONE_SIDED_95)
    return {"value": found.value, "lo": found.lo, "hi": found.hi}


def _baskets(train: Dataset, kept: Names) -> Values:
    prices = Prices.of(train.schema)
    before, after = prices.basket(train.features), prices.basket(kept)
    return {
        "money_all": round(before.money, 2),
        "money_select": round(after.money, 2),
        "look_ups_ms_all": before.latency_ms,
        "look_ups_ms_select": after.latency_ms,
    }


def _halves(after: Candidate, offered: int) -> Values:
    """Return what was said of the sets with at most half of the features: how many, the largest and the smallest."""
    found = rulings(after.details["select"]["curve"], most=int(_SHARE * offered), config=GateConfig())
    figures: Values = {"half_sets": len(found), "half_sets_accepted": sum(each.kept for each in found)}
    if found:
        figures |= {"half_largest": str(found[0]), "half_smallest": str(found[-1])}
    return figures


def _latencies(made: Book, kept: Names, effort: _Effort) -> Values:
    """Return microseconds of a decision before and after, and of its two parts that read features.

    The served model is the default network with first weights, whose time is that of taught ones. Routes take turns,
    and each figure is the median over the turns of the turn's median. `one` is the same route with a single feature:
    what a decision costs however many features there are (the call, the operators of the network's body).
    """
    timed: dict[str, tuple[Callable[[Any], object], Sequence[Any]]] = {}
    for when, names in (("before", made.train.features), ("after", kept), ("one", kept[:1])):
        rows = made.train.keeping(names)
        encoder = Encoder.fit(rows)
        graph = export_graph(RiskTransformer(preset_config("swift", encoder.fields)), encoder.fields, _RAMP)
        scorer = RecordScorer(GraphSession(graph), encoder.writer)
        records, row = records_of(made.valid, names), scorer.session.row()
        timed[f"{when}_us"] = scorer, records
        timed[f"{when}_encode_us"] = partial(_write, scorer, row), records
        timed[f"{when}_model_us"] = partial(_answer, row), records
    taken: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(effort.turns):
        for name, (call, asked) in timed.items():
            taken[name].append(_median_us(call, asked, effort.calls))
    found = {name: float(np.median(values)) for name, values in taken.items()}
    features, reading = len(made.train.features), found["before_us"] - found["one_us"]
    share = min(1.0, (found["before_encode_us"] + found["before_model_us"]) / found["before_us"])
    return {
        **{f"latency_{name}": round(value, 2) for name, value in found.items()},
        "latency_encode_model_share": round(share, 4),
        "latency_fall": round(1 - found["after_us"] / found["before_us"], 4),
        "latency_fall_in_proportion": round((1 - len(kept) / features) * share, 4),
        "latency_reading_fall": round((found["before_us"] - found["after_us"]) / reading, 4),
        "latency_reading_fall_in_proportion": round((features - len(kept)) / (features - 1), 4),
    }


def _write(scorer: RecordScorer, row: Any, record: dict[str, Any]) -> None:
    scorer.writer.write(record, row.inputs, None)


def _answer(row: Any, record: dict[str, Any]) -> float:
    return float(row.answer())


def _median_us(call: Callable[[Any], object], asked: Sequence[Any], calls: int) -> float:
    for place in range(_WARM_UP):
        call(asked[place % len(asked)])
    taken = np.empty(calls)
    for place in range(calls):
        began = time.perf_counter_ns()
        call(asked[place % len(asked)])
        taken[place] = time.perf_counter_ns() - began
    return float(np.median(taken)) / 1e3


def _bars(made: Book, figures: Values, models: dict[str, Any], *, kept: bool) -> list[Bar]:
    where, margin = made.name, GateConfig().ks_margin
    left, offered = len(models["select"].features), len(made.train.features)
    against = _difference(made.valid, models, "rfecv_best")
    bars = [
        Bar.at_least(f"{where}: times faster than SHAP-RFECV, wall", float(figures["times_faster"]), _TIMES),
        Bar.at_least(f"{where}: KS less RFECV's on validation, upper limit (below 0: worse)", against["hi"], 0.0),
    ]
    if where == "simulator":
        most = _LEFT * offered // 217
        bars += [
            Bar(f"{where}: features left, accepted by the gate", left, most, kept and left <= most),
            Bar.at_least(
                f"{where}: KS less all features' on validation, lower limit",
                _difference(made.valid, models, "all")["lo"],
                margin,
            ),
            Bar.at_least(f"{where}: KS less RFECV's on validation, lower limit", against["lo"], margin),
        ]
    else:
        share = left / offered
        # The gate has refused where it took none of the sets with at most half of the features that came before it.
        refused = not kept or (int(figures["half_sets"]) > 0 and not figures["half_sets_accepted"])
        what = f"{where}: share of features left, or the gate refuses"
        bars.append(Bar(what, share, _SHARE, share <= _SHARE or refused))
    if kept:
        bars.append(
            Bar.at_least(
                f"{where}: latency fall, at least in proportion",
                float(figures["latency_fall"]),
                float(figures["latency_fall_in_proportion"]),
            )
        )
    return bars
