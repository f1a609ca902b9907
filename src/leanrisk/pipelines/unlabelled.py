"""Rows whose outcome nobody knows: a teacher has an opinion on them all the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError
from leanrisk.core.seeding import generator
from leanrisk.data.load import load
from leanrisk.data.read import read_table
from leanrisk.pipelines.job import Job


def unlabelled_rows(job: Job) -> pl.DataFrame | None:
    """Return the rows that the recipe's teacher section asks for, at most as many as it says; None where it asks none.

    A draw by the job's seed, in the order of the rows. Raises `ConfigError` where a memory would need the facts of rows
    from another file, `DataError` for a file that lacks columns.
    """
    told = job.recipe.teacher
    if not told.unlabelled_rows:
        return None
    rows = _of_file(job, told.unlabelled) if told.unlabelled else job.dataset.where(np.isnan(job.dataset.labels))
    wanted = min(told.unlabelled_rows, rows.rows)
    drawn = np.sort(generator(job.seed, "unlabelled").choice(rows.rows, size=wanted, replace=False))
    return rows.take(drawn).frame


def _of_file(job: Job, path: str) -> Dataset:
    if job.events is not None:
        raise ConfigError(
            f"A memory knows only rows of the data: teacher.unlabelled names another file, '{path}'. Put its rows into "
            "the data with an empty outcome, and leave teacher.unlabelled out."
        )
    rows = load(read_table(path), job.dataset.schema, labelled=False)
    return rows if job.texts is None else replace(rows, frame=job.texts.beside(rows.frame))
