"""Do scores and features look today as they did in training? Histograms and the population stability index."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import DataError, Fault
from leanrisk.core.metrics import Floats, psi_edges, psi_of_shares, shares_between
from leanrisk.core.schema import Column, Kind
from leanrisk.evaluate.curves import plain

PSI_BINS = 10
HISTOGRAM_BINS = 30

# More rows move a PSI by less than 0.001; sorting them for every one of some hundred features takes minutes.
_MOST_ROWS = 100_000
_LEVELS = 20
_TAIL = 0.995


def feature_psi(reference: Dataset, current: Dataset) -> list[dict[str, Any]]:
    """Return {"name", "psi"} of every numeric and category feature, the least stable first.

    Numeric: quantile bins of `reference`, with missing values and each missing code as bins of their own. Category: the
    20 most frequent levels of `reference`, the other known levels, levels it never saw, and missing. Above 100,000 rows
    every k-th row is taken. Raises `DataError` where either side has no rows, `SchemaError` for a lost column.
    """
    for name, side in (("reference", reference), ("current", current)):
        if side.rows == 0:
            raise DataError(Fault("no-rows", f"PSI compares two samples: the {name} one has no rows.", "Add rows."))
    before, after = _thinned(reference.frame), _thinned(current.frame)
    found = []
    for name in reference.schema.features_of(Kind.NUMERIC, Kind.CATEGORY):
        column = reference.schema[name]
        current.schema[name]  # raises where the newer table lost it
        judge = _numeric_psi if column.kind is Kind.NUMERIC else _category_psi
        found.append({"name": name, "psi": judge(before[name], after[name], column)})
    return sorted(found, key=lambda row: (-float(str(row["psi"])), str(row["name"])))


def score_shares(reference: npt.ArrayLike, current: npt.ArrayLike) -> dict[str, list[float]]:
    """Return {"edges", "train", "test"}: shares of both samples in 30 bins, for a picture of the two distributions.

    Bins are equally wide up to the 99.5 % quantile of both together; the last one holds all scores above.
    """
    samples = [np.asarray(sample, dtype=np.float64) for sample in (reference, current)]
    both = np.concatenate(samples)
    low, high, top = float(both.min()), float(np.quantile(both, _TAIL)), float(both.max())
    if high <= low:
        high = low + max(abs(low), 1.0) * 1e-3
    edges = np.append(np.linspace(low, high, HISTOGRAM_BINS), max(top, high + (high - low) / HISTOGRAM_BINS))
    counts = [np.histogram(sample, edges)[0] / sample.size for sample in samples]
    return {"edges": [float(edge) for edge in edges], "train": plain(counts[0]), "test": plain(counts[1])}


def _thinned(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.gather_every(-(-frame.height // _MOST_ROWS)) if frame.height > _MOST_ROWS else frame


def _numeric_psi(before: pl.Series, after: pl.Series, column: Column) -> float:
    # Through float32, as the column's values went: 0.1 in the schema must find 0.1 in the table.
    numbers = [code for code in column.missing_codes if isinstance(code, int | float)]
    codes = np.asarray(numbers, dtype=np.float32).astype(np.float64)
    samples = [series.cast(pl.Float64).to_numpy() for series in (before, after)]
    coded = [np.isin(sample, codes) for sample in samples]
    edges = psi_edges(samples[0][~coded[0]], PSI_BINS)
    shares = [_coded_shares(sample, mask, codes, edges) for sample, mask in zip(samples, coded, strict=True)]
    return psi_of_shares(*shares)


def _coded_shares(sample: Floats, coded: npt.NDArray[np.bool_], codes: Floats, edges: Floats) -> Floats:
    held = np.array([(sample == code).sum() for code in codes], dtype=np.float64) / sample.size
    rest = sample[~coded]
    plain_shares = shares_between(rest, edges) * (rest.size / sample.size) if rest.size else np.zeros(edges.size + 2)
    return np.concatenate([held, plain_shares])


def _category_psi(before: pl.Series, after: pl.Series, column: Column) -> float:
    levels = before.drop_nulls().value_counts(sort=False).sort("count", column.name, descending=[True, False])
    known = levels[column.name].to_list()
    places = {level: min(place, _LEVELS) for place, level in enumerate(known)}
    unseen, missing = _LEVELS + 1, _LEVELS + 2
    shares = []
    for series in (before, after):
        counts = np.zeros(_LEVELS + 3)
        for level, count in series.value_counts().iter_rows():
            counts[missing if level is None else places.get(level, unseen)] += count
        shares.append(counts / series.len())
    return psi_of_shares(*shares)
