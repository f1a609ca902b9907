"""A round that teaches the text models anew: on its own rows and those kept for replay, out of fold for both."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import BundleError, ConfigError
from leanrisk.core.progress import Progress
from leanrisk.core.text_fields import text_field_of
from leanrisk.cost.ledger import Ledger
from leanrisk.models.text.columns import TextColumns
from leanrisk.pipelines.checkpoint import Checkpoint
from leanrisk.pipelines.new_rows import NewRows, joined
from leanrisk.pipelines.reading import TextsRead, read_texts
from leanrisk.registry.bundle import Bundle

SETTINGS = "text_step"
"""The manifest's fact that says how the text models were taught."""


@dataclass(frozen=True)
class ReadAnew:
    """The new text models, and the round's rows with their numbers in place of the champion's."""

    texts: TextColumns
    rows: NewRows


def read_anew(
    champion: Bundle, rows: NewRows, *, checkpoint: Checkpoint, ledger: Ledger, seed: int, progress: Progress
) -> ReadAnew:
    """Return text models taught on the rows that teach and the older ones, and the rows as they read them.

    The judges are read by the new models, which never saw them. Raises `BundleError` where the manifest does not say
    how they are taught, `ModelError` where the rows cannot teach them.
    """
    settings = champion.manifest.facts.get(SETTINGS)
    if not isinstance(settings, dict):
        raise BundleError(
            f"Text models are taught anew as they were first: the manifest of '{champion.folder}' does not say how. "
            "Use refresh.text = 'keep', or shrink again."
        )
    columns = list(champion.texts.columns)
    taught = joined(rows.teach, rows.older)
    try:
        read = read_texts(
            taught, {**settings, "columns": columns}, checkpoint=checkpoint, ledger=ledger, seed=seed, progress=progress
        )
    except ConfigError as error:
        raise BundleError(f"The manifest of '{champion.folder}' tells of no text step that works: {error}") from error
    both = _numbers(taught, read)
    older = None if rows.older is None else replace(rows.older, frame=both.frame[rows.teach.rows :])
    teach = replace(rows.teach, frame=both.frame[: rows.teach.rows])
    judge = replace(rows.judge, frame=read.texts.beside(rows.judge.frame))
    return ReadAnew(read.texts, replace(rows, teach=teach, judge=judge, older=older))


def _numbers(taught: Dataset, read: TextsRead) -> Dataset:
    columns = (pl.Series(text_field_of(name), values, dtype=pl.Float32) for name, values in read.taught.items())
    return replace(taught, frame=taught.frame.with_columns(columns))
