"""What labels made rows are worth: how many more labelled bads the plain model would need to do as well."""

from __future__ import annotations

from typing import Any

import numpy as np

from leanrisk.core.seeding import generator
from leanrisk.techniques.synthesize.arm import FEWEST_BADS, Arm
from leanrisk.techniques.synthesize.search import Search

SHARES = (0.25, 0.5)


def label_curve(search: Search, plain: Arm, chosen: Arm, whole: tuple[float, float], *, seed: int) -> dict[str, Any]:
    """Return recall out of fold of both arms over the number of labelled bads, and how many bads the made ones replace.

    `whole`: both recalls with all bads. A share of the bads is left out at random, its goods stay. The number is what
    the plain arm's curve, straight over the logarithm of bads, needs beyond what there is to reach the chosen arm's
    recall; where the curve does not rise, none is told (0).
    """
    labels = search.rows.labels
    bads = np.flatnonzero(labels == 1)
    points = []
    for share in SHARES:
        count = round(share * bads.size)
        # Two folds take half of them each, and both halves must still be a class.
        if count >= 2 * FEWEST_BADS and chosen.method is not plain.method:
            left = generator(seed, "label-curve", str(share)).permutation(bads)[count:]
            kept = np.setdiff1d(np.arange(labels.size), left)
            found = search.on(search.rows.take(kept)).tried([plain, chosen])
            points.append({"bads": count, "plain": found[0].recall, "chosen": found[1].recall})
    points.append({"bads": int(bads.size), "plain": whole[0], "chosen": whole[1]})
    return {"bads": int(bads.size), "replaced": _replaced(points), "curve": points}


def _replaced(points: list[dict[str, float]]) -> float:
    if len(points) < 2:
        return 0.0
    sizes = np.log([point["bads"] for point in points])
    slope = float(np.polyfit(sizes, [point["plain"] for point in points], 1)[0])
    last = points[-1]
    gain = last["chosen"] - last["plain"]
    if slope <= 0 or gain <= 0:
        return 0.0
    # Never told beyond doubling: so far from what was measured the line is a guess.
    return float(min(last["bads"] * np.expm1(gain / slope), last["bads"]))
