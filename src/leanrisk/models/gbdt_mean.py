"""Several forests as one, whose log-odds are the mean of theirs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from leanrisk.models.gbdt import Gbdt
from leanrisk.models.lightgbm_text import booster_from_text

_TREE = re.compile(r"^Tree=\d+\n", re.MULTILINE)
_LEAVES = re.compile(r"^leaf_value=(.*)$", re.MULTILINE)
_SIZES = re.compile(r"^tree_sizes=.*\n", re.MULTILINE)
_END = "end of trees\n"


def mean_of(models: Sequence[Gbdt]) -> Gbdt:
    """Return one forest of all trees: log-odds are the models' mean; all must read the same columns.

    It is saved, served and explained as any other, and holds as many trees as all of them together.
    """
    parts = [_parts(model.text) for model in models]
    trees = [_LEAVES.sub(partial(_divided, len(models)), tree) for _, part, _ in parts for tree in part]
    numbered = [f"Tree={place}\n{tree}" for place, tree in enumerate(trees)]
    head, _, tail = parts[0]
    sizes = " ".join(str(len(tree.encode())) for tree in numbered)
    text = _SIZES.sub(f"tree_sizes={sizes}\n", head) + "".join(numbered) + tail
    return replace(models[0], booster=booster_from_text(text, Path("mean")))


def _parts(text: str) -> tuple[str, list[str], str]:
    """Return what stands before the trees, each tree without its number, and what stands after them."""
    end = text.index(_END)
    head, *trees = _TREE.split(text[:end])
    return head, trees, text[end:]


def _divided(count: int, leaves: re.Match[str]) -> str:
    return "leaf_value=" + " ".join(repr(float(value) / count) for value in leaves[1].split())
