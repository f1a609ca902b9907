from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.data.missing_codes import missing_codes

COUNTS = [0] * 50 + [1] * 20 + [2, 3, 4, 5, 6, 7, 13]


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ([*COUNTS, 96, 98, 98, 98], (96, 98)),
        ([*range(3, 74), 99, 99, 99], (99,)),
        ([-9, -9, -8, -7, -7, *range(100)], (-9, -8, -7)),
        ([*range(-20000, 0, 7), 365243, 365243, 365243], (365243,)),
        ([*np.linspace(0, 40, 500), 999.0, 999.0, 999.0], (999,)),
        ([0, 1, 1, 0, 9999, 9999, 9999], (9999,)),
        (["OWN", "RENT", "XNA", None], ("XNA",)),
        (["a", "?", "N/A"], ("?", "N/A")),
    ],
)
def test_codes_that_stand_apart_are_found(values, codes) -> None:
    assert missing_codes(pl.Series("x", values, strict=False)) == codes


@pytest.mark.parametrize(
    "values",
    [
        list(range(101)) * 3,
        COUNTS,
        [-2, -1, 0, 1, 2, 3] * 20,
        [-9, -5, 0, 3, 3] * 10,
        [*range(90), 98],
        [1, 1, 1, 99, 99, 99],
        ["none", "yes", "unknown/ no savings account"],
        [None, None],
        [True, False],
    ],
)
def test_real_values_are_left_alone(values) -> None:
    assert missing_codes(pl.Series("x", values, strict=False)) == ()


@settings(max_examples=50)
@given(st.lists(st.integers(0, 95), min_size=50, max_size=200), st.integers(3, 20))
def test_whatever_is_found_is_in_the_column(values: list[int], copies: int) -> None:
    column = pl.Series("x", values + [98] * copies)
    assert set(missing_codes(column)) <= {96, 97, 98}
