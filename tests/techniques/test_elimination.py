"""Elimination: what goes first where prices, likeness and whole look-ups have a say."""

from dataclasses import replace

import numpy as np
import pytest

from leanrisk.models.gbdt_attribution import Attribution, Forest
from leanrisk.techniques.select.elimination import Ground, survivors

COLUMNS = np.arange(6)


def ground(**changes):
    rows = np.zeros((4, 6), dtype=np.float32)
    plain = Ground(rows, rows[:, 0], [], frozenset(), frozenset(), Forest.restrained(), seed=1)
    return replace(plain, **changes)


def found(importance, error=0.0):
    worth = np.asarray(importance, dtype=np.float64)
    return Attribution(np.zeros(4), worth, np.full(worth.size, error), 1.0)


def left(where, importance, *, error=0.0, drop=1, least=1):
    kept = survivors(where, COLUMNS, found(importance, error), share=drop / COLUMNS.size + 1e-9, least=least)
    return kept.tolist()


def money(**of):
    table = np.zeros((6, 2))
    for name, price in of.items():
        table[int(name[1:])] = price
    return lambda columns: table[columns]


def test_the_least_goes_first_and_what_no_tree_used_goes_at_once():
    assert left(ground(), [0.3, 0.1, 0.2, 0.4, 0.5, 0.6], drop=2) == [0, 3, 4, 5]
    assert left(ground(), [0.0, 0.0, 0.0, 0.4, 0.5, 0.6]) == [3, 4, 5]
    assert left(ground(fixed=frozenset({1})), [0.3, 0.1, 0.2, 0.4, 0.5, 0.6]) == [0, 1, 3, 4, 5]


def test_of_two_features_of_like_worth_the_dearer_goes_first():
    dear = ground(dear=money(c2=(5.0, 0.0), c4=(9.0, 0.0)))
    worth = [0.30, 0.10, 0.11, 0.4, 0.5, 0.6]
    assert left(dear, worth, error=0.02) == [0, 1, 3, 4, 5], "0.10 and 0.11 are not told apart: the priced one goes"
    assert left(dear, worth, error=0.001) == [0, 2, 3, 4, 5], "they are told apart: the lesser one goes"
    assert left(ground(), worth, error=0.02) == [0, 2, 3, 4, 5], "without prices the lesser one goes"


def test_where_money_is_equal_the_longer_wait_goes_first():
    slow = ground(dear=money(c1=(2.0, 10.0), c2=(2.0, 80.0)))
    assert left(slow, [0.3, 0.10, 0.11, 0.4, 0.5, 0.6], error=0.05) == [0, 1, 3, 4, 5]


def test_a_look_up_goes_as_one_by_what_its_columns_add_up_to():
    bought = ground(units=np.array([0, 0, 1, 2, 3, 3]), dear=money(c0=(4.0, 0.0), c1=(4.0, 0.0)))
    worth = [0.06, 0.05, 0.30, 0.4, 0.1, 0.1]
    assert left(bought, worth, drop=2) == [2, 3, 4, 5]
    assert left(bought, worth, drop=1) == [2, 3, 4, 5], "a look-up larger than the step still goes as a whole"
    assert left(bought, [0.2, 0.2, 0.01, 0.4, 0.1, 0.1], drop=2, least=5) == [0, 1, 3, 4, 5]


def test_what_goes_leaves_its_worth_to_those_that_tell_much_the_same():
    pair = np.zeros((6, 6), dtype=bool)
    pair[0, 1] = pair[1, 0] = True
    worth = [0.10, 0.11, 0.12, 0.4, 0.5, 0.6]
    assert left(ground(), worth, drop=2) == [2, 3, 4, 5]
    assert left(ground(alike=pair), worth, drop=2) == [1, 3, 4, 5], "0.11 is worth 0.21 once its like has gone"
    assert left(ground(alike=pair), worth, drop=3) == [3, 4, 5]


@pytest.mark.parametrize("least", [6, 5])
def test_never_fewer_are_left_than_asked(least):
    assert len(left(ground(), [0.1] * 6, drop=5, least=least)) == least
