"""What is measured of each text model: macro-F1 with its interval, and CPU-time per 1,000 texts on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from lightgbm import LGBMClassifier
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from benchmarks.distilled.text_books import TextBook
from leanrisk.core.measurement import Cost, Interval
from leanrisk.core.seeding import generator
from leanrisk.cost.rates import RateCard

Scores = npt.NDArray[np.floating[Any]]
Codes = npt.NDArray[np.int64]
Ask = Callable[[Sequence[str]], Scores]

RESAMPLES = 1000
_TIMED_S = 1.0


def macro_f1(codes: Codes, scores: Scores) -> float:
    """Return the mean of the classes' F1."""
    classes, said = scores.shape[1], scores.argmax(axis=1)
    table = np.bincount(codes * classes + said, minlength=classes * classes).reshape(classes, classes)
    named = table.sum(axis=0) + table.sum(axis=1)
    # A class that nobody has and nobody names, in a draw of the bootstrap, has no F1.
    return float(np.mean(2 * table.diagonal()[named > 0] / named[named > 0]))


def f1_interval(codes: Codes, runs: Sequence[Scores]) -> Interval:
    """Return the mean macro-F1 of the runs (one for each seed) with its 95 % bootstrap interval over texts."""
    return _interval(lambda rows: float(np.mean([macro_f1(codes[rows], run[rows]) for run in runs])), len(codes))


def share_interval(codes: Codes, runs: Sequence[Scores], teacher: Scores) -> Interval:
    """Return the students' mean macro-F1 over the teacher's, with its 95 % bootstrap interval over the same texts."""

    def share(rows: npt.NDArray[np.intp]) -> float:
        best = macro_f1(codes[rows], teacher[rows])
        return float(np.mean([macro_f1(codes[rows], run[rows]) for run in runs])) / best

    return _interval(share, len(codes))


def cpu_ms_per_1000(ask: Ask, texts: Sequence[str]) -> float:
    """Return CPU-milliseconds for 1,000 texts asked one by one, as a service does: the median of a second's calls."""
    for text in texts[:3]:
        ask([text])
    spent: list[float] = []
    for text in list(texts) * 3:
        began = time.thread_time()
        ask([text])
        spent.append(time.thread_time() - began)
        if sum(spent) > _TIMED_S and len(spent) >= 30:
            break
    return float(np.mean(spent)) * 1e6


def money_per_1000(cpu_ms: float) -> float:
    """Return what the CPU-time costs in yuan, by the shipped rate card."""
    priced = RateCard.default().price(Cost(cpu_ms / 1000, cpu_ms / 1000, 0.0))
    assert priced is not None
    return priced


def controls(book: TextBook) -> dict[str, Pipeline]:
    """Return what any student must be held against: TF-IDF with a logistic regression, and with LightGBM."""
    models = {
        "tfidf_logistic": LogisticRegression(C=10, max_iter=2000, class_weight="balanced"),
        "tfidf_lightgbm": LGBMClassifier(
            n_estimators=100, num_leaves=31, learning_rate=0.05, min_child_samples=5, class_weight="balanced",
            n_jobs=1, verbose=-1, random_state=0,
        ),
    }  # fmt: skip
    return {name: _words(model).fit(book.train.texts, book.codes(book.train)) for name, model in models.items()}


def out_of_fold(book: TextBook, model: Pipeline) -> Scores:
    """Return a control's opinions on the texts that teach, from fits that did not see them; float32."""
    codes, texts = book.codes(book.train), np.array(book.train.texts, dtype=object)
    scores = np.zeros((len(codes), len(book.classes)), dtype=np.float32)
    for rest, held in StratifiedKFold(3, shuffle=True, random_state=0).split(texts, codes):
        fitted = _words(model[-1]).fit(list(texts[rest]), codes[rest])
        scores[held] = fitted.predict_proba(list(texts[held]))
    return scores


def _words(model: Any) -> Pipeline:
    # As numpy, since LightGBM would otherwise ask for the names that it never had.
    return Pipeline(
        [("words", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)), ("model", clone(model))]
    )


def _interval(measure: Callable[[npt.NDArray[np.intp]], float], rows: int) -> Interval:
    rng = generator(0, "text-bootstrap")
    found = [measure(rng.integers(0, rows, rows)) for _ in range(RESAMPLES)]
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(measure(np.arange(rows)), float(low), float(high))
