"""How much of everything a preset does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Rows taught on, rows of a batch, LightGBM's trees, seconds of a load, kills, requests and swaps of the soak."""

    rows: int
    batch_rows: int
    trees: int
    seconds: float
    rounds: int
    rollbacks: int
    kills: int
    soak_requests: int
    soak_swaps: int
    examples: int


EFFORTS = {
    "smoke": Effort(2_000, 20_000, 20, 2.0, 1, 1, 2, 2_000, 3, 20),
    "full": Effort(4_000, 200_000, 300, 10.0, 3, 5, 20, 200_000, 100, 1_000),
}

Figures = dict[str, float | int | str]
