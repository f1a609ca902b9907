"""The books of C4, cut once: the same training rows, folds and columns for both sides."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from benchmarks.remembered.books import data_folder
from leanrisk.core.dataset import Dataset, conform
from leanrisk.data.load import load
from leanrisk.data.simulate.sme import simulate_sme, sme_schema
from leanrisk.data.split import SplitConfig, split
from leanrisk.data.thinning import thinned
from leanrisk.scenarios.catalogue import load_schema

_SPLIT = SplitConfig(test_share=0.25, valid_share=0.25)
_PUBLIC = {
    "home_credit": ("home_credit/application_train_11873.parquet", "home_credit"),
    # Of the five years this one has most bads, 410.
    "polish_bankruptcy": ("polish_bankruptcy/year5.parquet", "polish_bankruptcy"),
    "lending_club": ("lending_club/accepted_random_2000_151col.parquet", "lending_club_151_columns"),
}
NAMES = ("simulator", *_PUBLIC)


@dataclass(frozen=True)
class Book:
    """A book cut into parts; `train` may be a sample of what trains, `rows` and `columns` are those of the file."""

    name: str
    rows: int
    columns: int
    train: Dataset
    valid: Dataset
    test: Dataset


def book(name: str, *, rows: int, most: int, features: int) -> Book | None:
    """Return a book with at most `most` training rows; None for a public one whose file is not here.

    `rows` and `features` are the size of the simulated one.
    """
    if name == "simulator":
        schema = sme_schema(features=features)
        whole = Dataset(conform(simulate_sme(rows=rows, features=features, seed=1), schema), schema)
    else:
        file, known = _PUBLIC[name]
        path = data_folder() / file
        if not path.is_file():
            return None
        whole = load(pl.read_parquet(path), load_schema(known))
    parts = split(whole, _SPLIT, seed=0)
    return Book(
        name,
        whole.rows,
        len(whole.frame.columns),
        # Bads are kept first: they are what a KS is measured with.
        thinned(parts.train.labelled, most, purpose="select", seed=0),
        parts.valid.labelled,
        parts.open_test().labelled,
    )
