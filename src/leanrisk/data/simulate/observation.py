"""What the bank sees of a block of loans: columns in natural units, with errors, empty answers and late levels."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from leanrisk.core.seeding import generator
from leanrisk.data.simulate.columns import Categorical, Drift, Numeric, shaped
from leanrisk.data.simulate.draws import Floats, Ints, normals
from leanrisk.data.simulate.levels import informative_categories, noise_categories, redundant_categories
from leanrisk.data.simulate.macro import MONTHS, stress, trend
from leanrisk.data.simulate.sources import SOURCES, Source
from leanrisk.data.simulate.traits import PLACE, TRAITS, informative_numerics

Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int16]

ALL_CATEGORIES = (*informative_categories(), *redundant_categories(), *noise_categories())


@dataclass(frozen=True)
class Observed:
    """What can be seen of a block, before it is put into columns; each array has shape (rows,).

    signals: what each informative numeric column measures, standard normal. levels: level numbers of the drawn
    categories. empty: which rows a source has no answer for.
    """

    signals: dict[str, Floats]
    levels: dict[str, Codes]
    empty: dict[str, Mask]


class Lens:
    """Turns hidden traits into what is observed; built once for a book, then used for any block."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._paths = {Drift.TREND: trend(), Drift.STRESS: stress()}
        self._cuts = {column.name: _level_cuts(column) for column in ALL_CATEGORIES if column.weights}
        self._empty_cuts = {source.name: _empty_cuts(source) for source in SOURCES.values() if source.empty[0] > 0}

    def observe(self, latents: Floats, months: Ints, block: int) -> Observed:
        """Return what is seen of the block whose traits are `latents`, shape (traits, rows)."""
        return Observed(
            signals=self._signals(latents, months, block),
            levels=self._levels(latents, months, block),
            empty=self._empty(latents, months, block),
        )

    def repeated(self, columns: tuple[Numeric, ...], seen: Observed, block: int) -> dict[str, Floats]:
        """Return what the redundant `columns` measure: the signal of the column that each repeats, with an error."""
        blend = blended(seen)
        errors = normals(self._rng(block, "copies"), blend.size, len(columns))
        return {
            column.name: _mixed(seen.signals[column.latent] if column.latent else blend, error, column.reliability)
            for column, error in zip(columns, errors, strict=True)
        }

    def noise(self, columns: tuple[Numeric, ...], months: Ints, block: int) -> dict[str, Floats]:
        """Return what the noise `columns` measure: nothing, though some move with the economy."""
        draws = normals(self._rng(block, "noise"), months.size, len(columns))
        return {column.name: self._drifted(draw, column, months) for column, draw in zip(columns, draws, strict=True)}

    def _signals(self, latents: Floats, months: Ints, block: int) -> dict[str, Floats]:
        columns = informative_numerics()
        errors = normals(self._rng(block, "errors"), months.size, len(columns))
        return {
            column.name: self._drifted(_mixed(latents[PLACE[column.latent]], error, column.reliability), column, months)
            for column, error in zip(columns, errors, strict=True)
        }

    def _levels(self, latents: Floats, months: Ints, block: int) -> dict[str, Codes]:
        drawn = [column for column in ALL_CATEGORIES if column.weights]
        scores = normals(self._rng(block, "levels"), months.size, len(drawn))
        return {
            column.name: _level(
                _mixed(latents[PLACE[column.latent]], score, column.reliability) if column.latent else score,
                self._cuts[column.name],
                months,
            )
            for column, score in zip(drawn, scores, strict=True)
        }

    def _empty(self, latents: Floats, months: Ints, block: int) -> dict[str, Mask]:
        scores = normals(self._rng(block, "empty"), months.size, len(self._empty_cuts))
        masks: dict[str, Mask] = {}
        for (name, cuts), score in zip(self._empty_cuts.items(), scores, strict=True):
            source = SOURCES[name]
            leaning = _mixed(latents[PLACE[source.leaning]], score, source.weight) if source.leaning else score
            masks[name] = leaning > cuts[months]
        return masks

    def _drifted(self, signal: Floats, column: Numeric, months: Ints) -> Floats:
        if column.drift is Drift.NONE:
            return signal
        return signal + self._paths[column.drift][months] * np.float32(column.shift)

    def _rng(self, block: int, name: str) -> np.random.Generator:
        return generator(self._seed, "sme", str(block), name)


def blended(seen: Observed) -> Floats:
    """Return the risk that an older, linear model of the bank sees, about standard normal, shape (rows,).

    An empty answer counts as an average one, so that the result holds nothing that the columns do not.
    """
    weights = np.array([trait.weight for trait in TRAITS], dtype=np.float32)
    weights /= np.sqrt((weights**2).sum())
    parts: dict[str, Floats] = {}
    for trait, weight in zip(TRAITS, weights, strict=True):
        parts[trait.source] = parts.get(trait.source, np.float32(0.0)) + seen.signals[trait.name] * weight
    total = np.zeros_like(seen.signals[TRAITS[0].name])
    for source, part in parts.items():
        total += np.where(seen.empty[source], np.float32(0.0), part) if source in seen.empty else part
    return total


def numeric_array(signal: Floats, column: Numeric, empty: Mask | None) -> pa.Array:
    """Return a numeric column as Arrow: empty answers are the source's code in whole numbers, null elsewhere."""
    values = shaped(signal, column)
    code = SOURCES[column.source].code
    if empty is not None and code is not None and column.shape.whole:
        values = np.where(empty, values.dtype.type(code), values)
        empty = None
    return plain_array(values, empty)


def plain_array(values: npt.NDArray[np.generic], empty: Mask | None = None) -> pa.Array:
    """Return a numpy array as Arrow without copying it; rows in `empty` are null."""
    kind = pa.from_numpy_dtype(values.dtype)
    valid = None if empty is None else pa.py_buffer(np.packbits(~empty, bitorder="little"))
    return pa.Array.from_buffers(kind, values.size, [valid, pa.py_buffer(np.ascontiguousarray(values))])


def moment_array(seconds: Ints) -> pa.Array:
    """Return seconds since 1970-01-01 as Arrow timestamps."""
    return plain_array(seconds * 1_000_000).cast(pa.timestamp("us"))


def level_array(codes: npt.NDArray[np.integer], levels: tuple[str, ...], empty: Mask | None = None) -> pa.Array:
    """Return level numbers as an Arrow dictionary of strings; rows in `empty` are null."""
    return pa.DictionaryArray.from_arrays(plain_array(codes.astype(np.int16), empty), pa.array(levels), safe=False)


def risk_of_levels(observed: Observed) -> Floats:
    """Return what the levels and the empty answers of a block add to the log-odds of default, shape (rows,)."""
    total = np.zeros_like(observed.signals[TRAITS[0].name])
    for column in ALL_CATEGORIES:
        if column.effects:
            total += np.array(column.effects, dtype=np.float32)[observed.levels[column.name]]
    for name, mask in observed.empty.items():
        total += mask * np.float32(SOURCES[name].risk)
    return total


def _mixed(signal: Floats, error: Floats, share: float) -> Floats:
    mixed = error * np.float32(np.sqrt(1.0 - share**2))
    mixed += signal * np.float32(share)
    return mixed


def _level(score: Floats, cuts: Floats, months: Ints) -> Codes:
    level = np.zeros(score.shape, dtype=np.int16)
    for cut in cuts:
        level += score > cut[months]
    return level


def _level_cuts(column: Categorical) -> Floats:
    """Return the scores between levels by month, shape (levels - 1, MONTHS); a closed level has no room."""
    opens = np.array(column.opens or (0,) * len(column.levels))
    weights = np.where(opens[:, None] <= np.arange(MONTHS), np.array(column.weights)[:, None], 0.0)
    below = np.cumsum(weights / weights.sum(axis=0), axis=0)[:-1]
    return _quantiles(below)


def _empty_cuts(source: Source) -> Floats:
    first, last = source.empty
    return _quantiles(1.0 - np.linspace(first, last, MONTHS))


def _quantiles(shares: npt.NDArray[np.float64]) -> Floats:
    inverse = NormalDist().inv_cdf
    flat = [inverse(share) if share < 1.0 - 1e-9 else np.inf for share in shares.ravel()]
    return np.array(flat, dtype=np.float32).reshape(shares.shape)
