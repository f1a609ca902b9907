"""How far new rows have drifted from older ones, seen through each block of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from leanrisk.core.inputs import Lookups
from leanrisk.core.metrics import psi
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.threads import one_thread_each

_MOST_ROWS = 1000
"""Rows of each side that are compared."""
_BINS = 10
_BLOCK_ROWS = 256


def state_drift(network: RiskTransformer, old: Lookups, new: Lookups) -> tuple[float, ...]:
    """Return the PSI of what enters the blocks, then of what each block makes of it: `network.depth + 1` numbers.

    Compared is the mean over the tokens, column by column; the figure is the mean PSI of the columns, less what chance
    alone makes of two samples of these sizes, (bins - 1) (1/n + 1/m), and at least 0: a few dozen new rows would look
    drifted otherwise. At most 1,000 rows of each side are read, spread evenly over it.
    """
    sides = [_states(network, rows) for rows in (old, new)]
    chance = (_BINS - 1) * sum(1 / max(1, side.shape[1]) for side in sides)
    return tuple(
        max(0.0, float(np.mean([psi(before[:, k], after[:, k], _BINS) for k in range(before.shape[1])])) - chance)
        for before, after in zip(*sides, strict=True)
    )


def lowered(start: int, drifts: Sequence[float], limit: float) -> int:
    """Return the frontier at which no frozen block reads or makes states that drifted beyond `limit`, at most `start`.

    `drifts` as `state_drift` returns them. Where what enters the blocks has drifted, all of them must learn: 0.
    """
    steady = next((place for place, drift in enumerate(drifts) if drift > limit), len(drifts))
    return min(start, max(0, steady - 1))


def _states(network: RiskTransformer, rows: Lookups) -> npt.NDArray[np.float32]:
    """Return the mean states (depth + 1, rows, width) of rows spread evenly over a side."""
    chosen = rows.take(np.linspace(0, rows.rows - 1, min(rows.rows, _MOST_ROWS)).astype(np.int64))
    found = np.empty((network.depth + 1, chosen.rows, network.config.width), dtype=np.float32)
    network.train(False)
    with torch.inference_mode(), one_thread_each():
        for start in range(0, chosen.rows, _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            index, weight = (torch.from_numpy(values[part]) for values in (chosen.index, chosen.weight))
            states, _ = network.below(index, weight, blocks=0)
            found[0, part] = states.mean(dim=1).numpy()
            for block in range(network.depth):
                states = network.body.through(states, block, block + 1)
                found[block + 1, part] = states.mean(dim=1).numpy()
    return found
