"""How good made rows are, and what they tell of the rows behind them: utility, likeness, detectability, membership."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.core.errors import DataError, Fault
from leanrisk.core.measurement import Interval
from leanrisk.core.seeding import generator
from leanrisk.evaluate.delong import auc_interval

Floats = npt.NDArray[np.float64]

LEAST_ROWS = 40
"""Fewer rows in any of the tables say nothing with an interval worth printing."""
_ROUNDS = 60
_TARGETS = 1000
_BLOCK = 256
_COMPARED = 20_000
_PARAMS = {"objective": "binary", "num_leaves": 15, "learning_rate": 0.1, "min_data_in_leaf": 10, "verbosity": -1}


@dataclass(frozen=True)
class SyntheticQuality:
    """What made rows are worth, each figure against what real rows reach where there is such a thing.

    `real_on_real`, `made_on_real` (train on synthetic, test on real) and `real_on_made` are AUCs, None without a target
    or where a table has one outcome. `marginal`: distance of each column, the largest gap of the distribution functions
    of a number or half the summed gaps of a category's shares, in [0, 1]. `pairwise`: mean absolute difference of rank
    correlations. `detected`: AUC of trees that tell made rows from real ones, 0.5 is best. `membership`: AUC of an
    attacker who guesses which rows were learned, 0.5 is best; distances to the closest record are no such measure.
    """

    real_on_real: Interval | None
    made_on_real: Interval | None
    real_on_made: Interval | None
    marginal: Mapping[str, float]
    pairwise: float
    detected: Interval
    membership: Interval

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def synthetic_quality(
    learned: pl.DataFrame, held_out: pl.DataFrame, made: pl.DataFrame, *, target: str | None = None, seed: int = 0
) -> SyntheticQuality:
    """Return how `made` rows compare with the real rows that were `learned` and with real ones that were `held_out`.

    All three have the columns of `made`; `target` is a column of 0 and 1. Raises `DataError` for fewer than 40 rows or
    a column that is missing.
    """
    tables = {"learned": learned, "held out": held_out, "made": made}
    _check(tables, made, target)
    features = [name for name in made.columns if name != target]
    real = pl.concat([learned, held_out], how="vertical_relaxed")
    matrices = {name: _matrix(table, real, features) for name, table in tables.items()}
    found: dict[str, Interval | None] = dict.fromkeys(("real_on_real", "made_on_real", "real_on_made"))
    if target is not None:
        labels = {name: table[target].cast(pl.Float64).to_numpy() for name, table in tables.items()}
        for key, taught, asked in (
            ("real_on_real", "learned", "held out"),
            ("made_on_real", "made", "held out"),
            ("real_on_made", "learned", "made"),
        ):
            found[key] = _utility(matrices[taught], labels[taught], matrices[asked], labels[asked], seed)
    return SyntheticQuality(
        found["real_on_real"],
        found["made_on_real"],
        found["real_on_made"],
        {name: _marginal(held_out[name], made[name]) for name in made.columns},
        _pairwise(matrices["held out"], matrices["made"]),
        detected(matrices["held out"], matrices["made"], seed=seed),
        membership(matrices["learned"], matrices["held out"], matrices["made"], seed=seed),
    )


def detected(real: Floats, made: Floats, *, seed: int) -> Interval:
    """Return the AUC, with DeLong's limits, of trees that learn one half of both tables and are asked the other.

    `real` and `made`: (rows, columns), NaN where missing; as many rows of each are looked at.
    """
    rng = generator(seed, "detected")
    count = min(real.shape[0], made.shape[0])
    rows = np.concatenate([part[rng.permutation(part.shape[0])[:count]] for part in (real, made)])
    labels = np.repeat([0.0, 1.0], count)
    half = np.tile(np.arange(count) % 2 == 0, 2)
    scores = _scores(rows[half], labels[half], rows[~half], seed)
    return auc_interval(labels[~half], scores)


def membership(learned: Floats, held_out: Floats, made: Floats, *, seed: int) -> Interval:
    """Return the AUC, with DeLong's limits, of an attack that tells learned rows from rows that were held out.

    The attacker has the made rows and real rows of his own (one half of those held out), and guesses that a row was
    learned where made rows lie nearer to it than his own do: a ratio of densities by nearest neighbours. Targets are
    up to 1,000 learned rows and as many of the other half. Source: the likelihood-ratio attack in the form of Hilprecht
    et al. (2019), "Monte Carlo and Reconstruction Membership Inference Attacks against Generative Models", with the
    reference sample of van Breugel et al. (2023), "Membership Inference Attacks against Synthetic Data".
    """
    rng = generator(seed, "membership")
    order = rng.permutation(held_out.shape[0])
    own, strangers = held_out[order[: order.size // 2]], held_out[order[order.size // 2 :]]
    count = min(_TARGETS, strangers.shape[0], learned.shape[0])
    members = learned[rng.permutation(learned.shape[0])[:count]]
    targets = _scaled(np.concatenate([members, strangers[:count]]), own)
    some = (part[rng.permutation(part.shape[0])[:_COMPARED]] for part in (own, made))
    near = [_nearest(targets, _scaled(part, own)) for part in some]
    scores = np.log(near[0] + 1e-9) - np.log(near[1] + 1e-9)
    return auc_interval(np.repeat([1.0, 0.0], count), scores)


def _check(tables: Mapping[str, pl.DataFrame], made: pl.DataFrame, target: str | None) -> None:
    faults = []
    for name, table in tables.items():
        if table.height < LEAST_ROWS:
            what = f"made rows are compared with at least {LEAST_ROWS} rows: '{name}' has {table.height}."
            faults.append(Fault("too-few-rows", what, "Bring more."))
        for column in [*made.columns, *([] if target is None else [target])]:
            if column not in table.columns:
                faults.append(Fault("column-missing", f"the table '{name}' lacks it.", "Add it.", column))
    if faults:
        raise DataError(faults)


def _matrix(table: pl.DataFrame, real: pl.DataFrame, features: list[str]) -> Floats:
    """Return numbers as they are, dates as days, and levels by how often real rows have them, NaN where missing."""
    columns = []
    for name in features:
        values = table[name]
        if values.dtype.is_numeric() or values.dtype.is_temporal():
            plain = values.to_physical().cast(pl.Float64)
        else:
            order = real[name].cast(pl.String).drop_nulls().value_counts(sort=True)[name].to_list()
            ranks: dict[str, float] = {level: float(place) for place, level in enumerate(order)}
            text = values.cast(pl.String)
            plain = text.replace_strict(ranks, default=float(len(order)), return_dtype=pl.Float64)
            plain = pl.select(pl.when(text.is_null()).then(None).otherwise(plain)).to_series()
        columns.append(plain.fill_null(float("nan")).to_numpy())
    return np.stack(columns, axis=1)


def _utility(taught: Floats, labels: Floats, asked: Floats, truth: Floats, seed: int) -> Interval | None:
    if np.ptp(labels) == 0 or np.ptp(truth) == 0:
        return None
    return auc_interval(truth, _scores(taught, labels, asked, seed))


def _scores(taught: Floats, labels: Floats, asked: Floats, seed: int) -> Floats:
    import lightgbm as lgb

    data = lgb.Dataset(taught, labels)
    settings = {**_PARAMS, "seed": seed, "deterministic": True, "force_col_wise": True, "num_threads": 1}
    return np.asarray(lgb.train(settings, data, _ROUNDS).predict(asked, num_threads=1), dtype=np.float64)


def _marginal(real: pl.Series, made: pl.Series) -> float:
    if real.dtype.is_numeric() or real.dtype.is_temporal():
        left, right = (np.sort(part.drop_nulls().to_physical().cast(pl.Float64).to_numpy()) for part in (real, made))
        gap = abs(real.null_count() / real.len() - made.null_count() / made.len())
        if not left.size or not right.size:
            return float(gap)
        both = np.concatenate([left, right])
        below = [np.searchsorted(part, both, side="right") / part.size for part in (left, right)]
        return float(max(gap, np.abs(below[0] - below[1]).max()))
    levels = [part.cast(pl.String).fill_null("\0").to_numpy() for part in (real, made)]
    names = np.unique(np.concatenate(levels))
    shares = [np.array([(part == name).mean() for name in names]) for part in levels]
    return float(0.5 * np.abs(shares[0] - shares[1]).sum())


def _pairwise(real: Floats, made: Floats) -> float:
    tables = [_rank_correlations(part) for part in (real, made)]
    return float(np.nanmean(np.abs(tables[0] - tables[1]))) if real.shape[1] > 1 else 0.0


def _rank_correlations(values: Floats) -> Floats:
    filled = np.where(np.isnan(values), np.nanmin(np.where(np.isnan(values), np.inf, values), axis=0) - 1.0, values)
    filled[~np.isfinite(filled)] = 0.0
    ranks = np.argsort(np.argsort(filled, axis=0, kind="stable"), axis=0).astype(np.float64)
    for column in range(ranks.shape[1]):
        _, group, counts = np.unique(filled[:, column], return_inverse=True, return_counts=True)
        ranks[:, column] = (np.bincount(group, weights=ranks[:, column]) / counts)[group]
    ranks -= ranks.mean(axis=0)
    spread = np.sqrt((ranks**2).sum(axis=0))
    spread[spread == 0] = 1.0
    table = (ranks / spread).T @ (ranks / spread)
    return np.asarray(table[np.triu_indices(values.shape[1], 1)])


def _scaled(values: Floats, by: Floats) -> Floats:
    """Return standardised values, the mean where missing; by what an attacker knows."""
    known = np.isfinite(by)
    total = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, by, 0.0).sum(axis=0) / total
    spread = np.sqrt((np.where(known, by - centre, 0.0) ** 2).sum(axis=0) / total)
    return np.asarray(np.nan_to_num((values - centre) / np.where(spread > 0, spread, 1.0)), dtype=np.float64)


def _nearest(targets: Floats, others: Floats) -> Floats:
    found = np.empty(targets.shape[0])
    squares = (others**2).sum(axis=1)
    for start in range(0, targets.shape[0], _BLOCK):
        some = targets[start : start + _BLOCK]
        distance = (some**2).sum(axis=1)[:, None] + squares - 2.0 * some @ others.T
        found[start : start + _BLOCK] = np.sqrt(np.maximum(distance.min(axis=1), 0.0))
    return found
