"""The text model that scores: a tokenizer and an ONNX graph in one folder. Needs no training library."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.files import replacing_folder, sha256_of, write_json, write_text
from leanrisk.models.text.session import TextSession
from leanrisk.models.text.tokenizer import Text, TextReading, TextTokenizer

GRAPH, TOKENIZER, FACTS, MANIFEST = "model.onnx", "tokenizer.json", "text.json", "manifest.json"
_FILES = (GRAPH, TOKENIZER, FACTS)
_FORMAT = 1
_EDGE = 1e-6

Label = str | int
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TextModel:
    """Puts texts into classes on one thread of a CPU.

    `shares`, float32 (classes,), are the classes' shares among the texts that it learned from: the answer for a text
    that cannot be read (empty, or in a script that it does not know; see `TextReading`). `facts` say how it was taught.
    """

    tokenizer: TextTokenizer = field(repr=False)
    graph: bytes = field(repr=False)
    classes: tuple[Label, ...]
    shares: Floats = field(repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def read(self, texts: Sequence[Text]) -> TextReading:
        """Return how the texts are read: which are empty, cut or foreign. Raises `DataError` for what is no text."""
        return self.tokenizer.read(_texts(texts))

    def predict_proba(self, texts: Sequence[Text]) -> Floats:
        """Return the probability of each class, float32 (rows, classes), in the order of `classes`.

        Each text has the same bits alone as among others. One that cannot be read has `shares`; `read` tells which.
        """
        return self.scored(self.read(texts))

    def scored(self, reading: TextReading) -> Floats:
        """Return `predict_proba` of texts that were read already."""
        answer = np.tile(self.shares, (len(reading.tokens), 1))
        known = ~reading.unread
        if known.any():
            answer[known] = self._session.each(reading.tokens[known])
        return answer

    def predict(self, texts: Sequence[Text]) -> npt.NDArray[Any]:
        """Return the likeliest class of each text, (rows,)."""
        likeliest: npt.NDArray[Any] = np.array(self.classes)[self.predict_proba(texts).argmax(axis=1)]
        return likeliest

    def log_odds(self, texts: Sequence[Text]) -> Floats:
        """Return the log-odds of the second of two classes, float32 (rows,), NaN for a text that cannot be read.

        Raises `ConfigError` for a model of more than two classes.
        """
        self._check_two()
        reading = self.read(texts)
        odds = _log_odds(self.scored(reading)[:, 1])
        odds[reading.unread] = np.nan
        return odds

    def log_odds_of(self, text: Text) -> float:
        """Return the log-odds of one text, the bits that `log_odds` gives, in about half of the time."""
        self._check_two()
        tokens = self.tokenizer.read_one(text)
        return float(_log_odds(self._session.batch(tokens)[:, 1])[0]) if tokens.size else math.nan

    def _check_two(self) -> None:
        if len(self.classes) != 2:
            raise ConfigError(f"Log-odds are of two classes: this model has {len(self.classes)}. Use predict_proba.")

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of everything needed to score."""
        return len(self.graph) + len(self.tokenizer.settings.encode()) + len(json.dumps(self._told()).encode())

    def save(self, folder: Path | str) -> None:
        """Write graph, tokenizer and manifest into `folder` in one step; raises `OutputError` where it cannot."""
        with replacing_folder(folder) as part:
            self.write(part)

    def write(self, part: Path) -> None:
        """Write the files into the existing folder `part`."""
        (part / GRAPH).write_bytes(self.graph)
        write_text(part / TOKENIZER, self.tokenizer.settings)
        write_json(part / FACTS, self._told())
        write_json(part / MANIFEST, {"format": _FORMAT, "files": {name: sha256_of(part / name) for name in _FILES}})

    @classmethod
    def load(cls, folder: Path | str) -> TextModel:
        """Return the model that `save` wrote, each file checked against the manifest; raises `ModelError`."""
        place = Path(folder)
        try:
            manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
            if manifest["format"] != _FORMAT:
                raise ModelError(
                    f"This version reads text models of format {_FORMAT}: '{place}' has another. Teach it."
                )
            altered = [name for name in _FILES if sha256_of(place / name) != manifest["files"][name]]
            if altered:
                raise ModelError(f"A text model must be as it was written: in '{place}' '{altered[0]}' was altered.")
            told = json.loads((place / FACTS).read_text(encoding="utf-8"))
            settings = (place / TOKENIZER).read_text(encoding="utf-8")
            tokenizer = TextTokenizer.loaded(settings, longest=int(told["longest"]))
            shares = np.array(told["shares"], dtype=np.float32)
            model = cls(tokenizer, (place / GRAPH).read_bytes(), tuple(told["classes"]), shares, told["facts"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelError(
                f"A text model is a folder with {MANIFEST}, {', '.join(_FILES)}: '{place}' is not whole ({error}). "
                "Restore it from its source."
            ) from error
        answer = model._session.batch(np.ones((1, 1), dtype=np.int64))
        if answer.shape != (1, len(model.classes)) or shares.shape != (len(model.classes),):
            raise ModelError(f"A text model knows its classes: in '{place}' graph and list differ. Restore it.")
        return model

    def __getstate__(self) -> dict[str, Any]:
        # A copy opens its own session: ONNX Runtime's cannot leave the process.
        return {name: getattr(self, name) for name in ("tokenizer", "graph", "classes", "shares", "facts")}

    def _told(self) -> dict[str, Any]:
        shares = [float(share) for share in self.shares]
        told = {"classes": list(self.classes), "shares": shares, "longest": self.tokenizer.longest}
        return {**told, "facts": dict(self.facts)}

    @cached_property
    def _session(self) -> TextSession:
        return TextSession(self.graph)


def _log_odds(probability: Floats) -> Floats:
    bad = np.clip(probability.astype(np.float64), _EDGE, 1 - _EDGE)
    return np.log(bad / (1 - bad)).astype(np.float32)


def _texts(texts: Sequence[Text]) -> Sequence[Text]:
    if isinstance(texts, str):
        raise ConfigError("Texts come as a list: a single text was given. Put it in square brackets.")
    return texts
