"""What few bads say of any row: a ridge regression over ranks, which needs far fewer of them than trees do."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from leanrisk.models.synthesis.typed_columns import is_number, levels_of, numbers_of, plain_dtype

Floats = npt.NDArray[np.float64]

_KNOTS = 201
_TAIL = 1.0
_LEVELS = 20
_GAPS = 0.002, 0.998
_STEPS = 200


@dataclass(frozen=True)
class Ranks:
    """A number's place among the goods as a normal score: linear, and beyond one standard deviation once more.

    Ranks make columns alike, whatever their units and tails, and a penalty on them means the same for each.
    """

    name: str
    knots: Floats

    @classmethod
    def of(cls, name: str, values: Floats) -> Ranks:
        """Return the ranks of these values (NaN = missing)."""
        known = values[np.isfinite(values)]
        return cls(name, np.quantile(known, np.linspace(0, 1, _KNOTS)) if known.size else np.zeros(_KNOTS))

    def read(self, values: Floats) -> Floats:
        """Return normal score, both tails and whether it is missing, (rows, 4); a missing one scores as the median."""
        from scipy.special import ndtri

        low, high = (np.searchsorted(self.knots, values, side=side) for side in ("left", "right"))
        known = np.isfinite(values)
        score = np.where(known, ndtri(np.clip((low + high) / (2.0 * _KNOTS), *_GAPS)), 0.0)
        tails = np.maximum(score - _TAIL, 0.0), np.maximum(-score - _TAIL, 0.0)
        return np.stack([score, *tails, np.where(known, 0.0, 1.0)], axis=1)


@dataclass(frozen=True)
class Guide:
    """A ridge regression of bads against goods, both classes alike in weight."""

    numbers: tuple[Ranks, ...]
    levels: tuple[tuple[str, tuple[str, ...]], ...]
    weights: Floats
    intercept: float

    @classmethod
    def fit(cls, frame: pl.DataFrame, labels: npt.NDArray[np.float32], *, strength: float = 1.0) -> Guide:
        """Return what these rows teach; labels (rows,) are 1 for bad, 0 for good, and there are both.

        What a term may weigh grows with the number of bads that speak for it, and with `strength`.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        goods = frame.filter(pl.Series(labels == 0))
        blank = cls(
            tuple(Ranks.of(name, numbers_of(goods[name])) for name in frame.columns if _number(frame[name])),
            tuple((name, _common(goods[name])) for name in frame.columns if not _number(frame[name])),
            np.empty(0),
            0.0,
        )
        with warnings.catch_warnings():
            # A regression that is nearly there guides as well as one that is.
            warnings.simplefilter("ignore", ConvergenceWarning)
            line = LogisticRegression(C=strength * float(labels.mean()), class_weight="balanced", max_iter=_STEPS)
            line.fit(blank.read(frame), labels)
        return cls(blank.numbers, blank.levels, line.coef_[0].astype(np.float64), float(line.intercept_[0]))

    def read(self, frame: pl.DataFrame) -> Floats:
        """Return what the regression sees of rows, (rows, terms)."""
        parts = [each.read(numbers_of(frame[each.name])) for each in self.numbers]
        for name, levels in self.levels:
            found = levels_of(frame[name]).fill_null("")
            parts += [0.5 * (found == level).to_numpy()[:, None] for level in levels]
        return np.hstack(parts)

    def chances(self, frame: pl.DataFrame) -> Floats:
        """Return each row's chance to be bad if both classes were alike in number, (rows,)."""
        from scipy.special import expit

        return np.asarray(expit(self.read(frame) @ self.weights + self.intercept), dtype=np.float64)


def _number(values: pl.Series) -> bool:
    return is_number(plain_dtype(values))


def _common(values: pl.Series) -> tuple[str, ...]:
    counts = levels_of(values).fill_null("").alias("level").value_counts(name="rows")
    return tuple(counts.sort(["rows", "level"], descending=[True, False])["level"].head(_LEVELS).to_list())
