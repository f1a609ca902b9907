"""Columns of texts become columns of numbers: small models are taught on the older training rows, and read the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError
from leanrisk.core.files import replacing
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.core.seeding import derived_seed
from leanrisk.core.text_fields import text_field_of
from leanrisk.cost.ledger import Ledger
from leanrisk.models.text.columns import TextColumns
from leanrisk.models.text.field import text_field
from leanrisk.pipelines.checkpoint import Checkpoint
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.read_text import ReadText

_SILENT = Silent()
PHASE = "text: columns of the rows"
_STEP, _TAUGHT = "text-models", "taught.parquet"
_NOTE = "read from the text by its own model"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TextsRead:
    """The models, and the log-odds of the rows that taught them by column: out of fold, float32 (rows,)."""

    texts: TextColumns
    taught: Mapping[str, Floats]

    def save(self, folder: Path) -> None:
        """Write both into `folder`."""
        self.texts.save(folder)
        with replacing(folder / _TAUGHT) as part:
            pl.DataFrame({name: pl.Series(values) for name, values in self.taught.items()}).write_parquet(part)

    @classmethod
    def load(cls, folder: Path, columns: Sequence[str]) -> TextsRead:
        """Return what `save` wrote; raises `ModelError` where a model is damaged."""
        taught = pl.read_parquet(folder / _TAUGHT)
        return cls(TextColumns.load(folder, columns), {name: taught[name].to_numpy() for name in columns})


def read_texts(
    older: Dataset,
    settings: Mapping[str, Any],
    *,
    checkpoint: Checkpoint,
    ledger: Ledger,
    seed: int,
    progress: Progress = _SILENT,
) -> TextsRead:
    """Return what the step 'text' with these settings makes of the older training rows, from the checkpoint if there.

    Raises `ConfigError` for columns that are no texts, `ModelError` where the rows cannot teach a model.
    """
    step = technique("text", settings)
    assert isinstance(step, ReadText)
    names, place = columns_read(older.schema, step), checkpoint.place(_STEP)
    if checkpoint.done(_STEP) is None:
        with ledger.phase(PHASE):
            found = taught_on(older, step, seed=seed, progress=progress)
        found.save(place)
        checkpoint.finish(_STEP, {"columns": list(names)})
    return TextsRead.load(place, names)


def columns_read(schema: Schema, step: ReadText) -> tuple[str, ...]:
    """Return the columns that a step reads; raises `ConfigError` for a name that is no feature of the kind "text"."""
    known = schema.features_of(Kind.TEXT)
    for name in step.columns:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise ConfigError(
                f"text.columns names features of the kind 'text': '{name}' is none. There are: {listed}. Correct it, "
                "or its kind and role in the schema."
            )
    return step.columns or known


def taught_on(rows: Dataset, step: ReadText, *, seed: int, progress: Progress = _SILENT) -> TextsRead:
    """Return a model for each column of texts, taught on these rows, and its out-of-fold opinion on each of them.

    Raises `ModelError` where the rows cannot teach one (too few of an outcome, no word in any text).
    """
    models, taught = {}, {}
    for name in columns_read(rows.schema, step):
        made = text_field(
            rows.frame[name].cast(pl.String).to_list(),
            rows.labels,
            folds=step.folds,
            teacher=step.teacher or None,
            config=step.student,
            seed=derived_seed(seed, "text", name),
            progress=progress,
        )
        models[name], taught[name] = made.model, made.log_odds
    return TextsRead(TextColumns(models), taught)


def told(dataset: Dataset, read: TextsRead, rows: npt.NDArray[np.integer[Any]]) -> Dataset:
    """Return the rows with the texts' numbers as further columns; those at `rows`, in that order, taught.

    The numbers have the role "memory" in the schema where it does not name them yet.
    """
    frame = read.texts.beside(dataset.frame)
    for name, log_odds in read.taught.items():
        field = text_field_of(name)
        values = frame[field].to_numpy().copy()
        values[rows] = log_odds
        frame = frame.with_columns(pl.Series(field, values, dtype=pl.Float32))
    return replace(dataset, frame=frame, schema=with_numbers(dataset.schema, read.texts))


def with_numbers(schema: Schema, texts: TextColumns) -> Schema:
    """Return the schema with a column for each number; those that it has already stay as they are."""
    new = [name for name in texts.names if name not in schema]
    added = (Column(name, Kind.NUMERIC, Role.MEMORY, note=_NOTE) for name in new)
    return replace(schema, columns=(*schema.columns, *added))
