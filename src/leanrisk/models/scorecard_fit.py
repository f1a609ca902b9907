"""Fitting a WOE scorecard: optimal bins, an IV filter, a logistic regression with the signs a scorecard must have."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.inputs import MISSING, Fields, Inputs
from leanrisk.core.progress import Progress, Silent
from leanrisk.models.folds import make_folds
from leanrisk.models.gbdt import Objective
from leanrisk.models.gbdt_fit import checked_labels
from leanrisk.models.incumbent import OutOfFold, Reading
from leanrisk.models.scorecard import Attribute, Characteristic, PointScale, Scorecard

_SILENT = Silent()
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ScorecardConfig:
    """How a scorecard is built.

    Columns with an information value below `min_iv` are left out (at least one stays), and at most `most_columns` of
    the strongest enter. Numeric bins are monotonic in the bad rate, rising or falling as the column says. Category
    levels rarer than `rare_share` share a bin. `ridge` is the inverse strength of the logistic regression's L2 penalty.
    """

    min_iv: float = 0.02
    most_columns: int = 40
    most_bins: int = 8
    rare_share: float = 0.01
    ridge: float = 10.0
    folds: int = 3
    scale: PointScale = field(default_factory=PointScale)

    def __post_init__(self) -> None:
        if self.min_iv < 0 or not 0 <= self.rare_share < 1 or self.ridge <= 0:
            raise ConfigError("scorecard needs min_iv >= 0, rare_share in 0..1 and ridge > 0. Correct them.")
        if self.most_columns < 1 or self.most_bins < 2 or not 2 <= self.folds <= 20:
            raise ConfigError("scorecard needs most_columns >= 1, most_bins >= 2 and folds in 2..20. Correct them.")


@dataclass(frozen=True)
class ScorecardFit:
    """A scorecard and the out-of-fold scores of its training rows."""

    model: Scorecard
    oof: OutOfFold


@dataclass(frozen=True)
class Binned:
    """One column: its fitted `optbinning.OptimalBinning`, its frozen bins (coefficient 0), its place in `Inputs`."""

    binning: Any
    frozen: Characteristic
    column: int


@dataclass(frozen=True)
class Logistic:
    """The columns that stayed and the fitted `sklearn` logistic regression on their WOE values."""

    columns: tuple[Binned, ...]
    model: Any


def train_scorecard(
    inputs: Inputs,
    labels: npt.NDArray[np.floating[Any]],
    fields: Fields,
    reading: Reading,
    *,
    config: ScorecardConfig | None = None,
    seed: int,
    progress: Progress = _SILENT,
) -> ScorecardFit:
    """Return a scorecard fitted on all rows, with out-of-fold scores from scorecards fitted on the other folds.

    Bins: Navas-Palencia (2020), "Optimal binning: mathematical programming formulation". Raises `ModelError` for labels
    that are not 0 and 1 with two rows of each, `ConfigError` where optbinning is not installed.
    """
    config = config or ScorecardConfig()
    checked = checked_labels(inputs, labels, Objective.BINARY)
    folds = make_folds(checked, config.folds, seed=seed, stratified=True)
    margin = np.empty(inputs.rows, dtype=np.float32)
    with progress.track("Fitting the scorecard", len(folds) + 1) as advance:
        for fold in folds:
            card = fit_scorecard(inputs.take(fold.rest), checked[fold.rest], fields, reading, config)
            margin[fold.held] = card.margin(inputs.take(fold.held))
            advance(1.0)
        model = fit_scorecard(inputs, checked, fields, reading, config)
        advance(1.0)
    score = (1.0 / (1.0 + np.exp(-margin.astype(np.float64)))).astype(np.float32)
    return ScorecardFit(model, OutOfFold(margin, score))


def fit_scorecard(
    inputs: Inputs, labels: npt.NDArray[np.float32], fields: Fields, reading: Reading, config: ScorecardConfig
) -> Scorecard:
    """Return a scorecard fitted once on these rows."""
    fitted = fit_logistic(inputs, labels, fields, config)
    return frozen(fitted, config.scale, fields, reading)


def fit_logistic(inputs: Inputs, labels: npt.NDArray[np.float32], fields: Fields, config: ScorecardConfig) -> Logistic:
    """Return the binned columns that stayed, strongest first, and the logistic regression on their WOE.

    A column whose coefficient has the wrong sign (safer bins adding risk) says nothing that the others don't: the worst
    one leaves and the rest are fitted again, until every sign is right.
    """
    from sklearn.linear_model import LogisticRegression

    flags = labels.astype(np.int64)
    columns = binned_columns(inputs, flags, fields, config)
    while True:
        woe = np.stack(
            [e.frozen.woe[e.frozen.places(column_values(inputs, fields, e.column))] for e in columns], axis=1
        )
        model = LogisticRegression(C=config.ridge, solver="newton-cholesky", max_iter=200).fit(woe, flags)
        worst = int(np.argmax(model.coef_[0]))
        if len(columns) == 1 or model.coef_[0, worst] < 0:
            return Logistic(tuple(columns), model)
        del columns[worst]


def binned_columns(
    inputs: Inputs, flags: npt.NDArray[np.int64], fields: Fields, config: ScorecardConfig
) -> list[Binned]:
    """Return the columns that may enter a scorecard, binned, strongest first; raises `ModelError` where there is none.

    Those below `min_iv` are left out, but one stays.
    """
    binned = [_binned(inputs, flags, fields, place, config) for place in range(len(fields.names))]
    usable = [entry for entry in binned if entry is not None]
    if not usable:
        raise ModelError("A scorecard needs a column with at least two different values: there is none. Add features.")
    ranked = sorted(usable, key=lambda entry: -entry.frozen.iv)
    return [entry for entry in ranked if entry.frozen.iv >= config.min_iv][: config.most_columns] or ranked[:1]


def frozen(fitted: Logistic, scale: PointScale, fields: Fields, reading: Reading) -> Scorecard:
    """Return the fitted parts as a plain points table."""
    entries = [binned.frozen for binned in fitted.columns]
    return pointed(entries, fitted.model.coef_[0], float(fitted.model.intercept_[0]), scale, fields, reading)


def pointed(
    columns: Sequence[Characteristic],
    coefficients: Floats,
    intercept: float,
    scale: PointScale,
    fields: Fields,
    reading: Reading,
) -> Scorecard:
    """Return the table of points of these characteristics with their coefficients, (characteristics,)."""
    share = (scale.offset - scale.factor * intercept) / len(columns)
    entries = []
    for entry, coefficient in zip(columns, coefficients, strict=True):
        attributes = tuple(
            Attribute(a.label, a.woe, share - scale.factor * float(coefficient) * a.woe, a.rows, a.bads)
            for a in entry.attributes
        )
        entries.append(
            Characteristic(entry.name, float(coefficient), entry.iv, attributes, entry.splits, entry.codes, entry.bins)
        )
    return Scorecard(tuple(entries), intercept, scale, fields, reading)


def _binned(
    inputs: Inputs, flags: npt.NDArray[np.int64], fields: Fields, place: int, config: ScorecardConfig
) -> Binned | None:
    """Return the column's bins, or None where it never varies or holds nothing but gaps and special codes."""
    values = column_values(inputs, fields, place)
    if np.unique(values).size < 2:
        return None
    if place < len(fields.numeric):
        if not (np.isfinite(values) & ~np.isin(values, fields.numeric[place].codes)).any():
            return None
        return _binned_numeric(values, flags, fields, place, config)
    return _binned_category(values, flags, fields, place, config)


def _binned_numeric(
    values: Floats, flags: npt.NDArray[np.int64], fields: Fields, place: int, config: ScorecardConfig
) -> Binned:
    entry = fields.numeric[place]
    binning = _optimal_binning()(
        name=entry.name,
        monotonic_trend="auto_asc_desc",
        max_n_bins=config.most_bins,
        special_codes={repr(code): code for code in entry.codes} or None,
    )
    binning.fit(values, flags)
    splits = tuple(float(split) for split in binning.splits)
    edges = [float("-inf"), *splits, float("inf")]
    labels = [f"[{low:g}, {high:g})" for low, high in itertools.pairwise(edges)]
    labels += [f"code {code:g}" for code in entry.codes] or ["special"]
    labels.append("missing")
    attributes, iv = _attributes(binning, labels)
    if not entry.codes:
        del attributes[-2]  # optbinning keeps an empty special bin where there are no codes.
    return Binned(binning, Characteristic(entry.name, 0.0, iv, tuple(attributes), splits, entry.codes), place)


def _binned_category(
    values: Floats, flags: npt.NDArray[np.int64], fields: Fields, place: int, config: ScorecardConfig
) -> Binned:
    entry = fields.category[place - len(fields.numeric)]
    names = category_text(values)
    binning = _optimal_binning()(
        name=entry.name,
        dtype="categorical",
        monotonic_trend=None,
        max_n_bins=config.most_bins,
        cat_cutoff=config.rare_share,
    ).fit(names, flags)
    shown = ["missing", "unseen", *entry.levels]
    every = category_text(np.arange(entry.size, dtype=np.float64))
    places = binning.transform(every, metric="indices", metric_special="empirical", metric_missing="empirical")
    bins = int(binning.binning_table.n_event.size) - 2
    labels = [", ".join(shown[code] for code in np.flatnonzero(places == k)) for k in range(bins)]
    attributes, iv = _attributes(binning, [*labels, "special", "missing"])
    del attributes[-2]  # optbinning keeps an empty special bin where there are no codes.
    attributes.append(Attribute("unseen", 0.0, 0.0, 0, 0))
    table = [int(k) if 0 <= k < bins else bins + 1 for k in places]
    table[MISSING] = bins
    return Binned(binning, Characteristic(entry.name, 0.0, iv, tuple(attributes), bins=tuple(table)), place)


def _attributes(binning: Any, labels: list[str]) -> tuple[list[Attribute], float]:
    """Return one attribute per bin, points still 0, and the information value summed over bins with both outcomes."""
    table = binning.binning_table
    bads, goods = np.asarray(table.n_event, dtype=np.int64), np.asarray(table.n_nonevent, dtype=np.int64)
    both = (bads > 0) & (goods > 0)
    woe = np.zeros(bads.size)
    # The order of operations is optbinning's, so that a frozen card gives its numbers to the last bits.
    rate = bads[both] / (bads + goods)[both]
    woe[both] = np.log((1.0 / rate - 1.0) * bads.sum() / goods.sum())
    iv = float(((goods / goods.sum() - bads / bads.sum()) * woe).sum())
    found = [
        Attribute(label, float(w), 0.0, int(bad + good), int(bad))
        for label, w, bad, good in zip(labels, woe, bads, goods, strict=True)
    ]
    return found, iv


def category_text(codes: Floats) -> npt.NDArray[np.object_]:
    """Return category codes as the text that is binned: None for missing."""
    return np.array([None if code == MISSING else str(int(code)) for code in codes], dtype=object)


def column_values(inputs: Inputs, fields: Fields, place: int) -> Floats:
    """Return one column of the inputs as float64, (rows,): numbers, or category codes."""
    first = len(fields.numeric)
    column = inputs.numeric[:, place] if place < first else inputs.category[:, place - first]
    return column.astype(np.float64)


def _optimal_binning() -> Any:
    try:
        from optbinning import OptimalBinning
    except ImportError as error:
        raise ConfigError(
            f"A scorecard needs optbinning: it is missing ({error}). Run in a checkout: pip install '.[scorecard]'."
        ) from error
    return OptimalBinning
