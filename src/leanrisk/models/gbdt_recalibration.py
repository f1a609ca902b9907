"""Recalibration inside the trees: what moves every score along one line moves the leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from leanrisk.models.gbdt import Gbdt
from leanrisk.models.lightgbm_text import booster_from_text


def recalibrated(model: Gbdt, *, slope: float, intercept: float) -> Gbdt:
    """Return the model whose log-odds are `slope` x the model's + `intercept`, as trees like any other.

    Every leaf is multiplied by the slope, and the first tree's leaves take the intercept; so the model is saved, served
    and explained as before. `slope` above 0 keeps the order of all rows.
    """
    booster = booster_from_text(model.text, Path("recalibrated"))
    for place, tree in enumerate(booster.dump_model()["tree_info"]):
        for leaf in range(int(tree["num_leaves"])):
            moved = slope * booster.get_leaf_output(place, leaf) + (intercept if place == 0 else 0.0)
            booster.set_leaf_output(place, leaf, moved)
    return replace(model, booster=booster)
