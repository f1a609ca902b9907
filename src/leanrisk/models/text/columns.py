"""Columns of texts read as numbers, each by the small model that was taught on it: the route that trains and serves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import DataError, Fault
from leanrisk.core.text_fields import text_field_of
from leanrisk.models.text.scoring import TextModel

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TextColumns:
    """The text models of a table by the name of their column; each gives one number, the log-odds of bad.

    A text that cannot be read (empty, or in a script that its model does not know) gives NaN, which is missing. A text
    gives the same bits in a record as in a table.
    """

    models: Mapping[str, TextModel] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of texts."""
        return tuple(self.models)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the numbers, in the order of the columns."""
        return tuple(text_field_of(column) for column in self.models)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk of everything needed to read the texts."""
        return sum(model.size_bytes for model in self.models.values())

    def keeping(self, names: Iterable[str]) -> TextColumns:
        """Return the columns whose numbers are among `names`."""
        kept = frozenset(names)
        return replace(self, models={key: model for key, model in self.models.items() if text_field_of(key) in kept})

    def beside(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with their numbers as further columns, float32; raises `DataError` for what is no text."""
        read = (
            pl.Series(name, self._column(column, frame)) for name, column in zip(self.names, self.models, strict=True)
        )
        return frame.with_columns(read)

    def of_record(self, record: Mapping[str, Any]) -> Floats:
        """Return the numbers of one record, float32 (columns,); an absent field is missing.

        Raises `DataError` naming every field that holds something other than a text.
        """
        faults = [_no_text(name, record[name]) for name in self.models if not _is_text(record.get(name))]
        if faults:
            raise DataError(faults)
        return np.array([model.log_odds_of(record.get(name)) for name, model in self.models.items()], np.float32)

    def counts(self, frame: pl.DataFrame) -> dict[str, dict[str, int]]:
        """Return for each column how many texts there are, and how many of them are empty, cut and foreign."""
        return {name: model.read(frame[name].cast(pl.String).to_list()).counts for name, model in self.models.items()}

    def save(self, folder: Path) -> None:
        """Write each model into a folder of its own inside `folder`."""
        for name, model in self.models.items():
            model.save(folder / folder_name(name))

    @classmethod
    def load(cls, folder: Path, columns: Iterable[str]) -> TextColumns:
        """Return the models of these columns as `save` wrote them; raises `ModelError`."""
        return cls({name: TextModel.load(folder / folder_name(name)) for name in columns})

    def _column(self, name: str, frame: pl.DataFrame) -> Floats:
        texts = frame[name]
        if texts.dtype in (pl.Categorical, pl.Enum, pl.Null):
            texts = texts.cast(pl.String)
        if texts.dtype != pl.String:
            raise DataError(_no_text(name, texts.drop_nulls()[0]))
        # Each text once: books repeat themselves, and a text's number does not depend on its neighbours.
        known = texts.unique(maintain_order=True)
        odds = pl.Series(self.models[name].log_odds(known.to_list()), dtype=pl.Float32)
        return odds.gather(
            texts.replace_strict(known, pl.Series(range(known.len())), return_dtype=pl.UInt32)
        ).to_numpy()


def folder_name(column: str) -> str:
    """Return the name of a column's folder: the column's own, with what a path could take otherwise written as %XX."""
    return quote(column, safe=" ").replace(".", "%2E")


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str) or (isinstance(value, float) and math.isnan(value))


def _no_text(name: str, value: object) -> Fault:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return Fault("not-a-text", f"the model reads a text here: found {shown}.", "Send text or null.", name)
