"""Champions to refresh, and new rows for them: the loans of the days after those that the champion knows."""

from __future__ import annotations

import atexit
import datetime as dt
import functools
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.schema import Column, Kind, Role
from leanrisk.data.load import load
from leanrisk.evaluate.gates import GateConfig
from leanrisk.models.training_config import TrainingConfig
from leanrisk.pipelines.recipe import RefreshConfig
from leanrisk.pipelines.shrink import shrink
from leanrisk.techniques.classroom import Classroom
from leanrisk.techniques.reteach import Method, Reteach
from tests.pipelines.tiny import LOANS, SEED, SPAN, loan_data, loans, tiny_recipe

OPEN = GateConfig(auc_margin=-1.0, ks_margin=-1.0, resamples=100)
SHUT = GateConfig(auc_margin=0.0, ks_margin=0.0, allow_not_proven=False, resamples=100)

DEEP = (
    'steps=[{technique="distill",settings={preset="tiny",'
    "training={epochs=1,threads=1,patience=1},classroom={copies=0}}}]"
)
"""A change of the recipe: a transformer in place of the network without blocks."""

SETTLED = (
    replace(LOANS, negative=(0,))
    .with_column(Column("settled", Kind.DATE, Role.OUTCOME_TIME))
    .with_column(Column("gender", Kind.CATEGORY, Role.PROTECTED))
)
"""Loans with the day on which each outcome was known, and with an attribute that no model may see."""

GOOD_AFTER, BAD_AFTER = 365, 90
"""Days until a good loan is known to be one, and a bad one."""


def teaching(
    method: Method = "auto", *, learning_rate: float = 2e-3, epochs: int = 1, **settings: Any
) -> RefreshConfig:
    """Return the settings of a short round."""
    training = TrainingConfig(epochs=epochs, learning_rate=learning_rate, threads=1)
    return RefreshConfig(teach=Reteach(method, training=training, classroom=Classroom(copies=1)), **settings)


QUICK = teaching()
EAGER = teaching(learning_rate=1e-2, epochs=4)
STILL = teaching(learning_rate=1e-9)


def champion_of(folder: Path, *changes: str, rows: Dataset | None = None) -> Path:
    """Return the bundle of a lean model taught on loans of the first `SPAN` days."""
    bundle = shrink(loan_data() if rows is None else rows, tiny_recipe(*changes), out=folder, seed=SEED)
    assert bundle is not None
    return bundle.folder


@functools.cache
def champion() -> Path:
    """Return the bundle of a network without blocks; nobody writes into it."""
    return champion_of(spare("swift"))


@functools.cache
def deep_champion() -> Path:
    """Return the bundle of a transformer; nobody writes into it."""
    return champion_of(spare("tiny"), DEEP)


def later(rows: int = 600, *, seed: int = 7, round_: int = 1, **options: Any) -> pl.DataFrame:
    """Return loans decided in the `SPAN` days after the champion's, or after those of an earlier round."""
    return loans(rows, seed=seed, later=round_ * SPAN, **options)


def turned(rows: int = 600, *, seed: int = 7, round_: int = 1) -> pl.DataFrame:
    """Return later loans whose income says the contrary of what it said: whoever learns them gains."""
    return later(rows, seed=seed, round_=round_).with_columns(-pl.col("income"))


def later_data(rows: int = 600, *, seed: int = 7, round_: int = 1) -> Dataset:
    """Return the same as checked data."""
    return loan_data(rows, seed=seed, later=round_ * SPAN)


def settled(rows: int, *, seed: int, later: int = 0, until: int) -> pl.DataFrame:
    """Return loans as they are known `until` days after 2020-01-01: whose day has not come has no outcome yet."""
    frame = loans(rows, seed=seed, later=later)
    days = pl.when(pl.col("bad") == 1).then(BAD_AFTER).otherwise(GOOD_AFTER)
    known = pl.col("settled") <= dt.date(2020, 1, 1) + dt.timedelta(days=until)
    return frame.with_columns(
        settled=pl.col("decided") + pl.duration(days=days),
        gender=pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("f")).otherwise(pl.lit("m")),
    ).with_columns(pl.when(known).then("bad").alias("bad"), pl.when(known).then("settled").alias("settled"))


@functools.cache
def settled_champion() -> Path:
    """Return the bundle of a champion whose rows had to wait for their outcomes; nobody writes into it."""
    return champion_of(spare("settled"), rows=load(settled(1600, seed=0, until=SPAN + GOOD_AFTER), SETTLED))


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file in a folder and below, by its path in there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def spare(name: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"leanrisk-test-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
