"""Loans whose remarks tell what no other column does, and a recipe that reads them."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.schema import Column, Kind
from leanrisk.data.load import load
from leanrisk.pipelines.recipe import Recipe
from tests.pipelines.tiny import LOANS, RECIPE, loans

SCHEMA = replace(LOANS, columns=(*LOANS.columns, Column("remark", Kind.TEXT)))
CALM = ("paid in advance", "orders grow", "客户预付款", "own funds suffice", "a new van")
TENSE = ("wages are overdue", "bank line drawn", "用于归还旧贷款", "payment was missed", "a new truck")
STEP: dict[str, Any] = {
    "technique": "text",
    "settings": {
        "folds": 2,
        "student": {
            "vocabulary": 200,
            "longest": 16,
            "body": {"kind": "bag", "width": 8, "pairs": 256},
            "training": {"epochs": 4, "batch": 64, "learning_rate": 0.02},
        },
    },
}


def remarked(rows: int, *, seed: int = 0, later: int = 0, telling: bool = True) -> pl.DataFrame:
    """Return loans with a remark, one in ten empty; `telling` ones move the outcome of half of the rows."""
    frame, rng = loans(rows, seed=seed, later=later), np.random.default_rng(seed + 100)
    tense = rng.random(rows) < 0.5
    moved = rng.random(rows) < (0.5 if telling else 0.0)
    bad = np.where(moved, tense, frame["bad"].to_numpy()).astype(np.int8)
    picks, empty = rng.integers(0, len(CALM), rows), rng.random(rows) < 0.1
    texts = [
        None if gone else f"Loan {place % 7}: {(TENSE if strained else CALM)[pick]}."
        for place, (gone, strained, pick) in enumerate(zip(empty, tense, picks, strict=True))
    ]
    return frame.with_columns(bad=pl.Series(bad), remark=pl.Series(texts, dtype=pl.String))


def remarked_data(rows: int = 1500, *, seed: int = 0, later: int = 0, telling: bool = True) -> Dataset:
    """Return the loans as a dataset."""
    return load(remarked(rows, seed=seed, later=later, telling=telling), SCHEMA)


def text_recipe(*changes: str, step: dict[str, Any] = STEP) -> Recipe:
    """Return the tiny recipe with the step 'text' before its own."""
    plain = tomllib.loads(RECIPE)
    return Recipe.from_dict({**plain, "steps": [step, *plain["steps"]]}, changes=changes)
