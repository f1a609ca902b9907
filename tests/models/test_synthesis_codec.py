"""Rows as codes and places and back; the rules that they keep to."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.constraints import Constraints, Order, Range, Sum
from leanrisk.core.errors import ConfigError, DataError
from leanrisk.models.synthesis.category_code import OTHER, CategoryCode
from leanrisk.models.synthesis.codec import Codec
from leanrisk.models.synthesis.number_code import FEWEST, NumberCode
from tests.models.synthetic_books import RULES, book

NUMBERS = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6, width=32)), min_size=1, max_size=80)


@settings(max_examples=60, deadline=None)
@given(NUMBERS)
def test_numbers_come_back_near_where_they_stood_and_gaps_stay_gaps(values):
    numbers = np.array([np.nan if value is None else value for value in values])
    code = NumberCode.fit("x", numbers, dtype="Float64")
    codes, places = code.encode(numbers)
    assert ((codes >= 0) & (codes < code.size)).all()
    assert ((places >= 0) & (places <= 1)).all()
    back = code.decode(codes, places)
    assert np.array_equal(np.isnan(back), np.isnan(numbers))
    known = numbers[~np.isnan(numbers)]
    if known.size:
        step = 10.0 ** -max(code.decimals, 0)
        slack = step + 1e-6 * np.abs(known).max()
        assert np.nanmin(back) >= known.min() - slack
        assert np.nanmax(back) <= known.max() + slack


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d"])), min_size=1, max_size=60))
def test_levels_come_back_and_rare_ones_as_others(values):
    series = pl.Series("x", values, dtype=pl.String)
    code = CategoryCode.fit("x", series, dtype="String")
    back = code.decode(code.encode(series)).to_list()
    kept = set(code.levels)
    assert back == [value if value is None or value in kept else OTHER for value in values]


def test_a_table_comes_back_with_its_types_and_its_rules():
    codec = Codec.fit(book(), rules=RULES)
    made, good = codec.decode(codec.encode(book()))
    assert good.all()
    assert made.schema == book().schema
    assert np.abs((made["total"] - made["principal"] - made["interest"]).to_numpy()).max() < 1e-6
    assert (made["decided"] >= made["opened"]).all()
    assert made["debt"].null_count() == book()["debt"].null_count()
    correlation = np.corrcoef(made["principal"].rank().to_numpy(), book()["principal"].rank().to_numpy())[0, 1]
    assert correlation > 0.999
    assert Codec.from_dict(codec.to_dict()) == codec


def test_no_value_of_fewer_than_five_rows_is_kept():
    rng = np.random.default_rng(0)
    values = rng.normal(size=500)
    code = NumberCode.fit("x", values, dtype="Float64")
    assert not np.isin(code.knots, values).any()
    assert code.atoms == ()
    shared = NumberCode.fit("x", np.r_[values, np.zeros(FEWEST), [7.0] * 40], dtype="Float64")
    assert shared.atoms == (7.0,)


@pytest.mark.parametrize(
    ("column", "size"),
    [([1.5] * 200, 2), ([None] * 200, 1), ([f"id{place}" for place in range(200)], 2)],
    ids=["one-value", "all-missing", "all-different"],
)
def test_odd_columns_have_a_code(column, size):
    frame = pl.DataFrame({"odd": column, "other": np.arange(200.0)})
    codec = Codec.fit(frame)
    assert codec.sizes[0] == size
    made, _ = codec.decode(codec.encode(frame))
    assert set(made["odd"].to_list()) == {OTHER if isinstance(column[0], str) else column[0]}


def test_a_hundred_thousand_levels_are_one_code():
    levels = pl.Series("x", [f"level {place}" for place in range(100_000)])
    assert CategoryCode.fit("x", levels, dtype="String").size == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"ranges": (Range("a", 0), Range("a", 1))},
        {"sums": (Sum("a", ("b", "c")), Sum("b", ("a", "c")))},
        {"orders": (Order("a", "b"), Order("b", "a"))},
        {"sums": (Sum("a", ("b", "c")),), "orders": (Order("c", "a"),)},
        {"sums": (Sum("a", ("b",)),)},
    ],
    ids=["two-ranges", "sums-in-a-circle", "orders-in-a-circle", "two-rules", "sum-of-one"],
)
def test_contradictory_rules_are_refused(wrong):
    with pytest.raises(ConfigError):
        Constraints(**wrong)


def test_a_range_without_numbers_is_refused():
    with pytest.raises(ConfigError, match="at least 5 and at most 1"):
        Range("a", 5, 1)


def test_rules_that_the_table_breaks_are_refused_all_at_once():
    rules = Constraints(
        ranges=(Range("debt", 100.0),), sums=(Sum("total", ("principal", "age")),), orders=(Order("decided", "opened"),)
    )
    with pytest.raises(DataError) as caught:
        Codec.fit(book(), rules=rules)
    assert sorted(str(fault.column) for fault in caught.value.faults) == ["debt", "opened", "total"]
    assert {fault.code for fault in caught.value.faults} == {"constraint-not-kept"}


def test_a_rule_over_text_is_refused():
    with pytest.raises(DataError, match="constraint-column"):
        Codec.fit(book(), rules=Constraints(whole=("region",)))


def test_a_column_without_a_code_is_refused():
    with pytest.raises(DataError, match="no-code"):
        Codec.fit(pl.DataFrame({"x": [[1, 2], [3]]}))
