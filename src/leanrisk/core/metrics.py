"""Point metrics of a risk score: exact with ties, the same whatever order the rows come in; numpy only.

Everywhere `labels` are 1 = bad, 0 = good, shape (rows,), both present; `scores` rise with risk, shape (rows,), finite.
Labels that break this raise `DataError`, scores that do raise `ModelError`. All arithmetic is float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ConfigError, DataError, Fault, ModelError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PSI_FLOOR = 1e-4
"""Smallest share in a PSI term, so that an empty bin gives a large number and not infinity."""


@dataclass(frozen=True)
class Ranking:
    """Distinct scores in descending order (`cuts`), with the `bads` and `rows` that score at least that.

    Tied rows share an entry, so nothing computed from a ranking depends on the order of the rows.
    """

    cuts: Floats
    bads: Integers
    rows: Integers

    @property
    def goods(self) -> Integers:
        """How many goods score at least each cut."""
        return self.rows - self.bads

    @property
    def tpr(self) -> Floats:
        """Share of all bads at or above each cut."""
        return np.asarray(self.bads / self.bads[-1])

    @property
    def fpr(self) -> Floats:
        """Share of all goods at or above each cut."""
        return np.asarray(self.goods / self.goods[-1])


@dataclass(frozen=True)
class KsPoint:
    """The KS `value`, the score `cutoff` where it stands, and the `share` of rows that score at least that."""

    value: float
    cutoff: float
    share: float


def checked(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Flags, Floats]:
    """Return outcomes as booleans (True = bad) and scores as float64, both of shape (rows,).

    Raises `DataError` for an outcome other than 0 and 1 or one class only, `ModelError` for a score that is not finite.
    """
    outcomes = np.asarray(labels, dtype=np.float64)
    values = _finite(scores, outcomes.shape)
    known = (outcomes == 0.0) | (outcomes == 1.0)
    if not known.all():
        raise DataError(
            Fault(
                "outcome-not-binary",
                f"Every judged row needs the outcome 0 or 1: {int((~known).sum())} of {known.size} have another value, "
                f"the first is {outcomes[~known][0]!r}.",
                "Judge the labelled rows only (Dataset.labelled).",
            )
        )
    bad = outcomes == 1.0
    if bad.all() or not bad.any():
        raise DataError(
            Fault(
                "one-class",
                f"Judging a score needs bads and goods: these {bad.size} rows hold {int(bad.sum())} bads.",
                "Use more rows, a longer period, or correct the schema's 'positive' values.",
            )
        )
    return bad, values


def checked_probabilities(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Flags, Floats]:
    """Return `checked`, and raise `ModelError` where a score lies outside [0, 1]."""
    bad, values = checked(labels, scores)
    if not is_probability(values):
        raise ModelError(
            f"A probability lies between 0 and 1: these scores run from {values.min():g} to {values.max():g}. "
            "Calibrate them first, or ask for rank metrics (auc, ks) only."
        )
    return bad, values


def is_probability(scores: npt.ArrayLike) -> bool:
    """Tell whether every score lies in [0, 1]."""
    values = np.asarray(scores, dtype=np.float64)
    return bool(((values >= 0.0) & (values <= 1.0)).all())


def ranking(labels: npt.ArrayLike, scores: npt.ArrayLike) -> Ranking:
    """Return the cumulated counts by descending score that every rank metric is computed from."""
    bad, values = checked(labels, scores)
    order = np.argsort(-values, kind="stable")
    ends = run_ends(values[order])
    return Ranking(values[order][ends], np.cumsum(bad[order], dtype=np.int64)[ends], (ends + 1).astype(np.int64))


def run_ends(ordered: Floats) -> npt.NDArray[np.intp]:
    """Return the last position of every run of equal values in sorted values."""
    return np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), ordered.size - 1)


def midranks(values: npt.ArrayLike) -> Floats:
    """Return 1-based ranks of finite values, ascending; tied values get the mean of their ranks."""
    plain = np.asarray(values, dtype=np.float64)
    order = np.argsort(plain, kind="stable")
    ends = run_ends(plain[order])
    sizes = np.diff(ends, prepend=-1)
    ranks = np.empty(plain.size)
    ranks[order] = np.repeat(ends + 1 - (sizes - 1) / 2, sizes)
    return ranks


def equal_mass_bins(values: npt.ArrayLike, bins: int) -> Integers:
    """Return the bin (0 = lowest values) of every row, as near to equal sizes as ties allow; equal values share a bin.

    Heavy ties can leave bins empty.
    """
    plain = np.asarray(values, dtype=np.float64)
    return np.minimum(np.floor((midranks(plain) - 0.5) * bins / plain.size), bins - 1).astype(np.int64)


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the area under the ROC curve: P(bad scores above good) + P(tie) / 2, from integer counts."""
    ranked = ranking(labels, scores)
    bads, goods = np.diff(ranked.bads, prepend=0), np.diff(ranked.goods, prepend=0)
    below = ranked.goods[-1] - ranked.goods
    doubled = int((bads * (2 * below + goods)).sum())
    return doubled / (2 * int(ranked.bads[-1]) * int(ranked.goods[-1]))


def gini(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the Gini coefficient (accuracy ratio), 2 AUC - 1."""
    return 2.0 * auc(labels, scores) - 1.0


def ks(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the Kolmogorov-Smirnov distance max(TPR - FPR) >= 0; a score that ranks backwards gets 0, not credit."""
    return ks_point(labels, scores).value


def ks_point(labels: npt.ArrayLike, scores: npt.ArrayLike) -> KsPoint:
    """Return KS with the score and the share of rows where it stands; the highest such score where several tie."""
    ranked = ranking(labels, scores)
    gaps = ranked.tpr - ranked.fpr
    at = int(gaps.argmax())
    return KsPoint(float(gaps[at]), float(ranked.cuts[at]), float(ranked.rows[at] / ranked.rows[-1]))


def alerts_within(rows: int, budget: float) -> int:
    """Return how many rows a budget (a share of rows, in (0, 1]) lets alert: rounded down, at least one."""
    if not 0.0 < budget <= 1.0:
        raise ConfigError(f"An alert budget is a share of rows in (0, 1]: it is {budget!r}. Give for example 0.05.")
    # The small term undoes float noise: 0.29 * 100 is 28.999... and means 29 rows.
    return max(1, int(np.floor(rows * budget + 1e-9)))


def recall_at_budget(labels: npt.ArrayLike, scores: npt.ArrayLike, budget: float = 0.05) -> float:
    """Return the share of bads among the `budget` share of rows that score highest.

    Where the budget cuts through tied rows they count in proportion: the mean over all orders of the tied rows.
    """
    ranked = ranking(labels, scores)
    return _alerted_bads(ranked, budget) / int(ranked.bads[-1])


def precision_at_budget(labels: npt.ArrayLike, scores: npt.ArrayLike, budget: float = 0.05) -> float:
    """Return the bad rate of the `budget` share of rows that score highest; ties as in `recall_at_budget`."""
    ranked = ranking(labels, scores)
    return _alerted_bads(ranked, budget) / alerts_within(int(ranked.rows[-1]), budget)


def brier(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Return the mean squared distance of probability and outcome (Brier 1950, two-class form)."""
    bad, values = checked_probabilities(labels, probabilities)
    return float(np.mean((values - bad) ** 2))


def log_loss(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Return the mean negative log-likelihood in nats; probabilities are held a float64 epsilon away from 0 and 1."""
    bad, values = checked_probabilities(labels, probabilities)
    return float(np.mean(log_losses(bad, values)))


def log_losses(bad: Flags, probabilities: Floats) -> Floats:
    """Return each row's negative log-likelihood, shape (rows,); see `log_loss`."""
    epsilon = np.finfo(np.float64).eps
    held = np.clip(probabilities, epsilon, 1.0 - epsilon)
    return np.asarray(-np.log(np.where(bad, held, 1.0 - held)))


def ece(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 10) -> float:
    """Return the expected calibration error: mean over rows of |bad rate - mean probability| of the row's bin.

    Bins hold equal numbers of rows (`equal_mass_bins`), so that a low bad rate is resolved where the rows are.
    """
    bad, values = checked_probabilities(labels, probabilities)
    gaps = np.bincount(equal_mass_bins(values, bins), weights=bad - values, minlength=bins)
    return float(np.abs(gaps).sum() / values.size)


def psi_of_shares(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """Return the population stability index sum((c - r) ln(c / r)) of two lists of shares; 0 = the same, symmetric."""
    before = np.maximum(np.asarray(reference, dtype=np.float64), PSI_FLOOR)
    after = np.maximum(np.asarray(current, dtype=np.float64), PSI_FLOOR)
    return float(np.sum((after - before) * np.log(after / before)))


def psi(reference: npt.ArrayLike, current: npt.ArrayLike, bins: int = 10) -> float:
    """Return the PSI of two samples over quantile bins of `reference`; NaN (missing) is a bin of its own.

    A value that holds a whole quantile by itself (many zeros) gets its own bin, so a shift off it is seen.
    Chance alone makes PSI about (bins - 1) (1/n + 1/m): small samples look unstable. Raises `DataError` on no rows.
    """
    samples = [np.asarray(sample, dtype=np.float64).ravel() for sample in (reference, current)]
    if not all(sample.size for sample in samples):
        sizes = " and ".join(str(sample.size) for sample in samples)
        raise DataError(Fault("no-rows", f"PSI compares two samples of rows: these hold {sizes}.", "Add rows."))
    edges = psi_edges(samples[0], bins)
    return psi_of_shares(*(shares_between(sample, edges) for sample in samples))


def psi_edges(reference: Floats, bins: int) -> Floats:
    """Return the inner bin edges that `psi` uses, ascending; a bin holds its lower edge and not its upper one."""
    known = reference[~np.isnan(reference)]
    if known.size == 0:
        return np.empty(0)
    # "inverted_cdf" takes values of the sample itself: interpolation would put edges where infinities make NaN.
    quantiles = np.quantile(known, np.linspace(0.0, 1.0, bins + 1), method="inverted_cdf")
    values, counts = np.unique(quantiles, return_counts=True)
    atoms = values[counts > 1]
    inner = values[1:-1]
    return np.unique(np.concatenate([inner, atoms, np.nextafter(atoms, np.inf)]))


def shares_between(sample: Floats, edges: Floats) -> Floats:
    """Return the share of `sample` in each bin of `psi_edges`, the missing values (NaN) last; shape (edges + 2,)."""
    missing = np.isnan(sample)
    places = np.where(missing, edges.size + 1, np.searchsorted(edges, sample, side="right"))
    return np.asarray(np.bincount(places, minlength=edges.size + 2) / sample.size)


def mae(truth: npt.ArrayLike, predictions: npt.ArrayLike) -> float:
    """Return the mean absolute error, in the target's unit."""
    actual, guessed = checked_numbers(truth, predictions)
    return float(np.mean(np.abs(guessed - actual)))


def rmse(truth: npt.ArrayLike, predictions: npt.ArrayLike) -> float:
    """Return the root mean squared error, in the target's unit."""
    actual, guessed = checked_numbers(truth, predictions)
    return float(np.sqrt(np.mean((guessed - actual) ** 2)))


def r2(truth: npt.ArrayLike, predictions: npt.ArrayLike) -> float:
    """Return the coefficient of determination, 1 - SSE / SST; raises `DataError` where the truth does not vary."""
    actual, guessed = checked_numbers(truth, predictions)
    total = float(np.sum((actual - actual.mean()) ** 2))
    if total == 0.0:
        raise DataError(
            Fault("constant-target", f"R2 needs a target that varies: it is {actual[0]!r} in every row.", "Add rows.")
        )
    return 1.0 - float(np.sum((guessed - actual) ** 2)) / total


def checked_numbers(truth: npt.ArrayLike, predictions: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return target and predictions as float64 of shape (rows,); raises `DataError` or `ModelError` if not finite."""
    actual = np.asarray(truth, dtype=np.float64)
    guessed = _finite(predictions, actual.shape)
    wrong = ~np.isfinite(actual)
    if wrong.any() or actual.size == 0:
        raise DataError(
            Fault(
                "target-not-finite",
                f"Judging predictions needs rows with a finite target: {int(wrong.sum())} of {actual.size} have none.",
                "Judge the rows with a known target only.",
            )
        )
    return actual, guessed


def _finite(scores: npt.ArrayLike, shape: tuple[int, ...]) -> Floats:
    values: Floats = np.asarray(scores, dtype=np.float64)
    if values.shape != shape or values.ndim != 1:
        raise ModelError(
            f"A score stands for one row: outcomes have the shape {shape}, scores {values.shape}. Score the same rows."
        )
    wrong = ~np.isfinite(values)
    if wrong.any():
        first: Any = values[wrong][0]
        raise ModelError(
            f"A score must be a finite number: {int(wrong.sum())} of {values.size} are not, the first is {first!r} "
            f"in row {int(np.flatnonzero(wrong)[0])}. Mend the model or its inputs."
        )
    return values


def _alerted_bads(ranked: Ranking, budget: float) -> float:
    alerts = alerts_within(int(ranked.rows[-1]), budget)
    return float(np.interp(alerts, np.append(0, ranked.rows), np.append(0, ranked.bads)))
