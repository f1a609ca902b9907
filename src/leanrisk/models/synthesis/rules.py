"""Constraints at work: columns that follow from others are taken out before learning and worked out afterwards."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from leanrisk.core.constraints import Constraints, Order, Sum
from leanrisk.core.errors import DataError, Fault

Numbers = Mapping[str, npt.NDArray[np.float64]]

_BROKEN_SHARE = 0.01
_REL, _ABS = 1e-4, 1e-2


def reduced(numbers: Numbers, rules: Constraints) -> dict[str, npt.NDArray[np.float64]]:
    """Return the columns that have to be learned: no totals, and gaps in place of what comes later.

    Raises `DataError` naming each rule that more than 1 % of the rows break: it is not one of this table.
    """
    found = dict(numbers)
    made: list[Sum | Order] = [*rules.sums, *rules.orders]
    faults = [fault for rule in made if (fault := _broken(numbers, rule))]
    faults += [fault for entry in rules.ranges if (fault := _outside(numbers, entry.column, entry.least, entry.most))]
    if faults:
        raise DataError(faults)
    for entry in rules.orders:
        found[entry.later] = np.maximum(numbers[entry.later] - numbers[entry.earlier], 0.0)
    for total in rules.sums:
        del found[total.total]
    return found


def restored(learned: Numbers, rules: Constraints) -> dict[str, npt.NDArray[np.float64]]:
    """Return all columns; a row in which something that is needed is missing misses what follows from it."""
    found = dict(learned)
    sums = {entry.total: entry.parts for entry in rules.sums}
    earlier = {entry.later: entry.earlier for entry in rules.orders}
    for name in rules.steps():
        if name in sums:
            found[name] = np.sum([found[part] for part in sums[name]], axis=0)
        else:
            found[name] = found[earlier[name]] + found[name]
    return found


def kept(numbers: Numbers, rules: Constraints) -> npt.NDArray[np.bool_]:
    """Return which rows keep to the ranges of columns that were worked out; the others are bound when decoded."""
    rows = len(next(iter(numbers.values()), ()))
    good = np.ones(rows, dtype=np.bool_)
    made = rules.sources
    for entry in rules.ranges:
        if entry.column in made:
            values = numbers[entry.column]
            good &= np.isnan(values) | ((values >= entry.least) & (values <= entry.most))
    return good


def _broken(numbers: Numbers, rule: Sum | Order) -> Fault | None:
    if isinstance(rule, Sum):
        total = np.sum([numbers[part] for part in rule.parts], axis=0)
        name, values = rule.total, numbers[rule.total]
        wrong = np.abs(total - values) > _ABS + _REL * np.abs(values)
        what = f"is not the sum of {', '.join(rule.parts)}"
    else:
        name, wrong = rule.later, numbers[rule.later] < numbers[rule.earlier]
        what = f"lies before '{rule.earlier}'"
    return _fault(name, wrong, what)


def _outside(numbers: Numbers, name: str, least: float, most: float) -> Fault | None:
    values = numbers[name]
    return _fault(name, (values < least) | (values > most), f"lies outside {least} to {most}")


def _fault(name: str, wrong: npt.NDArray[np.bool_], what: str) -> Fault | None:
    if wrong.sum() <= _BROKEN_SHARE * wrong.size:
        return None
    return Fault(
        "constraint-not-kept",
        f"in {int(wrong.sum()):,} of {wrong.size:,} rows it {what}.",
        "Correct the rows, or take the rule out of [constraints].",
        name,
    )
