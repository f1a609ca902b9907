"""How far new rows have drifted from older ones, seen through each block of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from leanrisk.core.inputs import Lookups
from leanrisk.core.metrics import psi
from leanrisk.models.risk_transformer import RiskTransformer

_MOST_ROWS = 1000
"""Rows of each side that are compared: chance alone gives a PSI of 0.02 then."""


def state_drift(network: RiskTransformer, old: Lookups, new: Lookups) -> tuple[float, ...]:
    """Return the PSI of what enters the blocks, then of what each block makes of it: `network.depth + 1` numbers.

    Compared is the mean over the tokens, column by column; the figure is the mean PSI of the columns. At most 1,000
    rows of each side are read, spread evenly over it.
    """
    sides = [_states(network, rows) for rows in (old, new)]
    return tuple(
        float(np.mean([psi(before[:, place], after[:, place]) for place in range(before.shape[1])]))
        for before, after in zip(*sides, strict=True)
    )


def lowered(start: int, drifts: Sequence[float], limit: float) -> int:
    """Return the frontier at which no frozen block reads or makes states that drifted beyond `limit`, at most `start`.

    `drifts` as `state_drift` returns them. Where what enters the blocks has drifted, all of them must learn: 0.
    """
    steady = next((place for place, drift in enumerate(drifts) if drift > limit), len(drifts))
    return min(start, max(0, steady - 1))


def _states(network: RiskTransformer, rows: Lookups) -> list[np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    chosen = rows.take(np.linspace(0, rows.rows - 1, min(rows.rows, _MOST_ROWS)).astype(np.int64))
    network.train(False)
    with torch.inference_mode():
        states, _ = network.below(torch.from_numpy(chosen.index), torch.from_numpy(chosen.weight), blocks=0)
        found = [states]
        for block in range(network.depth):
            found.append(network.body.through(found[-1], block, block + 1))
    return [state.mean(dim=1).numpy() for state in found]
