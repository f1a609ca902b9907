"""Sentiment of financial news and the product of a complaint: dear teachers, small students, and what both must beat.

No checkpoint comes with this project. Where LEANRISK_TEXT_CHECKPOINT names a local Hugging Face folder, a teacher goes
on from it. LEANRISK_TEXT_SCRATCH=1 teaches BERT of base size from scratch, which is an hour of CPU; its cost for 1,000
texts is measured in any case, since it does not depend on what was learned.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.distilled.text_books import TextBook, complaints, phrasebank
from benchmarks.distilled.text_rows import (
    Ask,
    Scores,
    controls,
    cpu_ms_per_1000,
    f1_interval,
    money_per_1000,
    out_of_fold,
    share_interval,
)
from benchmarks.distilled.text_teachers import Dear, from_folder, from_scratch
from benchmarks.runner import Bar, Outcome
from leanrisk.core.measurement import Interval
from leanrisk.core.progress import Progress
from leanrisk.cost.meter import Meter
from leanrisk.models.pair_config import PairConfig
from leanrisk.models.text.distillation import TextConfig, distill_text
from leanrisk.models.text.graph import text_graph
from leanrisk.models.text.network import TextBody, encoder_network, parameters_of
from leanrisk.models.text.session import TextSession
from leanrisk.models.text.teacher import TextTeacher
from leanrisk.models.text.tokenizer import TextTokenizer

Values = dict[str, float | int | str]

_BOOKS: tuple[Callable[[bool], TextBook | None], ...] = (phrasebank, complaints)
_SHARE, _COST = 0.95, 1 / 20
_BAG = TextConfig(
    body=TextBody(kind="bag", width=32, dropout=0.3),
    balanced=True,
    copies=0,
    training=PairConfig(epochs=10, batch=64, learning_rate=3e-3),
)
_ENCODER = TextConfig(
    body=TextBody(dropout=0.2),
    balanced=True,
    copies=0,
    training=PairConfig(epochs=3, batch=32, learning_rate=1e-3, precision="bf16"),
)
_TAUGHT_ENCODER = replace(_ENCODER, copies=3, dropped=0.25, training=replace(_ENCODER.training, epochs=8))
"""Asked about three copies of each text with a quarter of its words left out, and for as long as validation gains."""


@dataclass
class _Row:
    """One model: its scores of the test texts (one array for each seed), how it is asked, and what is told of it."""

    scores: list[Scores]
    ask: Ask
    told: Values = field(default_factory=dict)


def run(preset: str, progress: Progress, makers: Sequence[Callable[[bool], TextBook | None]] = _BOOKS) -> Outcome:
    """Return macro-F1, CPU-milliseconds and yuan per 1,000 texts of every row, and the bars of the pairs."""
    full = preset == "full"
    figures: Values = {}
    bars: list[Bar] = []
    with torch.inference_mode(False):
        for maker in makers:
            book = maker(full)
            if book is None:
                figures[f"{maker.__name__}_note"] = "the public data are not on this machine"
                continue
            bars += _measured(figures, book, full, progress)
    figures["load_1m"] = round(os.getloadavg()[0], 2)
    return Outcome(figures, tuple(bars))


def _measured(figures: Values, book: TextBook, full: bool, progress: Progress) -> list[Bar]:
    where = book.name
    for name in ("train", "valid", "test"):
        figures[f"{where}_{name}_texts"] = len(getattr(book, name).texts)
    figures[f"{where}_classes"] = len(book.classes)
    with progress.track(f"{where}: controls"):
        plain = controls(book)
        rows = {
            name: _Row([model.predict_proba(book.test.texts)], model.predict_proba) for name, model in plain.items()
        }
        folds = [out_of_fold(book, plain["tfidf_logistic"])]
    teachers = _teachers(book, full, progress)
    if book.name == "phrasebank" and "bert_from_scratch" not in teachers:
        figures[f"{where}_bert_from_scratch_note"] = "not taught in this run: LEANRISK_TEXT_SCRATCH is not set"
    if book.name == "phrasebank" and "pretrained" not in teachers:
        figures[f"{where}_pretrained_note"] = "no checkpoint at hand: LEANRISK_TEXT_CHECKPOINT is not set"
    rows |= {name: _dear_row(dear, book) for name, dear in teachers.items()}
    pairs = _students(rows, book, teachers, folds, full, progress)
    with progress.track(f"{where}: timing", len(rows)) as advance:
        for name, row in rows.items():
            figures |= _told(f"{where}_{name}", book, row)
            advance(1)
        figures[f"{where}_bert_base_cpu_ms_per_1000"] = _untaught_cost(book, full)
    return [bar for student, teacher in pairs for bar in _bars(figures, book, rows, student, teacher)]


def _teachers(book: TextBook, full: bool, progress: Progress) -> dict[str, Dear]:
    found: dict[str, Dear] = {}
    if book.name != "phrasebank":
        # A thousand complaints cannot teach 109 million weights anything: there the controls teach.
        return found
    if os.environ.get("LEANRISK_TEXT_SCRATCH") or not full:
        found["bert_from_scratch"] = from_scratch(book, full=full, progress=progress)
    checkpoint = os.environ.get("LEANRISK_TEXT_CHECKPOINT")
    if checkpoint and full:
        found["pretrained"] = from_folder(book, Path(checkpoint), progress=progress)
    return found


def _dear_row(dear: Dear, book: TextBook) -> _Row:
    session, teacher = TextSession(text_graph(dear.teacher.network)), dear.teacher

    def ask(texts: Sequence[str]) -> Scores:
        return np.concatenate([session.batch(text[None]) for text in teacher.batches(texts).texts])

    told: Values = {"parameters": teacher.parameters, "train_cpu_s": round(dear.cpu_s, 1), "epochs": dear.epochs}
    return _Row([teacher.predict_proba(book.test.texts)], ask, told)


def _students(
    rows: dict[str, _Row],
    book: TextBook,
    teachers: dict[str, Dear],
    folds: Sequence[Scores],
    full: bool,
    progress: Progress,
) -> list[tuple[str, str]]:
    """Add the students' rows and that of the mean of all teachers; return (student, teacher) pairs to be held apart."""
    seen = {name: dear.teacher.predict_proba(book.train.texts) for name, dear in teachers.items()}
    everyone = [row.scores[0] for row in rows.values()]
    ensemble = list(rows.values())
    rows["ensemble"] = _Row(
        [np.mean(everyone, axis=0)], lambda texts: np.mean([row.ask(texts) for row in ensemble], axis=0)
    )
    mean = np.mean([*folds, *seen.values()], axis=0)
    taught_by: dict[str, Scores | None] = {
        "alone": None,
        "of_ensemble": mean,
        **{f"of_{name}": opinions for name, opinions in seen.items()},
    }
    pairs = []
    for body, config in (("bag", _BAG), ("encoder", _ENCODER)):
        for kind, teacher in taught_by.items():
            if body == "encoder" and kind not in ("alone", "of_pretrained"):
                continue
            seeds = (0, 1, 2) if full and kind != "of_ensemble" and (body, kind) != ("encoder", "alone") else (0,)
            name = f"{body}_{kind}"
            dear = body == "encoder" and kind != "alone"
            asked = teachers[kind.removeprefix("of_")].teacher if dear else teacher
            rows[name] = _student_row(book, _TAUGHT_ENCODER if dear else config, asked, seeds, name, progress)
            if teacher is not None:
                pairs.append((name, kind.removeprefix("of_")))
    return pairs


def _student_row(
    book: TextBook,
    config: TextConfig,
    teacher: Scores | TextTeacher | None,
    seeds: Sequence[int],
    name: str,
    progress: Progress,
) -> _Row:
    models = []
    with Meter() as meter, progress.track(f"{book.name}: {name}", len(seeds)) as advance:
        for seed in seeds:
            models.append(
                distill_text(
                    book.train.texts,
                    book.train.labels,
                    teacher=teacher,
                    config=replace(config, longest=book.longest),
                    held_out=(book.valid.texts, book.valid.labels),
                    seed=seed,
                )
            )
            advance(1)
    told: Values = {
        "parameters": models[0].facts["parameters"],
        "bytes": models[0].size_bytes,
        "train_cpu_s": round(meter.cost.cpu_s / len(seeds), 1),
        "seeds": len(seeds),
    }
    return _Row([model.predict_proba(book.test.texts) for model in models], models[0].predict_proba, told)


def _told(where: str, book: TextBook, row: _Row) -> Values:
    codes = book.codes(book.test)
    cpu_ms = cpu_ms_per_1000(row.ask, book.test.texts)
    singles = [f1_interval(codes, [scores]).value for scores in row.scores] if len(row.scores) > 1 else []
    return {
        **_interval(f"{where}_f1", f1_interval(codes, row.scores)),
        **({f"{where}_f1_of_seeds": ", ".join(f"{value:.3f}" for value in singles)} if singles else {}),
        f"{where}_cpu_ms_per_1000": round(cpu_ms, 2),
        f"{where}_cny_per_1000": float(f"{money_per_1000(cpu_ms):.3g}"),
        **{f"{where}_{name}": value for name, value in row.told.items()},
    }


def _untaught_cost(book: TextBook, full: bool) -> float:
    """Return the cost of 1,000 texts with BERT of base size: what its weights are does not change it."""
    width, depth, pieces = (768, 12, 30522) if full else (64, 2, 2000)
    network = encoder_network(pieces=pieces, longest=book.longest, labels=2, width=width, depth=depth).eval()
    reader = TextTokenizer.trained(book.train.texts, vocabulary=pieces, longest=book.longest)
    session = TextSession(text_graph(network))
    assert parameters_of(network) > 0
    return round(cpu_ms_per_1000(lambda texts: session.each(reader.read(texts).tokens), book.test.texts), 1)


def _bars(figures: Values, book: TextBook, rows: dict[str, _Row], student: str, teacher: str) -> list[Bar]:
    """Hold a student to its teacher's F1 and a twentieth of its cost, and of that of a model of BERT-base's size."""
    share = share_interval(book.codes(book.test), rows[student].scores, rows[teacher].scores[0])
    where = f"{book.name}_{student}"
    figures |= _interval(f"{where}_f1_share", share)
    cost = float(figures[f"{where}_cpu_ms_per_1000"])
    figures[f"{where}_cost_share"] = cost_share = round(
        cost / float(figures[f"{book.name}_{teacher}_cpu_ms_per_1000"]), 5
    )
    figures[f"{where}_cost_share_of_bert_base"] = of_base = round(
        cost / float(figures[f"{book.name}_bert_base_cpu_ms_per_1000"]), 5
    )
    what = f"{book.name}: {student.replace('_', ' ')}"
    return [
        Bar.at_least(f"{what}, macro-F1 as a share of its teacher's", round(share.value, 4), _SHARE),
        Bar.at_most(f"{what}, CPU-time as a share of its teacher's", cost_share, _COST),
        Bar.at_most(f"{what}, CPU-time as a share of BERT-base's", of_base, _COST),
    ]


def _interval(where: str, found: Interval) -> Values:
    return {where: round(found.value, 4), f"{where}_lo": round(found.lo, 4), f"{where}_hi": round(found.hi, 4)}
