"""LightGBM's text format, checked tree by tree before the C++ library follows its indices."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb

from leanrisk.core.errors import ModelError

PROBABILITY_OBJECTIVES = frozenset({"binary", "cross_entropy"})
VALUE_OBJECTIVES = frozenset(
    {"regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie"}
)
_CATEGORY = 1  # lowest bit of decision_type
_SPLIT_KEYS = ("split_feature", "decision_type", "left_child", "right_child")
_TREE = re.compile(r"^Tree=(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class ModelText:
    """What the text says of its model.

    `levels` maps the names of pandas categorical columns to their values in code order; `coded` are categorical columns
    that were trained on integer codes, for which the text holds no names.
    """

    names: tuple[str, ...]
    objective: str
    trees: int
    levels: Mapping[str, tuple[str, ...]]
    coded: tuple[str, ...]

    @property
    def is_binary(self) -> bool:
        """Whether the model gives a probability."""
        return self.objective in PROBABILITY_OBJECTIVES


def booster_from_text(text: str, path: Path) -> lgb.Booster:
    """Return the booster in `text`, after `read_model_facts` found nothing wrong; raises `ModelError`."""
    read_model_facts(text, path)
    try:
        return lgb.Booster(model_str=text)
    except (lgb.basic.LightGBMError, ValueError) as error:
        raise _broken(path, f"LightGBM refuses it: {error}") from error


def read_model_facts(text: str, path: Path) -> ModelText:
    """Return what `text` says of its model; raises `ModelError` for anything the library could run astray on.

    Checked: the sections and their sizes, the objective, and in every tree the array lengths and that each child,
    feature and category index points inside (children after their parents, so that no walk can run in a circle).
    """
    if not text.startswith("tree\n"):
        raise _broken(path, "its first line is not 'tree'")
    starts = [match.start() for match in _TREE.finditer(text)]
    end = text.find("\nend of trees")
    if not starts or end < starts[-1]:
        raise _broken(path, "it has no trees, or is cut before 'end of trees'")
    header = _keys(text[: starts[0]], path)
    names = tuple(header.get("feature_names", "").split())
    objective = (header.get("objective") or "none").split()[0]
    _check_header(header, names, objective, path)
    sizes = _integers(header.get("tree_sizes", ""), path)
    if len(sizes) != len(starts):
        raise _broken(path, f"its header announces {len(sizes)} trees and {len(starts)} follow")
    # LightGBM jumps by these byte counts.
    raw_start = len(text[: starts[0]].encode())
    raw = text.encode()
    for place, (start, stop) in enumerate(zip(starts, [*starts[1:], end], strict=True)):
        if not raw.startswith(f"Tree={place}\n".encode(), raw_start):
            raise _broken(path, f"tree {place} does not stand where the header says")
        raw_start += sizes[place]
        _check_tree(_keys(text[start:stop], path), len(names), path)
    if raw[raw_start : raw_start + 12] != b"end of trees":
        raise _broken(path, "its trees do not end where the header says")
    levels, coded = _categories(text[end:], names, path)
    return ModelText(names, objective, len(starts), levels, coded)


def _check_header(header: Mapping[str, str], names: tuple[str, ...], objective: str, path: Path) -> None:
    if header.get("num_class") != "1" or header.get("num_tree_per_iteration") != "1":
        raise ModelError(f"An incumbent gives one number per row: '{path}' has several classes. Bring a binary model.")
    if objective not in PROBABILITY_OBJECTIVES | VALUE_OBJECTIVES:
        raise ModelError(
            f"An incumbent's objective must be one of {', '.join(sorted(PROBABILITY_OBJECTIVES | VALUE_OBJECTIVES))}: "
            f"'{path}' has '{objective}'. Bring its scores as a column instead."
        )
    if not names or header.get("max_feature_idx") != str(len(names) - 1):
        raise _broken(path, "its header does not name as many columns as it counts")


def _check_tree(tree: Mapping[str, str], columns: int, path: Path) -> None:
    leaves = _number(tree, "num_leaves", path)
    nodes = leaves - 1
    if leaves < 1 or tree.get("is_linear", "0") != "0":
        raise _broken(path, "a tree has no leaves, or linear ones, which are not supported")
    values = _reals(tree.get("leaf_value", ""), path)
    if len(values) != leaves or not all(map(math.isfinite, values)):
        raise _broken(path, "a tree has more or fewer leaf values than leaves, or one that is not finite")
    arrays = {key: _integers(tree.get(key, ""), path) for key in _SPLIT_KEYS}
    thresholds = _reals(tree.get("threshold", ""), path)
    if any(len(values) != nodes for values in arrays.values()) or len(thresholds) != nodes:
        raise _broken(path, "a tree's arrays do not have one entry per split")
    boundaries = _integers(tree.get("cat_boundaries", ""), path)
    _check_boundaries(boundaries, _integers(tree.get("cat_threshold", ""), path), _number(tree, "num_cat", path), path)
    for node in range(nodes):
        if not 0 <= arrays["split_feature"][node] < columns:
            raise _broken(path, f"a split reads column {arrays['split_feature'][node]} of {columns}")
        for child in (arrays["left_child"][node], arrays["right_child"][node]):
            if not (node < child < nodes or 0 <= ~child < leaves):
                raise _broken(path, f"a split leads to node {child}, outside its tree")
        if arrays["decision_type"][node] & _CATEGORY and not 0 <= thresholds[node] < len(boundaries) - 1:
            raise _broken(path, "a category split points outside its category sets")


def _check_boundaries(boundaries: list[int], sets: list[int], count: int, path: Path) -> None:
    if count == 0 and not boundaries and not sets:
        return
    rising = all(a <= b for a, b in itertools.pairwise(boundaries))
    if len(boundaries) != count + 1 or boundaries[0] != 0 or not rising or boundaries[-1] != len(sets):
        raise _broken(path, "a tree's category sets do not add up")


def _categories(tail: str, names: tuple[str, ...], path: Path) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the levels of pandas categorical columns and the names of categorical columns that hold codes."""
    found = re.search(r"^\[categorical_feature: (.*)\]$", tail, re.MULTILINE)
    places = _integers(found[1].replace(",", " ") if found else "", path)
    if any(not 0 <= place < len(names) for place in places):
        raise _broken(path, "a categorical column lies outside its columns")
    categorical = tuple(names[place] for place in sorted(places))
    line = re.search(r"^pandas_categorical:(.*)$", tail, re.MULTILINE)
    try:
        values: Any = json.loads(line[1]) if line else None
    except ValueError as error:
        raise _broken(path, f"its pandas_categorical line is not JSON ({error})") from error
    if not values:
        return {}, categorical
    if not isinstance(values, list) or len(values) != len(categorical) or not all(isinstance(v, list) for v in values):
        raise _broken(path, "its pandas_categorical line does not fit its categorical columns")
    levels = {name: tuple(_level(item) for item in items) for name, items in zip(categorical, values, strict=True)}
    return levels, ()


def _level(item: object) -> str:
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, float) and item.is_integer():
        return str(int(item))
    return str(item)


def _keys(block: str, path: Path) -> dict[str, str]:
    lines = [line for line in block.splitlines() if "=" in line]
    keys = dict(line.split("=", 1) for line in lines)
    if len(keys) != len(lines):
        raise _broken(path, "a key stands twice in one section")
    return keys


def _number(values: Mapping[str, str], key: str, path: Path) -> int:
    found = _integers(values.get(key, ""), path)
    if len(found) != 1:
        raise _broken(path, f"'{key}' is missing from a tree")
    return found[0]


def _integers(text: str, path: Path) -> list[int]:
    try:
        return [int(item) for item in text.split()]
    except ValueError as error:
        raise _broken(path, f"it holds something else where whole numbers belong ({error})") from error


def _reals(text: str, path: Path) -> list[float]:
    try:
        values = [float(item) for item in text.split()]
    except ValueError as error:
        raise _broken(path, f"it holds something else where numbers belong ({error})") from error
    # A threshold may be infinite: LightGBM splits missing from present values by one.
    if any(map(math.isnan, values)):
        raise _broken(path, "a threshold or leaf value is not a number")
    return values


def _broken(path: Path, what: str) -> ModelError:
    return ModelError(
        f"A LightGBM model must be whole text as `Booster.save_model` writes it: '{path}': {what}. Save it again."
    )
