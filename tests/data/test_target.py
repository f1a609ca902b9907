from __future__ import annotations

import polars as pl
import pytest

from leanrisk.core.errors import ConfigError
from leanrisk.data.target import guess_classes, guess_target


@pytest.mark.parametrize(
    ("columns", "target"),
    [
        ({"x": [1, 2, 3, 4], "TARGET": [0, 1, 0, 1], "y2": [0, 1, 1, 1]}, "TARGET"),
        ({"loan_status": ["Fully Paid", "Charged Off", "Current"], "z": [0, 1, 0]}, "loan_status"),
        ({"default.payment.next.month": [0, 1, 0], "z": [1, 2, 3]}, "default.payment.next.month"),
        ({"x": [1, 2, 3], "outcome_of_loan": [0, 1, 0]}, "outcome_of_loan"),
        ({"status": [1, 2, 3], "x": [4, 5, 6]}, None),
        ({"x": [1, 2, 3], "amount": [4.0, 5.0, 6.0]}, None),
        ({"target": [1, 1, 1], "x": [0, 1, 0]}, "target"),
    ],
)
def test_the_target_is_found_by_name_or_as_a_last_two_valued_column(columns, target) -> None:
    assert guess_target(pl.DataFrame(columns)) == target


@pytest.mark.parametrize(
    ("values", "positive", "negative"),
    [
        ([0, 1, 1], (1,), ()),
        ([0.0, 1.0], (1.0,), ()),
        ([-1, 1], (1,), ()),
        ([False, True], (True,), ()),
        (["good", "bad"], ("bad",), ()),
        (["PIF", "CHGOFF"], ("CHGOFF",), ()),
        (["No", "Yes"], ("Yes",), ()),
        (["paid", "weird"], ("weird",), ()),
        (["Fully Paid", "Charged Off", "Current", "Default"], ("Charged Off", "Default"), ("Fully Paid",)),
        ([1, 1], (1,), ()),
    ],
)
def test_well_known_words_tell_what_is_bad(values, positive, negative) -> None:
    assert guess_classes(pl.Series("y", values)) == (positive, negative)


@pytest.mark.parametrize("values", [["+", "-"], ["A", "B", "C"], [1, 2], [1, 2, 3], ["yes", "bad"], ["f", "m"]])
def test_what_is_ambiguous_is_asked_for(values) -> None:
    with pytest.raises(ConfigError, match="--positive"):
        guess_classes(pl.Series("y", values))


@pytest.mark.parametrize(
    ("values", "wanted", "positive"),
    [
        ([1, 2], "2", (2,)),
        ([0.5, 1.0], "1", (1.0,)),
        (["+", "-"], "-", ("-",)),
        ([True, False], "false", (False,)),
        (["1", "0"], "1", ("1",)),
    ],
)
def test_what_the_user_types_is_read_in_the_type_of_the_column(values, wanted, positive) -> None:
    found, negative = guess_classes(pl.Series("y", values), wanted)
    assert found == positive
    assert type(found[0]) is type(positive[0])
    assert negative == ()


@pytest.mark.parametrize(("values", "wanted"), [([0, 1], "2"), ([0, 1], "bad"), (["a", "b"], "A")])
def test_a_bad_value_that_no_row_has_is_refused_with_the_values_there_are(values, wanted) -> None:
    with pytest.raises(ConfigError, match=f"{wanted!r} is not"):
        guess_classes(pl.Series("y", values), wanted)
