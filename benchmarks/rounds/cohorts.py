"""Books in time order, cut into a past and cohorts: each round learns one cohort and is tested on the next."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.runner import FOLDER
from leanrisk.core.dataset import Dataset, conform
from leanrisk.core.seeding import generator
from leanrisk.data.load import load
from leanrisk.data.simulate.sme import simulate_sme, sme_schema
from leanrisk.pipelines.new_rows import joined
from leanrisk.scenarios.catalogue import match_schema

_SBA = "sba_loans/sba_balanced_30000.parquet"


@dataclass(frozen=True)
class Round:
    """One round: rows known before it, the cohort that has matured, teaching and judging, and the next one as test."""

    name: str
    seen: Dataset
    teach: Dataset
    judge: Dataset
    test: Dataset

    @property
    def all_rows(self) -> Dataset:
        """Everything known once the cohort has matured, the judges left out."""
        return joined(self.seen, self.teach)


@dataclass(frozen=True)
class Cohorts:
    """A book: rows of the `past` that teach and that judge, `old` rows of it kept for forgetting, and the rounds.

    Outcomes of a cohort count as known when its round begins; how long that takes is not played out.
    """

    name: str
    train: Dataset
    valid: Dataset
    old: Dataset
    rounds: tuple[Round, ...]

    @classmethod
    def of(
        cls,
        name: str,
        book: Dataset,
        cohort: npt.NDArray[np.int64],
        first: int,
        last: int,
        *,
        most: tuple[int, int] | None = None,
        seed: int,
    ) -> Cohorts:
        """Return rounds that learn cohorts `first` to `last` - 1; everything before `first` is the past.

        `most` thins the past and each cohort that is learned to that many rows; tests stay whole.
        """
        known = ~np.isnan(book.labels)
        book, cohort = book.where(known), cohort[known]
        limits = most or (book.rows, book.rows)
        past = generator(seed, "past").permutation(np.flatnonzero(cohort < first))[: limits[0]]
        sixth = past.size // 6
        old, valid, train = (book.take(np.sort(part)) for part in np.split(past, [sixth, 2 * sixth]))
        rounds, seen = [], train
        for place in range(first, last):
            rows = generator(seed, "judges", str(place)).permutation(np.flatnonzero(cohort == place))[: limits[1]]
            judge, teach = (book.take(np.sort(part)) for part in np.split(rows, [round(0.3 * rows.size)]))
            rounds.append(Round(str(place), seen, teach, judge, book.where(cohort == place + 1)))
            seen = joined(seen, teach)
        return cls(name, train, valid, old, tuple(rounds))


def sba_cohorts(*, seed: int = 0) -> Cohorts | None:
    """Return SBA loans by calendar year: the past up to 2003, then 2004 to 2010; None without the public data."""
    file = Path(os.environ.get("LEANRISK_DATA", FOLDER.parent.parent / "shared" / "data")) / _SBA
    if not file.is_file():
        return None
    frame = pl.read_parquet(file)
    schema = match_schema(frame.columns)
    if schema is None or schema.time is None:
        return None
    book = load(frame, schema)
    years = book.frame[schema.time].dt.year().to_numpy().astype(np.int64)
    return Cohorts.of("sba", book, years, 2004, 2010, seed=seed)


def simulated_cohorts(
    rows: int,
    features: int,
    *,
    first: int = 6,
    last: int = 12,
    most: tuple[int, int] | None = None,
    seed: int = 0,
) -> Cohorts:
    """Return the simulated SME book by half-year: 16 of them, the downturn from the seventh to the twelfth."""
    schema = sme_schema(features=features)
    book = Dataset(conform(simulate_sme(rows=rows, features=features, seed=seed), schema), schema)
    time = book.frame[str(schema.time)]
    halves = time.dt.year().to_numpy().astype(np.int64) * 2 + (time.dt.month().to_numpy() > 6)
    return Cohorts.of("simulated", book, halves - halves.min(), first, last, most=most, seed=seed)
