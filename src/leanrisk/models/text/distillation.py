"""`distill_text`: from texts with outcomes, and a teacher where there is one, to a small text model that scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch

from leanrisk.core.errors import ConfigError
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.seeding import generator
from leanrisk.models.class_labels import (
    balance,
    class_codes,
    classes_of,
    fitted_temperature,
    judges,
    opinions_as_logits,
)
from leanrisk.models.pair_config import PairConfig
from leanrisk.models.pair_lesson import PairLesson
from leanrisk.models.pair_training import answers, teach
from leanrisk.models.text.batches import TokenBatches
from leanrisk.models.text.graph import check_text_parity, text_graph
from leanrisk.models.text.network import TextBody, parameters_of, student_network
from leanrisk.models.text.scoring import Label, TextModel
from leanrisk.models.text.teacher import TeacherConfig, taught_teacher
from leanrisk.models.text.tokenizer import Text, TextTokenizer

_SILENT = Silent()
_PARITY_TEXTS = 64

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.float32]


class Opinionated(Protocol):
    """Whatever has opinions on texts: a `TextTeacher`, a pipeline of scikit-learn, an ensemble of both."""

    def predict_proba(self, texts: Sequence[Text], /) -> npt.NDArray[Any]:
        """Return the probability of each class, (rows, classes), classes in sorted order."""
        ...


@dataclass(frozen=True)
class TextConfig:
    """How a text student is made.

    `vocabulary` pieces at most, `longest` tokens of a text. `copies` texts are made of each one by leaving out
    `dropped` of its words, for the teacher alone to judge: without a teacher that can be asked there are none. `valid`
    is the share held out, for the best epoch and for the temperature of the probabilities. With `balanced` each class
    weighs the same; probabilities are then those of a book where classes are equally frequent. `teacher` is how a
    folder is taught, where one is named.
    """

    body: TextBody = field(default_factory=TextBody)
    vocabulary: int = 8000
    longest: int = 128
    copies: int = 2
    dropped: float = 0.2
    valid: float = 0.1
    balanced: bool = False
    training: PairConfig = field(default_factory=lambda: PairConfig(epochs=12, batch=32))
    teacher: TeacherConfig = field(default_factory=TeacherConfig)

    def __post_init__(self) -> None:
        if self.copies < 0 or not 0 <= self.dropped < 1 or not 0 < self.valid < 0.9:
            raise ConfigError("text.copies must be 0 or more, dropped in [0, 1), valid in (0, 0.9). Correct them.")


def distill_text(
    texts: Sequence[Text],
    labels: Sequence[Label | None],
    *,
    teacher: Opinionated | npt.NDArray[Any] | Path | str | None = None,
    config: TextConfig | None = None,
    held_out: tuple[Sequence[Text], Sequence[Label]] | None = None,
    seed: int = 0,
    progress: Progress = _SILENT,
) -> TextModel:
    """Return a small text model taught by `teacher` and the outcomes; by the outcomes alone where there is none.

    `labels`: a class for each text (a text or a whole number), None where it is unknown: the teacher alone judges such
    a text. `teacher`: a local Hugging Face folder (taught first, see `TeacherConfig`), anything with `predict_proba` on
    texts, or its probabilities (rows, classes) of these very texts. `held_out` replaces the share held out. Raises
    `ConfigError` for fewer than two classes, `ModelError` for opinions that cannot be used, `DataError` for what is no
    text.
    """
    used = config or TextConfig()
    texts, classes = list(texts), classes_of(labels)
    codes = class_codes(labels, classes)
    if len(texts) != len(codes):
        raise ConfigError(f"Texts and labels must align: {len(texts)} against {len(codes)}. Give one label each.")
    opinions = _opinions_given(teacher, texts, classes)
    taught, judged = _parts(texts, codes, opinions, held_out, classes, used.valid, seed)
    asked = _asked(teacher, taught, judged, len(classes), used, seed, progress)
    taught, judged = (_judged(rows, asked, len(classes)) for rows in (taught, judged))
    tokenizer = TextTokenizer.trained(taught.texts, vocabulary=used.vocabulary, longest=used.longest)
    more = _perturbed(taught, asked, len(classes), used, seed)
    return _student(tokenizer, taught, more, judged, classes, used, seed, progress)


@dataclass(frozen=True)
class _Rows:
    """Texts, their class numbers as floats (NaN = unknown), and the teacher's logits, None without one."""

    texts: list[Text]
    codes: Codes
    logits: Floats | None = None

    def take(self, rows: npt.NDArray[np.intp]) -> _Rows:
        chosen = None if self.logits is None else self.logits[rows]
        return _Rows([self.texts[row] for row in rows], self.codes[rows], chosen)


def _student(
    tokenizer: TextTokenizer,
    taught: _Rows,
    more: _Rows | None,
    judged: _Rows,
    classes: tuple[Label, ...],
    config: TextConfig,
    seed: int,
    progress: Progress,
) -> TextModel:
    network = student_network(
        config.body, pieces=tokenizer.pieces, longest=config.longest, labels=len(classes), seed=seed
    )
    lesson, check = _lesson(tokenizer, _joined(taught, more)), _lesson(tokenizer, judged)
    training = config.training
    if config.balanced:
        training = replace(training, class_weights=balance(taught.codes, len(classes)))
    log = teach(
        network, lesson, held_out=check, config=training, seed=seed, what="teaching the text student", progress=progress
    )
    logits, _ = answers(network, check.batches)
    temperature = fitted_temperature(logits, judged.codes)
    graph = text_graph(network, temperature=temperature)
    reading = tokenizer.read(judged.texts[:_PARITY_TEXTS])
    parity = check_text_parity(graph, network, reading.tokens, temperature=temperature)
    facts = {
        "body": config.body.kind,
        "parameters": parameters_of(network),
        "taught_by": "outcomes" if taught.logits is None else "teacher and outcomes",
        "texts": len(taught.texts),
        "copies": 0 if more is None else len(more.texts),
        "read": tokenizer.read(taught.texts).counts,
        "epochs": len(log.losses),
        "best_epoch": log.best_epoch,
        "temperature": temperature,
        "parity": parity,
        "seed": seed,
    }
    known = taught.codes[~np.isnan(taught.codes)].astype(np.int64)
    shares = (np.bincount(known, minlength=len(classes)) / max(len(known), 1)).astype(np.float32)
    return TextModel(tokenizer, graph, classes, shares, facts)


def _opinions_given(teacher: object, texts: list[Text], classes: tuple[Label, ...]) -> Floats | None:
    return opinions_as_logits(teacher, len(texts), len(classes)) if isinstance(teacher, np.ndarray) else None


def _parts(
    texts: list[Text],
    codes: Codes,
    opinions: Floats | None,
    held_out: tuple[Sequence[Text], Sequence[Label]] | None,
    classes: tuple[Label, ...],
    share: float,
    seed: int,
) -> tuple[_Rows, _Rows]:
    """Return (rows that teach, rows held out), the latter drawn by class where none are given."""
    rows = _Rows(texts, codes, opinions)
    if held_out is None:
        held = judges(codes, classes=len(classes), share=share, seed=seed, name="text-valid")
        return rows.take(np.flatnonzero(~held)), rows.take(np.flatnonzero(held))
    kept, judged = list(held_out[0]), class_codes(held_out[1], classes)
    if len(kept) != len(judged) or not kept:
        raise ConfigError(f"Held-out texts and labels must align: {len(kept)} against {len(judged)}. One label each.")
    return rows, _Rows(kept, judged)


def _asked(
    teacher: object, taught: _Rows, judged: _Rows, labels: int, config: TextConfig, seed: int, progress: Progress
) -> Opinionated | None:
    """Return whom to ask, None where nobody can be; a folder's network is taught first."""
    if teacher is None or isinstance(teacher, np.ndarray):
        return None
    if not isinstance(teacher, Path | str):
        if not callable(getattr(teacher, "predict_proba", None)):
            raise ConfigError(
                "A text teacher is a local folder, an array of probabilities, or has predict_proba: a "
                f"{type(teacher).__name__} is none of these. Wrap it."
            )
        return cast(Opinionated, teacher)
    known = taught.take(np.flatnonzero(~np.isnan(taught.codes)))
    return taught_teacher(
        known.texts,
        known.codes.astype(np.int64),
        held_out=(judged.texts, judged.codes.astype(np.int64)),
        labels=labels,
        config=replace(config.teacher, folder=str(teacher)),
        seed=seed,
        progress=progress,
    )


def _judged(rows: _Rows, asked: Opinionated | None, labels: int) -> _Rows:
    return rows if asked is None else replace(rows, logits=_asked_logits(asked, rows.texts, labels))


def _asked_logits(asked: Opinionated, texts: list[Text], labels: int) -> Floats:
    return opinions_as_logits(asked.predict_proba(texts), len(texts), labels)


def _perturbed(taught: _Rows, asked: Opinionated | None, labels: int, config: TextConfig, seed: int) -> _Rows | None:
    """Return texts with words left out, judged by the teacher alone; None where nobody can be asked."""
    if asked is None or config.copies == 0 or config.dropped == 0:
        return None
    rng = generator(seed, "text-copies")
    texts: list[Text] = []
    for _ in range(config.copies):
        for text in taught.texts:
            words = np.array((text or "")[: 64 * config.longest].split(), dtype=object)
            texts.append(" ".join(words[rng.random(len(words)) >= config.dropped]))
    return _Rows(texts, np.full(len(texts), np.nan, dtype=np.float32), _asked_logits(asked, texts, labels))


def _joined(rows: _Rows, more: _Rows | None) -> _Rows:
    if more is None or rows.logits is None or more.logits is None:
        return rows
    return _Rows(
        [*rows.texts, *more.texts],
        np.concatenate([rows.codes, more.codes]),
        np.concatenate([rows.logits, more.logits]),
    )


def _lesson(tokenizer: TextTokenizer, rows: _Rows) -> PairLesson:
    return PairLesson(TokenBatches.of(tokenizer.read(rows.texts)), torch.from_numpy(rows.codes), rows.logits)
