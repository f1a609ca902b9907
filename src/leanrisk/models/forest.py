"""A slim tree ensemble as plain arrays: what a graph holds, with answers that no order of summing changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from leanrisk.core.inputs import Fields, Inputs

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_FILE = "forest.safetensors"
_EXACT_BITS = 24
"""Bits of a float32 significand: sums of multiples of one power of two are exact while they fit into so many."""
_FINEST = 30


@dataclass(frozen=True)
class Forest:
    """Trees over a float32 matrix (rows, numeric fields, then category fields as ranks); their leaves sum to a logit.

    `orders`: for every category field in turn, the rank of each of its codes; a split by rank is a set of levels.
    Nodes of all trees stand one after another, each parent before its children; `starts` names each tree's root.
    `feature` is -1 at a leaf, whose logit is `value`; elsewhere a row goes `left` where its number is `threshold` or
    less, or missing and `missing_left`, else `right`. Leaf values and `base` are multiples of one power of two small
    enough that every sum of them is exact in float32: alone, in batches, and with any number of threads the answer has
    the same bits.
    """

    starts: Integers
    feature: Integers
    threshold: Floats
    left: Integers
    right: Integers
    missing_left: npt.NDArray[np.bool_]
    value: Floats
    base: Floats
    orders: Floats

    @property
    def trees(self) -> int:
        """Number of trees."""
        return int(self.starts.size)

    @property
    def parameters(self) -> int:
        """Number of learned numbers: a threshold and a feature for every split, a value for every leaf."""
        splits = int((self.feature >= 0).sum())
        return 2 * splits + (self.feature.size - splits)

    @property
    def depth(self) -> int:
        """Number of splits on the longest way from a root to a leaf."""
        level = np.zeros(self.feature.size, dtype=np.int64)
        for node in np.flatnonzero(self.feature >= 0):
            level[[self.left[node], self.right[node]]] = level[node] + 1
        return int(level.max(initial=0))

    def used(self, layout: Fields) -> tuple[str, ...]:
        """Return the names of the fields that some split reads; the first one where no tree splits."""
        return tuple(layout.names[place] for place in np.unique(self.feature[self.feature >= 0])) or layout.names[:1]

    def reading_only(self, before: Fields, after: Fields) -> Forest:
        """Return the same trees over the fields `after`, which are those of `before` that some split reads."""
        places = {name: place for place, name in enumerate(after.names)}
        moved = np.array([places.get(name, -1) for name in before.names], dtype=np.int64)
        starts, sizes = order_starts(before), [entry.size for entry in before.category]
        kept = [
            self.orders[start : start + size]
            for entry, start, size in zip(before.category, starts, sizes, strict=True)
            if entry.name in places
        ]
        feature = np.where(self.feature >= 0, moved[self.feature], -1)
        return replace(self, feature=feature, orders=np.concatenate([np.empty(0, dtype=np.float32), *kept]))

    def matrix(self, inputs: Inputs, layout: Fields) -> Floats:
        """Return the float32 matrix that the trees read (see `ranked_matrix`)."""
        return ranked_matrix(inputs, self.orders, layout)

    def logits(self, matrix: Floats) -> Floats:
        """Return the sum of the trees' leaves, float32 (rows,): the tested reference of the graph."""
        total = np.full(matrix.shape[0], self.base[0], dtype=np.float32)
        rows = np.arange(matrix.shape[0])
        for root in self.starts:
            node = np.full(matrix.shape[0], root)
            while True:
                feature = self.feature[node]
                walking = feature >= 0
                if not walking.any():
                    break
                number = matrix[rows, np.maximum(feature, 0)]
                goes_left = np.where(np.isnan(number), self.missing_left[node], number <= self.threshold[node])
                node = np.where(walking, np.where(goes_left, self.left[node], self.right[node]), node)
            total += self.value[node]
        return total

    def save(self, folder: Path) -> None:
        """Write `forest.safetensors` into `folder`."""
        save_file({name: np.ascontiguousarray(array) for name, array in self._arrays().items()}, folder / _FILE)

    @classmethod
    def load(cls, folder: Path, layout: Fields) -> Forest:
        """Return the forest that `save` wrote for these fields; raises `OSError` or `ValueError` where it is damaged.

        Every index is checked: a runtime would follow one that points outside.
        """
        try:
            arrays = load_file(folder / _FILE)
            made = cls(**{entry.name: arrays[entry.name] for entry in fields(cls)})
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"'{_FILE}' is not what a saved forest writes ({error})") from error
        made._check(layout)
        return made

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def _check(self, layout: Fields) -> None:
        nodes, here = self.feature.size, np.arange(self.feature.size)
        kinds = {
            name: np.dtype(kind)
            for name, kind in zip(self._arrays(), ("i8", "i8", "f4", "i8", "i8", "?", "f4", "f4", "f4"), strict=True)
        }
        sizes = dict.fromkeys(("feature", "threshold", "left", "right", "missing_left", "value"), nodes)
        sizes |= {"base": 1, "orders": int(sum(entry.size for entry in layout.category)), "starts": self.starts.size}
        for name, array in self._arrays().items():
            if array.dtype != kinds[name] or array.shape != (sizes[name],):
                raise ValueError(f"'{name}' of its forest has {array.dtype} {array.shape}")
        split = self.feature >= 0
        inside = all(((child[split] > here[split]) & (child[split] < nodes)).all() for child in (self.left, self.right))
        if not inside or not ((self.starts >= 0) & (self.starts < nodes)).all():
            raise ValueError("a node of its forest points outside its tree")
        if self.feature.max(initial=-1) >= len(layout.names) or not np.isfinite(self.value).all():
            raise ValueError("a split of its forest reads a column that is not there, or a leaf is not finite")


def order_starts(layout: Fields) -> Integers:
    """Return where the ranks of each category field start in `Forest.orders`, int64 (category fields,)."""
    sizes = [entry.size for entry in layout.category]
    return np.cumsum([0, *sizes])[:-1].astype(np.int64)


def ranked_matrix(inputs: Inputs, orders: Floats, layout: Fields) -> Floats:
    """Return numbers and the ranks of category codes as one float32 matrix (rows, fields); this copies."""
    if not layout.category:
        return inputs.numeric.copy()
    return np.concatenate([inputs.numeric, orders[inputs.category + order_starts(layout)]], axis=1)


def forest_of(dump: Mapping[str, Any], *, base: float, orders: Floats) -> Forest:
    """Return the trees of a LightGBM `Booster.dump_model()` whose splits are all numeric, leaves on the exact grid.

    Thresholds are rounded down to float32, which sends every float32 number the way that the float64 threshold does.
    """
    starts: list[int] = []
    rows: list[tuple[int, float, int, int, bool, float]] = []
    for tree in dump["tree_info"]:
        starts.append(len(rows))
        rows.extend(_nodes(tree["tree_structure"], len(rows)))
    feature, threshold, left, right, missing_left, value = zip(*rows, strict=True) if rows else ((),) * 6
    places = np.array(starts, dtype=np.int64)
    leaves = np.array(value, dtype=np.float64)
    step = _grid(leaves, places, base)
    return Forest(
        starts=places,
        feature=np.array(feature, dtype=np.int64),
        threshold=floor32(np.array(threshold, dtype=np.float64)),
        left=np.array(left, dtype=np.int64),
        right=np.array(right, dtype=np.int64),
        missing_left=np.array(missing_left, dtype=np.bool_),
        value=(np.round(leaves / step) * step).astype(np.float32),
        base=np.array([np.round(base / step) * step], dtype=np.float32),
        orders=np.asarray(orders, dtype=np.float32),
    )


def floor32(numbers: npt.NDArray[np.float64]) -> Floats:
    """Return the largest float32 that is not above each number: x <= number and x <= floor agree for float32 x."""
    with np.errstate(over="ignore"):
        near = numbers.astype(np.float32)
        down = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > numbers, down, near).astype(np.float32)


def _nodes(root: Mapping[str, Any], first: int) -> Iterator[tuple[int, float, int, int, bool, float]]:
    """Yield (feature, threshold, left, right, missing goes left, value) of a tree, level by level."""
    waiting, following = [root], first + 1
    while waiting:
        below: list[Mapping[str, Any]] = []
        for node in waiting:
            if "split_feature" not in node:
                yield -1, 0.0, 0, 0, False, float(node["leaf_value"])
                continue
            threshold = float(node["threshold"])
            # A column that was never missing has no side for it: LightGBM then reads a missing number as zero.
            left = bool(node["default_left"]) if node["missing_type"] == "NaN" else threshold >= 0.0
            yield int(node["split_feature"]), threshold, following, following + 1, left, 0.0
            following += 2
            below += [node["left_child"], node["right_child"]]
        waiting = below


def _grid(leaves: npt.NDArray[np.float64], starts: Integers, base: float) -> float:
    """Return the power of two of which every leaf becomes a multiple, so that no sum of leaves needs rounding."""
    largest = np.maximum.reduceat(np.abs(leaves), starts).sum() if starts.size else 0.0
    reach = max(float(largest) + abs(base), 2.0**-6)
    # One bit to spare: rounding to the grid may lift the reach past the power of two.
    return 2.0 ** max(-_FINEST, math.ceil(math.log2(reach)) + 1 - _EXACT_BITS)
