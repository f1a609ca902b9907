"""A small loan book with every kind of column, its incumbent, and benches and lean models made of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from leanrisk.core.dataset import Dataset, conform
from leanrisk.core.measurement import Interval, Measurement
from leanrisk.core.metrics import auc
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.features.encoder import Encoder
from leanrisk.models.gbdt_search import GbdtConfig, GbdtFit, train_gbdt_full
from leanrisk.models.incumbent import Reading
from leanrisk.techniques.base import Bench, Candidate, Teacher
from leanrisk.techniques.catalogue import technique
from leanrisk.techniques.lean_model import LeanModel

SETTINGS: dict[str, dict[str, Any]] = {
    "distill": {"training": {"epochs": 3, "batch": 64, "threads": 1}, "classroom": {"copies": 1}},
    "freeze": {"training": {"epochs": 1, "batch": 64, "threads": 1}, "classroom": {"copies": 1}},
    "lora": {"training": {"epochs": 1, "batch": 64, "threads": 1}, "classroom": {"copies": 1}},
    "quantize": {
        "route": "qat",
        "arithmetic": "unpacked",
        "training": {"epochs": 1, "batch": 64, "threads": 1},
        "classroom": {"copies": 1},
    },
}
"""Settings that make each technique quick; one that is quick by default needs none."""

FROM_LEAN = {"freeze": "tiny", "lora": "tiny", "quantize": "swift"}
"""Techniques that start from a lean model, and the preset that it has here; the others start from the incumbent."""

FEATURES = ("income", "age", "opened", "sector", "region")
SECTORS = ("farm", "shop", "mill", "mine")


def schema(*, amounts: bool = False) -> Schema:
    """Return the book's schema; with `amounts` the target is the loss, an amount."""
    target, other = ("loss", "bad") if amounts else ("bad", "loss")
    columns = (
        Column("loan", Kind.CATEGORY, Role.ID),
        Column("decided", Kind.DATE, Role.TIME),
        Column("income", Kind.NUMERIC),
        Column("age", Kind.NUMERIC, missing_codes=(-9,)),
        Column("opened", Kind.DATE),
        Column("sector", Kind.CATEGORY),
        Column("region", Kind.CATEGORY),
        Column("sex", Kind.CATEGORY, Role.PROTECTED),
        Column("recovered", Kind.NUMERIC, Role.EXPOST),
        Column(other, Kind.NUMERIC, Role.IGNORED),
        Column(target, Kind.NUMERIC, Role.TARGET),
    )
    return Schema(columns, positive=() if amounts else (1,))


def book(rows: int, *, seed: int, turned: bool = False, amounts: bool = False) -> Dataset:
    """Return loans with gaps and a special code; with `turned`, mills become safe and farms risky."""
    rng = np.random.default_rng(seed)
    income = rng.lognormal(10, 0.7, rows)
    age = rng.integers(18, 80, rows).astype(float)
    sector = rng.choice(SECTORS, rows)
    decided = np.datetime64("2021-01-01") + rng.integers(0, 700, rows)
    opened = decided - rng.integers(30, 3000, rows)
    weights = dict(zip(SECTORS, (1.4, 0.0, -1.2, 0.3) if turned else (-1.2, 0.0, 1.4, 0.3), strict=True))
    margin = (
        -1.0
        - 1.1 * (np.log(income) - 10)
        + np.vectorize(weights.get)(sector)
        + 0.4 * (decided - opened < 365).astype(int)
    )
    bad = rng.random(rows) < 1 / (1 + np.exp(-margin))
    age[rng.random(rows) < 0.1] = -9
    frame = pl.DataFrame(
        {
            "loan": [f"L{seed}-{place}" for place in range(rows)],
            "decided": pl.Series(decided).cast(pl.Date),
            "income": pl.Series(np.where(rng.random(rows) < 0.1, np.nan, income)).fill_nan(None),
            "age": age,
            "opened": pl.Series(opened).cast(pl.Date),
            "sector": sector,
            "region": [None if gap else name for gap, name in zip(rng.random(rows) < 0.15, sector[::-1], strict=True)],
            "sex": rng.choice(["f", "m"], rows),
            "recovered": np.where(bad, rng.random(rows), 1.0),
            "bad": bad.astype(np.int8),
            "loss": np.where(bad, 1000.0, 0.0) + 2000 * margin + rng.normal(0, 300, rows),
        }
    )
    asked = schema(amounts=amounts)
    return Dataset(conform(frame, asked), asked)


@functools.cache
def incumbent(*, amounts: bool = False) -> GbdtFit:
    """Return a LightGBM trained on `train_rows`, with out-of-fold opinions on them."""
    rows = train_rows(amounts=amounts)
    encoder = Encoder.fit(rows)
    return train_gbdt_full(
        encoder.inputs(rows.frame),
        rows.labels,
        encoder.fields,
        Reading(encoder.inputs, encoder.record),
        config=GbdtConfig(trials=1, max_rounds=60, threads=1),
        seed=1,
        objective="regression" if amounts else "binary",
    )


@functools.cache
def train_rows(*, amounts: bool = False) -> Dataset:
    """Return the 600 rows that are taught."""
    return book(600, seed=1, amounts=amounts)


@functools.cache
def valid_rows(*, amounts: bool = False) -> Dataset:
    """Return the 300 rows that calibrate."""
    return book(300, seed=2, amounts=amounts)


def asking(fit: GbdtFit) -> Callable[[pl.DataFrame], Any]:
    """Return the incumbent's opinions on any rows."""
    return lambda frame: fit.model.margin(fit.model.reading.frame(frame)).astype(np.float32)


def bench(*, seed: int = 5, amounts: bool = False, **changes: Any) -> Bench:
    """Return a bench over the book; `changes` replace its fields."""
    fit = incumbent(amounts=amounts)
    made = Bench(
        train=train_rows(amounts=amounts),
        valid=valid_rows(amounts=amounts),
        teacher=Teacher(fit.oof.margin, asking(fit)),
        measure=measured,
        seed=seed,
        objective="regression" if amounts else "binary",
    )
    return replace(made, **changes)


def measured(candidate: Candidate) -> Measurement:
    """Return AUC on the validation rows, and what the model holds."""
    rows = valid_rows()
    value = auc(rows.labels, candidate.model.predict(rows.frame))
    return Measurement(
        {"auc": Interval(value, value - 0.03, value + 0.03)}, len(candidate.features), candidate.model.size_bytes
    )


def candidate(*, amounts: bool = False) -> Candidate:
    """Return the incumbent as a candidate, before any technique."""
    return Candidate(FEATURES, incumbent(amounts=amounts).model)


def starting(name: str, *, features: tuple[str, ...] = FEATURES, amounts: bool = False) -> Candidate:
    """Return what this technique starts from: the incumbent, or where it teaches further, a lean model."""
    if name not in FROM_LEAN:
        return replace(candidate(amounts=amounts), features=features)
    return Candidate(features, lean_model(amounts=amounts, preset=FROM_LEAN[name], features=features))


def applied(name: str, on: Bench, start: Candidate | None = None) -> Candidate:
    """Return what the technique makes of what it starts from, with quick settings."""
    start = start or starting(name, amounts=on.objective == "regression")
    return technique(name, SETTINGS.get(name, {})).apply(start, on)


@functools.cache
def lean_model(
    *, amounts: bool = False, preset: str = "swift", features: tuple[str, ...] = FEATURES, seed: int = 5
) -> LeanModel:
    """Return the incumbent distilled into a network of this preset that reads these columns."""
    step = technique("distill", {**SETTINGS["distill"], "preset": preset})
    made = step.apply(starting("distill", features=features, amounts=amounts), bench(amounts=amounts, seed=seed)).model
    assert isinstance(made, LeanModel)
    return made


def odd_rows() -> pl.DataFrame:
    """Return rows that training has not seen the like of: unseen levels, nothing known, values far outside."""
    frame = book(30, seed=77).frame
    empty = frame.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in frame.schema.items() if name in FEATURES
    )
    unseen = frame.with_columns(sector=pl.lit("space travel"), region=pl.lit(""))
    extreme = frame.with_columns(income=pl.lit(3e38, pl.Float32), age=pl.lit(-3e38, pl.Float32))
    return pl.concat([frame, empty, unseen, extreme])
