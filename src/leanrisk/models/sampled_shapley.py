"""How much each field moves the score of a model that is no tree: sampled Shapley values, with their error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leanrisk.core.errors import ModelError
from leanrisk.core.inputs import Inputs
from leanrisk.core.progress import Progress, Silent
from leanrisk.core.seeding import generator

Floats = npt.NDArray[np.float64]
Ask = Callable[[Inputs], npt.NDArray[np.floating]]
"""From encoded rows to log-odds (regression: values), shape (rows,)."""

_SILENT = Silent()
_AT_ONCE = 32_768
_TURNS = 4
"""An order and its reverse for either half: fewer orders cannot be halved."""


@dataclass(frozen=True)
class SampledShapley:
    """Shapley values of the fields on some rows, in log-odds, fields in the order of `Inputs`.

    `values`: float64 (rows, fields). `strength`: what each row adds to the mean absolute value of a field, float64
    (rows, fields): one half of the orders gives the size and the other the sign, so that a field that does nothing has
    the mean 0 and not the size of its noise. `gap`: mean over the rows of what the values miss of the score less the
    mean score of the background, log-odds; `span`: the mean absolute size of that difference.
    """

    values: Floats
    strength: Floats
    gap: float
    span: float

    @property
    def importance(self) -> Floats:
        """Mean absolute value of each field, float64 (fields,); noise may leave it a little below 0."""
        return np.asarray(self.strength.mean(axis=0))

    @property
    def error(self) -> Floats:
        """Standard error of `importance` over the rows, the noise of the sampled orders included."""
        rows = self.strength.shape[0]
        return np.asarray(self.strength.std(axis=0, ddof=1) / np.sqrt(rows))


def sampled_shapley(
    ask: Ask,
    explained: Inputs,
    background: Inputs,
    *,
    orders: int = 8,
    seed: int,
    progress: Progress = _SILENT,
) -> SampledShapley:
    """Return the Shapley values of each field on the rows of `explained`, against the rows of `background`.

    A field that is left out takes its value from a background row. For each row, `orders` random orders of the fields
    (a multiple of 4; each with its reverse, and a background row of its own) are walked from the background row to the
    row itself; what a step changes is the field's share. Raises `ModelError` below 2 rows or without a background.
    Source: Castro, Gomez, Tejada (2009), "Polynomial calculation of the Shapley value based on sampling"; reversed
    orders: Mitchell et al. (2022), "Sampling permutations for Shapley value estimation".
    """
    if explained.rows < 2 or background.rows < 1 or orders < _TURNS or orders % _TURNS:
        raise ModelError(
            f"Sampled attributions need 2 rows, a background and a multiple of {_TURNS} orders: there are "
            f"{explained.rows} rows, {background.rows} of background and {orders} orders. Give more."
        )
    count = explained.numeric.shape[1] + explained.category.shape[1]
    halves = np.zeros((2, explained.rows, count))
    rng = generator(seed, "sampled shapley")
    with progress.track("attributing the score", total=orders) as advance:
        for turn in range(0, orders, 2):
            order = np.argsort(rng.random((explained.rows, count)), axis=1)
            drawn = background.take(rng.integers(background.rows, size=explained.rows))
            for walked in (order, order[:, ::-1]):
                halves[turn // 2 % 2] += _walked(ask, explained, drawn, walked)
                advance(1)
    halves /= orders / 2
    values = halves.mean(axis=0)
    strength = 0.5 * (halves[0] * np.sign(halves[1]) + halves[1] * np.sign(halves[0]))
    whole = _asked(ask, explained) - float(_asked(ask, background).mean())
    return SampledShapley(
        values, strength, float(np.abs(values.sum(axis=1) - whole).mean()), float(np.abs(whole).mean())
    )


def _walked(ask: Ask, rows: Inputs, start: Inputs, order: npt.NDArray[np.intp]) -> Floats:
    """Return what each field changes on the way from `start` to `rows`, one field after the other, (rows, fields)."""
    count = order.shape[1]
    ranks = np.argsort(order, axis=1)
    found = np.empty(order.shape)
    size = max(1, _AT_ONCE // (count + 1))
    for first in range(0, rows.rows, size):
        part = slice(first, first + size)
        taken = ranks[part, None, :] < np.arange(count + 1)[None, :, None]
        path = _mixed(rows.take(part), start.take(part), taken)
        steps = np.diff(_asked(ask, path).reshape(-1, count + 1), axis=1)
        np.put_along_axis(found[part], order[part], steps, axis=1)
    return found


def _mixed(rows: Inputs, start: Inputs, taken: npt.NDArray[np.bool_]) -> Inputs:
    number = rows.numeric.shape[1]
    numeric = np.where(taken[:, :, :number], rows.numeric[:, None, :], start.numeric[:, None, :])
    category = np.where(taken[:, :, number:], rows.category[:, None, :], start.category[:, None, :])
    return Inputs(numeric.reshape(-1, number), category.reshape(-1, rows.category.shape[1]))


def _asked(ask: Ask, rows: Inputs) -> Floats:
    found = np.asarray(ask(rows), dtype=np.float64)
    if not np.isfinite(found).all():
        raise ModelError("Attributions need finite scores: the model gave others. Look at the rows that it scores.")
    return found
