"""One number or date as a mode and a place within it: mode-specific normalisation by quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

MODES = 8
_KNOTS_PER_MODE = 4
_ATOM_SHARE, _MOST_ATOMS = 0.01, 24
FEWEST = 5
"""No value that fewer rows share is kept: knots are means of at least so many neighbours."""
_MOST_DECIMALS = 4


@dataclass(frozen=True)
class NumberCode:
    """Code 0 is missing, then come `atoms` (values that many rows share), then modes of equal mass between `knots`.

    Within a mode a number is its place in [0, 1] by rank. `decimals`: digits after the point that values have, -1 where
    they have more than four; `gaps`: whether values were missing; `least` and `most` bound what is decoded.
    """

    name: str
    dtype: str
    atoms: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()
    decimals: int = -1
    gaps: bool = True
    least: float = -np.inf
    most: float = np.inf

    @classmethod
    def fit(cls, name: str, values: Floats, *, dtype: str, every: bool = False, **limits: Any) -> NumberCode:
        """Return the code of these values (NaN = missing); with `every`, up to 100 distinct values are all atoms."""
        known = values[np.isfinite(values)]
        distinct, counts = np.unique(known, return_counts=True)
        atoms = distinct if distinct.size == 1 or (every and distinct.size <= 100) else _atoms(distinct, counts)
        spread = known[~np.isin(known, atoms)]
        return cls(
            name,
            dtype,
            tuple(atoms.tolist()),
            _knots(np.sort(spread)),
            **{"decimals": _decimals(known), "gaps": known.size < values.size, **limits},
        )

    @property
    def modes(self) -> int:
        """Number of modes: none where all values are atoms or missing."""
        return 0 if not self.knots else max(1, (len(self.knots) - 1) // _KNOTS_PER_MODE)

    @property
    def size(self) -> int:
        """Number of codes, the missing one included."""
        return 1 + len(self.atoms) + self.modes

    def encode(self, values: Floats) -> tuple[Codes, Floats]:
        """Return the code of each value and its place within its mode (0.5 where it has none), both (rows,)."""
        codes, places = np.zeros(values.shape, dtype=np.int64), np.full(values.shape, 0.5)
        known = np.isfinite(values)
        if self.modes:
            rank = np.interp(values[known], self.knots, np.linspace(0.0, self.modes, len(self.knots)))
            mode = np.minimum(rank.astype(np.int64), self.modes - 1)
            codes[known], places[known] = 1 + len(self.atoms) + mode, rank - mode
        elif self.atoms:
            # A value that was never seen is read as the nearest that was.
            codes[known] = 1 + np.abs(values[known, None] - np.array(self.atoms)).argmin(axis=1)
        if self.atoms:
            place = np.minimum(np.searchsorted(self.atoms, values), len(self.atoms) - 1)
            held = known & (np.array(self.atoms)[place] == values)
            codes[held], places[held] = 1 + place[held], 0.5
        return codes, places

    def decode(self, codes: Codes, places: Floats) -> Floats:
        """Return values within the limits, NaN where missing; inverse of `encode` up to what the knots leave open."""
        values = np.full(codes.shape, np.nan)
        first = 1 + len(self.atoms)
        if self.modes:
            values = self._spread(np.clip(codes - first + places, 0.0, self.modes))
            if self.decimals >= 0:
                values = self._rounded(values)
            values = np.clip(values, self.least, self.most)
            values[codes == 0] = np.nan
        if self.atoms:
            held = (codes > 0) & (codes < first)
            values[held] = np.array(self.atoms)[codes[held] - 1]
        return values

    def known_code(self, value: float) -> int | None:
        """Return the code of one value that a row had, or None: an atom, or the mode that holds it."""
        if value in self.atoms:
            return 1 + self.atoms.index(value)
        if self.modes and self.knots[0] <= value <= self.knots[-1]:
            return int(self.encode(np.array([value]))[0][0])
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the code as plain JSON values; an infinite limit is left out."""
        return {key: value for key, value in asdict(self).items() if value not in (-np.inf, np.inf)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> NumberCode:
        """Return the code that `to_dict` wrote."""
        lists = {key: tuple(map(float, plain[key])) for key in ("atoms", "knots")}
        return cls(**{**plain, **lists})

    def _spread(self, rank: Floats) -> Floats:
        """Return what stands at these ranks, between two knots; the knots are as far from each other in rank."""
        knots = np.array(self.knots)
        place = rank * ((knots.size - 1) / self.modes)
        below = np.minimum(place.astype(np.int64), knots.size - 2)
        return np.asarray(knots[below] + (place - below) * np.diff(knots)[below])

    def _rounded(self, values: Floats) -> Floats:
        step = 10.0**self.decimals
        low, high = np.ceil(self.least * step) / step, np.floor(self.most * step) / step
        rounded = np.clip(np.round(values * step) / step, low, max(low, high))
        return np.asarray(rounded, dtype=np.float64)


def _atoms(distinct: Floats, counts: npt.NDArray[np.intp]) -> Floats:
    floor = max(FEWEST, _ATOM_SHARE * int(counts.sum()))
    heavy = np.flatnonzero(counts >= floor)
    heavy = heavy[np.argsort(counts[heavy], kind="stable")[::-1][:_MOST_ATOMS]]
    return np.sort(distinct[heavy])


def _knots(ordered: Floats) -> tuple[float, ...]:
    """Return knots at equal shares of the ordered values, each the mean of a window of them, none a row's own."""
    if not ordered.size:
        return ()
    window = min(ordered.size, max(FEWEST, ordered.size // (4 * MODES * _KNOTS_PER_MODE)))
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    starts = np.round(np.linspace(0, ordered.size - window, 1 + MODES * _KNOTS_PER_MODE)).astype(np.int64)
    means = np.unique((sums[starts + window] - sums[starts]) / window)
    # Whole modes: as many intervals as a multiple of the knots of one.
    whole = (means.size - 1) // _KNOTS_PER_MODE * _KNOTS_PER_MODE
    if whole == 0:
        return tuple(means.tolist()) if means.size > 1 else (float(means[0]), float(means[0]))
    places = np.linspace(0, means.size - 1, whole + 1)
    return tuple(np.interp(places, np.arange(means.size), means).tolist())


def _decimals(known: Floats) -> int:
    if not known.size:
        return 0
    for digits in range(_MOST_DECIMALS + 1):
        scaled = known * 10.0**digits
        if np.allclose(scaled, np.round(scaled), rtol=1e-6, atol=1e-4):
            return digits
    return -1
