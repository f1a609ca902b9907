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

    def hinges(self) -> tuple[float, float, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return (slope, intercept, places, bends): `map(z) = slope z + intercept + sum(bends * relu(z - places))`."""
        if not self.x:
            return self.slope, self.intercept, np.zeros(0, np.float32), np.zeros(0, np.float32)
        inner = np.diff(self.y) / np.diff(self.x)
        slopes = np.concatenate([[self.slope], inner, [self.slope]])
        intercept = self.y[0] - self.slope * self.x[0]
        return self.slope, intercept, np.array(self.x, np.float32), np.diff(slopes).astype(np.float32)

    def apply(self, logits: Floats) -> npt.NDArray[np.float64]:
        """Return probabilities (or values) for raw logits of shape (rows,)."""
        slope, intercept, places, bends = self.hinges()
        raw = np.asarray(logits, dtype=np.float64)
        mapped = slope * raw + intercept
        for place, bend in zip(places, bends, strict=True):
            mapped += bend * np.maximum(raw - place, 0.0)
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


def standardising(mean: float, scale: float) -> Calibration:
    """Return the map of a regression: from the standardised target back to its own unit."""
    return Calibration(kind="standard", slope=scale, intercept=mean, link="identity")


def _platt(labels: Floats, logits: Floats) -> Calibration:
    """Fit sigmoid(a z + b) by Newton's method on Platt's smoothed targets, a kept positive so that ranks stay."""
    bads, goods = float(labels.sum()), float(labels.size - labels.sum())
    target = np.where(labels > 0.5, (bads + 1) / (bads + 2), 1 / (goods + 2))
    z = np.asarray(logits, dtype=np.float64)
    design = np.stack([z, np.ones_like(z)], axis=1)
    theta = np.array([1.0, 0.0])
    best, best_loss = theta, _soft_loss(target, design @ theta)
    for _ in range(50):
        probability = _sigmoid(design @ theta)
        gradient = design.T @ (probability - target)
        curve = (design * (probability * (1 - probability))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curve, gradient)
        scale = 1.0
        while scale > 1e-4 and _soft_loss(target, design @ (theta - scale * step)) > best_loss:
            scale /= 2
        theta = theta - scale * step
        loss = _soft_loss(target, design @ theta)
        if loss >= best_loss - 1e-12:
            break
        best, best_loss = theta, loss
    # A score that ranks the wrong way round on these rows keeps its order; only its level is mended.
    slope = max(float(best[0]), 1e-3)
    return Calibration(kind="platt", slope=slope, intercept=float(best[1]))


def _isotonic(labels: Floats, logits: Floats, line: Calibration) -> Calibration:
    """Fit increasing steps by pooling adjacent violators, then join the steps' centres by straight pieces."""
    from sklearn.isotonic import IsotonicRegression

    order = np.argsort(logits, kind="stable")
    z, outcome = np.asarray(logits, dtype=np.float64)[order], labels[order]
    fitted = IsotonicRegression(out_of_bounds="clip").fit(z, outcome).predict(z)
    starts = np.flatnonzero(np.diff(fitted, prepend=-1.0) > 0)
    sizes = np.diff(np.append(starts, z.size))
    centres: list[float] = []
    rates: list[float] = []
    for start, size in zip(starts, sizes, strict=True):
        if size < min(_BLOCK_ROWS, z.size // 4):
            continue
        block = slice(start, start + size)
        rate = (outcome[block].sum() + 0.5) / (size + 1.0)
        centre = float(z[block].mean())
        if not centres or (centre > centres[-1] + 1e-6 and rate > rates[-1] + 1e-6):
            centres.append(centre)
            rates.append(rate)
    if len(centres) < 3:
        return line
    odds = np.log(np.array(rates) / (1 - np.array(rates)))
    return Calibration("isotonic", line.slope, line.intercept, tuple(centres), tuple(odds.tolist()))


def _soft_loss(target: Floats, logits: Floats) -> float:
    """Return the mean cross-entropy of soft targets in [0, 1] at these logits."""
    return float(np.mean(np.logaddexp(0.0, logits) - target * logits))


def _row_loss(labels: Floats, probability: Floats) -> npt.NDArray[np.float64]:
    clipped = np.clip(probability, 1e-9, 1 - 1e-9)
    return np.asarray(-np.where(labels > 0.5, np.log(clipped), np.log1p(-clipped)), dtype=np.float64)


def _sigmoid(logits: Floats) -> npt.NDArray[np.float64]:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, dtype=np.float64))), dtype=np.float64)
