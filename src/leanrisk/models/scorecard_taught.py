"""A WOE scorecard that a teacher's opinions and the outcomes teach together, and the same card as trees of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Fields
from leanrisk.core.seeding import generator
from leanrisk.models.forest import Forest, forest_of
from leanrisk.models.incumbent import Reading
from leanrisk.models.lesson import TaughtRows
from leanrisk.models.scorecard import Characteristic, Scorecard
from leanrisk.models.scorecard_fit import ScorecardConfig, binned_columns, column_values, pointed
from leanrisk.models.soft_loss import SoftLoss

Floats = npt.NDArray[np.float64]

_STEPS = 50
_HALF = 0.5
"""Added to both outcomes of a bin, so that one without bads has a finite weight of evidence."""


def taught_scorecard(
    lesson: TaughtRows, fields: Fields, reading: Reading, *, config: ScorecardConfig, loss: SoftLoss, seed: int
) -> Scorecard:
    """Return a scorecard of what each row should be given by teacher and outcome together (`SoftLoss.wanted`).

    Bins are found on outcomes drawn with these probabilities; weights of evidence and coefficients are fitted to the
    probabilities themselves. Raises `ModelError` for a regression, and for rows that all should be given the same.
    """
    if loss.regression:
        raise ModelError("A scorecard tells good from bad: the target is an amount. Choose another student.")
    wanted = loss.wanted(lesson)
    told = np.isfinite(wanted)
    inputs, wanted = lesson.inputs.take(told), wanted[told]
    flags = (generator(seed, "scorecard").random(wanted.size) < wanted).astype(np.int64)
    if not 0 < flags.sum() < flags.size:
        raise ModelError("A scorecard needs both outcomes: the teacher and the rows know one only. Bring more history.")
    columns = binned_columns(inputs, flags, fields, config)
    places = [entry.frozen.places(column_values(inputs, fields, entry.column)) for entry in columns]
    cards = [_weighed(entry.frozen, where, wanted) for entry, where in zip(columns, places, strict=True)]
    while True:
        woe = np.stack([card.woe[where] for card, where in zip(cards, places, strict=True)], axis=1)
        *coefficients, intercept = _logistic(woe, wanted, ridge=1.0 / config.ridge)
        worst = int(np.argmax(coefficients))
        # As in a card fitted to outcomes: a column whose safer bins add risk says nothing that the others don't.
        if len(cards) == 1 or coefficients[worst] < 0:
            return pointed(cards, np.array(coefficients), intercept, config.scale, fields, reading)
        del cards[worst], places[worst]


def scorecard_forest(card: Scorecard) -> Forest:
    """Return the card as trees, one for each characteristic: what the graph holds.

    The leaves are coefficient times weight of evidence, to the exact grid of a `Forest`.
    """
    column = {name: place for place, name in enumerate(card.fields.names)}
    trees = [_tree(entry, column[entry.name]) for entry in card.characteristics]
    bins = {entry.name: entry.bins for entry in card.characteristics}
    # The "rank" of a code is its bin; columns without points have none.
    orders = [np.asarray(bins.get(entry.name) or np.zeros(entry.size)) for entry in card.fields.category]
    ranks = np.concatenate([np.empty(0), *orders]).astype(np.float32)
    return forest_of({"tree_info": [{"tree_structure": tree} for tree in trees]}, base=card.intercept, orders=ranks)


def _weighed(entry: Characteristic, places: npt.NDArray[np.intp], wanted: Floats) -> Characteristic:
    """Return the characteristic with the weights of evidence of these probabilities of bad."""
    size = len(entry.attributes)
    rows = np.bincount(places, minlength=size).astype(np.float64)
    bads = np.bincount(places, weights=wanted, minlength=size)
    goods = rows - bads
    woe = np.log((goods + _HALF) / (goods.sum() + _HALF)) - np.log((bads + _HALF) / (bads.sum() + _HALF))
    woe[rows == 0] = 0.0
    iv = float(((goods / goods.sum() - bads / bads.sum()) * woe).sum())
    attributes = tuple(
        replace(old, woe=float(weight), rows=int(count), bads=round(float(bad)))
        for old, weight, count, bad in zip(entry.attributes, woe, rows, bads, strict=True)
    )
    return replace(entry, iv=iv, attributes=attributes)


def _logistic(design: Floats, wanted: Floats, *, ridge: float) -> list[float]:
    """Return coefficients and the intercept of the logistic regression on probabilities, by Newton's method.

    The L2 penalty spares the intercept.
    """
    x = np.concatenate([design, np.ones((design.shape[0], 1))], axis=1)
    penalty = np.full(x.shape[1], ridge)
    penalty[-1] = 0.0
    theta = np.zeros(x.shape[1])
    mean = float(np.clip(wanted.mean(), 1e-6, 1 - 1e-6))
    theta[-1] = np.log(mean / (1 - mean))

    def loss(at: Floats) -> float:
        logits = x @ at
        return float((np.logaddexp(0.0, logits) - wanted * logits).sum() + 0.5 * (penalty * at**2).sum())

    now = loss(theta)
    for _ in range(_STEPS):
        chance = 0.5 * (1.0 + np.tanh(0.5 * (x @ theta)))
        slope = x.T @ (chance - wanted) + penalty * theta
        curve = (x * (chance * (1 - chance))[:, None]).T @ x + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curve, slope)
        share = 1.0
        while share > 1e-6 and loss(theta - share * step) > now:
            share /= 2
        theta = theta - share * step
        before, now = now, loss(theta)
        if before - now <= 1e-10 * abs(before):
            break
    return [float(value) for value in theta]


def _tree(entry: Characteristic, column: int) -> Mapping[str, Any]:
    """Return the characteristic as a tree in LightGBM's own form: missing numbers first, then bisection."""
    values = entry.coefficient * entry.woe
    if entry.bins is not None:
        return _bisected(column, np.arange(values.size - 1, dtype=np.float64) + 0.5, values)
    bins = len(entry.splits) + 1
    # Left-closed bins: what lies below a split is what lies at or below the float32 next to it.
    points = sorted(
        {_below(split) for split in entry.splits} | {b for code in entry.codes for b in (_below(code), code)}
    )
    tops = [*points, np.inf]
    leaves: Floats = np.array([values[entry.place(top)] for top in tops], dtype=np.float64)
    numbers = _bisected(column, np.array(points, dtype=np.float64), leaves)
    return _split(column, np.inf, numbers, {"leaf_value": float(values[bins + len(entry.codes)])})


def _bisected(column: int, thresholds: Floats, leaves: Floats) -> Mapping[str, Any]:
    if not thresholds.size:
        return {"leaf_value": float(leaves[0])}
    middle = thresholds.size // 2
    left = _bisected(column, thresholds[:middle], leaves[: middle + 1])
    right = _bisected(column, thresholds[middle + 1 :], leaves[middle + 1 :])
    return _split(column, float(thresholds[middle]), left, right)


def _split(column: int, threshold: float, left: Mapping[str, Any], right: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "split_feature": column,
        "threshold": threshold,
        "missing_type": "NaN",
        "default_left": False,
        "left_child": left,
        "right_child": right,
    }


def _below(number: float) -> float:
    """Return the largest float32 below a number."""
    near = np.float32(number)
    return float(near if float(near) < number else np.nextafter(near, np.float32(-np.inf)))
