"""Runs small enough for tests: a simulated book, a table of loans with every kind of column, and a recipe for both."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.data.load import load
from leanrisk.data.simulate.sme import simulate_sme, sme_schema
from leanrisk.pipelines.job import Job
from leanrisk.pipelines.recipe import Recipe

SEED = 3
SPAN = 900
"""Days that the decisions of one table of loans are spread over."""
RECIPE = """
name = "tiny"

[incumbent.gbdt]
trials = 2
folds = 2
threads = 1
max_rounds = 40

[gates]
auc_margin = -1.0
ks_margin = -1.0
resamples = 100

[measure]
resamples = 100
calls = 100

[[steps]]
technique = "distill"
[steps.settings.training]
epochs = 2
threads = 1
[steps.settings.classroom]
copies = 1

[refresh.teach.training]
epochs = 1
threads = 1
[refresh.teach.classroom]
copies = 1

# Each step passes, and so does a lean model that has seen what the incumbent of today has.
[presets.strict.gates]
auc_margin = -0.03
ks_margin = -0.1
[[presets.strict.steps]]
technique = "distill"
[presets.strict.steps.settings.training]
epochs = 8
threads = 1
[presets.strict.steps.settings.classroom]
copies = 1

# So little is learned that no gate can let it pass.
[presets.hopeless.gates]
auc_margin = 0.0
ks_margin = 0.0
allow_not_proven = false
[[presets.hopeless.steps]]
technique = "distill"
[presets.hopeless.steps.settings.training]
epochs = 1
learning_rate = 1e-6
threads = 1
[presets.hopeless.steps.settings.classroom]
copies = 0
"""

LOANS = Schema(
    (
        Column("loan", Kind.CATEGORY, Role.ID),
        Column("decided", Kind.DATE, Role.TIME),
        Column("income", Kind.NUMERIC),
        Column("debt", Kind.NUMERIC, missing_codes=(-9,)),
        Column("age", Kind.NUMERIC),
        Column("opened", Kind.DATE),
        Column("sector", Kind.CATEGORY),
        Column("bad", Kind.NUMERIC, Role.TARGET),
    ),
    name="loans",
)


def recipe_file(folder: Path) -> Path:
    """Return the recipe as a TOML file in `folder`."""
    file = folder / "tiny.toml"
    file.write_text(RECIPE, encoding="utf-8")
    return file


def tiny_recipe(*changes: str, preset: str = "standard") -> Recipe:
    """Return the recipe with `changes` as `--set` takes them."""
    import tomllib

    return Recipe.from_dict(tomllib.loads(RECIPE), preset=preset, changes=changes)


def sme_files(folder: Path, *, rows: int = 3000) -> tuple[Path, Path]:
    """Return a simulated book of 40 features as a Parquet file, and its schema as a TOML file."""
    data, schema = folder / "book.parquet", folder / "book.toml"
    simulate_sme(rows=rows, features=40, seed=1).write_parquet(data)
    schema.write_text(sme_schema(features=40).to_toml(), encoding="utf-8")
    return data, schema


def loans(rows: int, *, seed: int, noise: bool = False, later: int = 0) -> pl.DataFrame:
    """Return loans with an id, a decision date, numbers, gaps, a missing code, a date and a category.

    `income` and `sector` drive the outcome; with `noise` nothing does. Decisions fall into the `SPAN` days from
    2020-01-01, or from `later` days after it; other days have other ids.
    """
    rng = np.random.default_rng(seed)
    income, debt = rng.normal(size=rows), rng.normal(size=rows)
    sector = rng.integers(0, 4, rows)
    margin = 1.4 * income - 1.0 + 0.7 * (sector == 0)
    bad = rng.random(rows) < (0.3 if noise else 1 / (1 + np.exp(margin)))
    debt[rng.random(rows) < 0.1] = -9
    decided = dt.date(2020, 1, 1) + np.array(
        [dt.timedelta(days=later + int(day)) for day in np.sort(rng.integers(0, SPAN, rows))]
    )
    opened = decided - np.array([dt.timedelta(days=int(day)) for day in rng.integers(30, 4000, rows)])
    return pl.DataFrame(
        {
            "loan": [f"L{later * 1000 + place:05d}" for place in range(rows)],
            "decided": decided.tolist(),
            "income": pl.Series(income).set(pl.Series(rng.random(rows) < 0.1), None),
            "debt": debt,
            "age": rng.integers(18, 80, rows),
            "opened": opened.tolist(),
            "sector": [("farm", "shop", "mill", "bank")[place] for place in sector],
            "bad": bad.astype(np.int8),
        }
    )


def loan_data(
    rows: int = 1200, *, seed: int = 0, noise: bool = False, later: int = 0, schema: Schema = LOANS
) -> Dataset:
    """Return the loans as checked data."""
    return load(loans(rows, seed=seed, noise=noise, later=later), schema)


def new_business(rows: int = 1200, *, seed: int = 0) -> Dataset:
    """Return loans whose newest third comes from two sectors of its own, one always bad and one always good.

    Whoever has seen these rows ranks them without a fault, and whoever has not knows nothing of them.
    """
    frame = loans(rows, seed=seed)
    fresh = pl.when(pl.col("bad") == 1).then(pl.lit("coin")).otherwise(pl.lit("gold"))
    recent = pl.col("decided") >= dt.date(2020, 1, 1) + dt.timedelta(days=SPAN * 6 // 10)
    return load(frame.with_columns(sector=pl.when(recent).then(fresh).otherwise("sector")), LOANS)


def job_on(dataset: Dataset, out: Path, *changes: str, **options: Any) -> Job:
    """Return an open job on `dataset` with the tiny recipe."""
    return Job.open(dataset, tiny_recipe(*changes), out=out, seed=SEED, **options)
