"""From the network's raw logit to a probability that means what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError
from leanrisk.core.seeding import generator

Floats = npt.NDArray[np.floating]

_BLOCK_ROWS = 50
_FOLDS = 5
_LEAST_SLOPE = 1e-3
_SLOWEST, _STEEPEST = 0.05, 10.0
"""Slopes of isotonic pieces, against Platt's line: a flat piece would tie rows, a steep one blow up rounding errors."""


@dataclass(frozen=True)
class Ramps:
    """`map(z) = base + sum(slopes * clip(z - places, lows, highs))`, each array of shape (ramps,).

    No term falls, so nothing cancels: float32 keeps the order of any two rows and all but the last bits.
    """

    base: float
    places: npt.NDArray[np.float64]
    lows: npt.NDArray[np.float64]
    highs: npt.NDArray[np.float64]
    slopes: npt.NDArray[np.float64]

    def apply(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the map of `values`, shape (rows,)."""
        mapped = np.full(values.shape, self.base)
        for place, low, high, slope in zip(self.places, self.lows, self.highs, self.slopes, strict=True):
            mapped += slope * np.clip(values - place, low, high)
        return mapped


@dataclass(frozen=True)
class Calibration:
    """A strictly increasing map of the raw logit: a line, or a chain of straight pieces through (`x`, `y`).

    `link` is "sigmoid" (the mapped logit becomes a probability) or "identity" (regression: the mapped number is the
    value). With no `x`, the map is `slope * logit + intercept`; with `x`, the line's slope goes on beyond both ends.
    """

    kind: str = "none"
    slope: float = 1.0
    intercept: float = 0.0
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    link: str = "sigmoid"

    def ramps(self) -> Ramps:
        """Return the map as a sum of ramps, none of which falls: what the exported graph computes."""
        if not self.x:
            return Ramps(self.intercept, *(np.array([v]) for v in (0.0, -np.inf, np.inf, self.slope)))
        gaps = np.diff(self.x)
        return Ramps(
            base=self.y[0],
            places=np.array([self.x[0], *self.x]),
            lows=np.concatenate([[-np.inf], np.zeros(len(self.x))]),
            highs=np.concatenate([[0.0], gaps, [np.inf]]),
            slopes=np.concatenate([[self.slope], np.diff(self.y) / gaps, [self.slope]]),
        )

    def apply(self, logits: Floats) -> npt.NDArray[np.float64]:
        """Return probabilities (or values) for raw logits of shape (rows,)."""
        mapped = self.ramps().apply(np.asarray(logits, dtype=np.float64))
        return mapped if self.link == "identity" else _sigmoid(mapped)

    def to_dict(self) -> dict[str, Any]:
        """Return the map as plain JSON values."""
        return {
            "kind": self.kind,
            "slope": self.slope,
            "intercept": self.intercept,
            "x": list(self.x),
            "y": list(self.y),
            "link": self.link,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Return the map that `to_dict` wrote."""
        plain = dict(values)
        return cls(**{**plain, "x": tuple(plain["x"]), "y": tuple(plain["y"])})


def fit_calibration(labels: Floats, logits: Floats, *, seed: int) -> Calibration:
    """Return the better of Platt's line and isotonic steps, by cross-fitted log-loss on these held-out rows.

    labels: 0/1, logits: raw, both (rows,). The simpler line wins unless the steps are better by more than one standard
    error of the row-wise difference. Sources: Platt (1999); Zadrozny, Elkan (2002).
    """
    if np.isnan(labels).any() or not np.isfinite(logits).all():
        raise ModelError("Calibration needs known outcomes and finite logits: some are neither. Leave those rows out.")
    if labels.size == 0 or labels.min() == labels.max():
        raise ModelError("Calibration needs held-out rows of both outcomes: there is one only. Enlarge valid_share.")
    fold = generator(seed, "calibration").permutation(labels.size) % _FOLDS
    line, steps = np.empty(labels.size), np.empty(labels.size)
    for part in range(_FOLDS):
        held = fold == part
        rest = ~held
        # Very few rows of one outcome can leave a fold without it; then only the line can be fitted at all.
        if not held.any() or labels[rest].min() == labels[rest].max():
            return _platt(labels, logits)
        platt = _platt(labels[rest], logits[rest])
        line[held] = platt.apply(logits[held])
        steps[held] = _isotonic(labels[rest], logits[rest], platt).apply(logits[held])
    gain = _row_loss(labels, line) - _row_loss(labels, steps)
    platt = _platt(labels, logits)
    if gain.mean() > gain.std() / np.sqrt(labels.size):
        return _isotonic(labels, logits, platt)
    return platt


def fit_line(labels: Floats, logits: Floats) -> Calibration:
    """Return Platt's line alone, fitted to these held-out rows: 0/1 labels and raw logits, both (rows,).

    Raises `ModelError` for rows of one outcome. Source: Platt (1999).
    """
    if labels.size == 0 or labels.min() == labels.max():
        raise ModelError("Calibration needs held-out rows of both outcomes: there is one only. Bring more rows.")
    return _platt(labels, logits)


def standardising(mean: float, scale: float) -> Calibration:
    """Return the map of a regression: from the standardised target back to its own unit."""
    return Calibration(kind="standard", slope=scale, intercept=mean, link="identity")


def _platt(labels: Floats, logits: Floats) -> Calibration:
    """Fit sigmoid(a z + b) by Newton's method on Platt's smoothed targets, a kept positive so that ranks stay."""
    bads, goods = float(labels.sum()), float(labels.size - labels.sum())
    target = np.where(labels > 0.5, (bads + 1) / (bads + 2), 1 / (goods + 2))
    raw = np.asarray(logits, dtype=np.float64)
    centre, spread = float(raw.mean()), float(raw.std())
    # Logits without spread carry no slope; on standardised ones the two columns stand at right angles.
    z = (raw - centre) / spread if spread > 0 else np.zeros_like(raw)
    a, b = _newton(target, np.stack([z, np.ones_like(z)], axis=1), np.zeros_like(z))
    if a < _LEAST_SLOPE:
        # A score that ranks the wrong way round on these rows keeps its order; only its level is mended.
        a = _LEAST_SLOPE
        (b,) = _newton(target, np.ones((z.size, 1)), a * z)
    slope = a / spread if spread > 0 else a
    return Calibration(kind="platt", slope=slope, intercept=b - slope * centre)


def _newton(target: Floats, design: Floats, offset: Floats) -> list[float]:
    """Return the coefficients that minimise the cross-entropy of sigmoid(design @ theta + offset), (columns,)."""
    theta = np.zeros(design.shape[1])
    loss = _soft_loss(target, offset)
    for _ in range(50):
        probability = _sigmoid(design @ theta + offset)
        gradient = design.T @ (probability - target)
        curve = (design * (probability * (1 - probability))[:, None]).T @ design + 1e-9 * np.eye(theta.size)
        step = np.linalg.solve(curve, gradient)
        # The loss is convex, so a shorter step down always exists until rounding ends the descent.
        for scale in 0.5 ** np.arange(20):
            moved = _soft_loss(target, design @ (theta - scale * step) + offset)
            if moved < loss:
                break
        else:
            break
        theta, loss = theta - scale * step, moved
    return [float(value) for value in theta]


def _isotonic(labels: Floats, logits: Floats, line: Calibration) -> Calibration:
    """Fit increasing steps by pooling adjacent violators, then join the steps' centres by straight pieces."""
    from sklearn.isotonic import IsotonicRegression

    order = np.argsort(logits, kind="stable")
    z, outcome = np.asarray(logits, dtype=np.float64)[order], np.asarray(labels, dtype=np.float64)[order]
    fitted = IsotonicRegression(out_of_bounds="clip").fit(z, outcome).predict(z)
    starts = np.flatnonzero(np.diff(fitted, prepend=-1.0) > 0)
    sizes = np.diff(np.append(starts, z.size))
    centres: list[float] = []
    odds: list[float] = []
    for start, size in zip(starts, sizes, strict=True):
        block = slice(start, start + size)
        centre = float(z[block].mean())
        gap = centre - centres[-1] if centres else 1.0
        if size < min(_BLOCK_ROWS, z.size // 4) or gap <= 0:
            continue
        rate = (outcome[block].sum() + 0.5) / (size + 1.0)
        level = float(np.log(rate / (1 - rate)))
        if odds:
            level = odds[-1] + line.slope * gap * float(
                np.clip((level - odds[-1]) / (line.slope * gap), _SLOWEST, _STEEPEST)
            )
        centres.append(centre)
        odds.append(level)
    if len(centres) < 3:
        return line
    return Calibration("isotonic", line.slope, line.intercept, tuple(centres), tuple(odds))


def _soft_loss(target: Floats, logits: Floats) -> float:
    """Return the mean cross-entropy of soft targets in [0, 1] at these logits."""
    return float(np.mean(np.logaddexp(0.0, logits) - target * logits))


def _row_loss(labels: Floats, probability: Floats) -> npt.NDArray[np.float64]:
    clipped = np.clip(probability, 1e-9, 1 - 1e-9)
    return np.asarray(-np.where(labels > 0.5, np.log(clipped), np.log1p(-clipped)), dtype=np.float64)


def _sigmoid(logits: Floats) -> npt.NDArray[np.float64]:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64))), dtype=np.float64)
