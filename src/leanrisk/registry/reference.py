"""Made-up rows whose predictions a bundle stores, so that a host can prove that it computes the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from leanrisk.core.inputs import CategoryField, Inputs, NumericField
from leanrisk.core.seeding import generator
from leanrisk.features.encoder import Encoder
from leanrisk.models.text.scoring import TextModel

_WORDS = 12
_GAP = 0.12
"""Share of values that are missing, and of those that are one of the special codes."""


def reference_rows(encoder: Encoder, *, rows: int = 32, seed: int = 0) -> Inputs:
    """Return rows that nobody ever was: values between the encoder's edges, each field drawn by itself.

    They reach what the graph holds: every kind of interval, missing values, special codes, unseen levels. Nothing is
    taken from a table, so no applicant's value travels with the bundle.
    """
    rng = generator(seed, "reference")
    fields = encoder.fields
    numeric = np.empty((rows, len(fields.numeric)), dtype=np.float32)
    for place, entry in enumerate(fields.numeric):
        numeric[:, place] = _numbers(entry, rows, rng)
    category = np.empty((rows, len(fields.category)), dtype=np.int64)
    for place, levels in enumerate(fields.category):
        category[:, place] = _codes(levels, rows, rng)
    return Inputs(numeric, category)


def made_texts(model: TextModel, *, rows: int = 32, seed: int = 0) -> list[str]:
    """Return texts that nobody wrote: words of the model's own tokenizer, twelve in a row, each drawn by itself."""
    words = [word for word in model.tokenizer.words if word.isalnum()] or [""]
    places = generator(seed, "reference texts").integers(0, len(words), (rows, _WORDS))
    return [" ".join(words[place] for place in row) for row in places.tolist()]


def _numbers(entry: NumericField, rows: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    edges = np.array(entry.edges, dtype=np.float64)
    lower = rng.integers(0, edges.size - 1, size=rows)
    values = edges[lower] + rng.uniform(0.1, 0.9, size=rows) * (edges[lower + 1] - edges[lower])
    draw = rng.random(rows)
    if entry.codes:
        values = np.where(draw > 1 - _GAP, rng.choice(np.array(entry.codes), size=rows), values)
    return np.where(draw < _GAP, np.nan, values)


def _codes(entry: CategoryField, rows: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return rng.integers(0, entry.size, size=rows)
