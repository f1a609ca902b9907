"""The encoder: one meaning for a value, whether it comes in a frame or in a record."""

import datetime as dt
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.dataset import Dataset
from leanrisk.core.errors import ConfigError, DataError
from leanrisk.core.inputs import FIRST_LEVEL, MISSING, UNSEEN, Inputs
from leanrisk.core.schema import Column, Kind, Role, Schema
from leanrisk.features.encoder import Encoder, EncoderConfig

ROWS = 400
SCHEMA = Schema(
    (
        Column("income", Kind.NUMERIC, missing_codes=(-9, 999)),
        Column("cards", Kind.NUMERIC),
        Column("opened", Kind.DATE),
        Column("owner", Kind.NUMERIC),
        Column("city", Kind.CATEGORY),
        Column("grade", Kind.CATEGORY),
        Column("flag", Kind.CATEGORY),
        Column("asked", Kind.DATE, Role.TIME),
        Column("bad", Kind.NUMERIC, Role.TARGET),
    )
)
DTYPES = pl.Schema(
    {
        "income": pl.Float64(),
        "cards": pl.Int64(),
        "opened": pl.Date(),
        "owner": pl.Boolean(),
        "city": pl.String(),
        "grade": pl.Float64(),
        "flag": pl.Boolean(),
        "asked": pl.Datetime("us"),
    }
)
ROW = st.fixed_dictionaries(
    {
        "income": st.none() | st.sampled_from([-9.0, 999.0, 1e300, -1e300, 1e-45]) | st.floats(width=64),
        "cards": st.none() | st.integers(-(2**63), 2**63 - 1),
        "opened": st.none() | st.dates(),
        "owner": st.none() | st.booleans(),
        "city": st.none() | st.sampled_from(["Bonn", "Köln", "Nowhere", ""]),
        "grade": st.none() | st.sampled_from([1.0, 2.0, 2.5, 1e20, -0.0]) | st.floats(width=64),
        "flag": st.none() | st.booleans(),
        "asked": st.none() | st.datetimes(),
    }
)


@pytest.fixture(scope="module")
def loans() -> Dataset:
    rng = np.random.default_rng(1)
    days = np.datetime64("2015-01-01") + rng.integers(0, 3000, ROWS)
    frame = pl.DataFrame(
        {
            "income": np.where(rng.random(ROWS) < 0.1, 999.0, np.exp(rng.normal(8, 1, ROWS))),
            "cards": rng.integers(0, 5, ROWS),
            "opened": days,
            "owner": rng.random(ROWS) < 0.5,
            "city": rng.choice(["Bonn", "Köln", "Ulm"], ROWS, p=[0.5, 0.4, 0.1]),
            "grade": rng.choice([1.0, 2.0, 2.5], ROWS),
            "flag": rng.random(ROWS) < 0.5,
            "asked": days + rng.integers(1, 400, ROWS),
            "bad": rng.integers(0, 2, ROWS),
        }
    ).cast(DTYPES)
    return Dataset(frame, SCHEMA)


@pytest.fixture(scope="module")
def encoder(loans) -> Encoder:
    return Encoder.fit(loans, EncoderConfig(bins=16, min_level_rows=1))


def records_of(encoder: Encoder, rows: list[dict]) -> Inputs:
    parts = [encoder.record(row) for row in rows]
    return Inputs(np.concatenate([p.numeric for p in parts]), np.concatenate([p.category for p in parts]))


def numbers(*values, codes=(), **settings) -> Encoder:
    schema = Schema((Column("x", Kind.NUMERIC, missing_codes=codes),))
    frame = pl.DataFrame({"x": values}, schema={"x": pl.Float32})
    return Encoder.fit(Dataset(frame, schema), EncoderConfig(**settings))


def levels(values, dtype=None, **settings) -> Encoder:
    schema = Schema((Column("x", Kind.CATEGORY),))
    return Encoder.fit(Dataset(pl.DataFrame({"x": pl.Series(values, dtype=dtype)}), schema), EncoderConfig(**settings))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=8))
def test_a_record_gives_the_bits_of_its_row_in_a_frame(encoder, rows):
    framed = encoder.inputs(pl.DataFrame(rows, schema=DTYPES))
    alone = records_of(encoder, rows)
    np.testing.assert_array_equal(alone.numeric, framed.numeric)
    np.testing.assert_array_equal(alone.category, framed.category)
    assert (alone.numeric.dtype, alone.category.dtype) == (framed.numeric.dtype, framed.category.dtype)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=8))
def test_lookups_share_one_unit_of_weight_among_rows_of_the_field(encoder, rows):
    lookups = encoder.lookups(records_of(encoder, rows))
    count = len(encoder.fields.numeric)
    pairs = lookups.weight[:, : 2 * count].reshape(-1, count, 2)
    assert np.isfinite(pairs).all()
    assert ((pairs >= 0) & (pairs <= 1)).all()
    np.testing.assert_allclose(pairs.sum(axis=2), 1.0, rtol=1e-6)
    assert (lookups.weight[:, 2 * count :] == 1).all()
    starts = np.array([*encoder.layout.starts, encoder.layout.size])
    owner = [*np.repeat(np.arange(count), 2), *range(count, len(encoder.fields.names))]
    assert (lookups.index >= starts[owner]).all()
    assert (lookups.index < starts[np.array(owner) + 1]).all()


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(width=32), min_size=0, max_size=40), asked=st.lists(st.floats(width=32), max_size=20))
def test_any_column_gives_finite_weights(values, asked):
    encoder = numbers(*values, bins=4)
    (entry,) = encoder.fields.numeric
    assert list(entry.edges) == sorted(set(entry.edges))
    assert 2 <= len(entry.edges) <= 5
    column = np.array([[*asked, np.nan, np.inf, -np.inf]], dtype=np.float32).T
    lookups = encoder.lookups(Inputs(column, np.empty((len(column), 0), dtype=np.int64)))
    assert np.isfinite(lookups.weight).all()


def test_between_two_knots_the_weight_moves_in_proportion():
    encoder = numbers(0.0, 1.0, 3.0, codes=(-1,), bins=8)
    asked = np.array([[-5], [0], [0.25], [1], [2.5], [3], [7], [-1], [np.nan]], dtype=np.float32)
    lookups = encoder.lookups(Inputs(asked, np.empty((9, 0), dtype=np.int64)))
    # Rows of the table: 0 missing, 1 the code -1, then the knots 0, 1, 3.
    assert lookups.index.tolist() == [[2, 3], [2, 3], [2, 3], [3, 4], [3, 4], [3, 4], [3, 4], [1, 1], [0, 0]]
    assert lookups.weight[:, 1].tolist() == [0, 0, 0.25, 0, 0.75, 1, 1, 0, 0]


def test_it_knows_the_rows_it_was_fitted_on_and_no_others(loans):
    old = loans.where(np.arange(ROWS) < 200)
    later = replace(old, frame=loans.frame.tail(200).with_columns(pl.lit("Neustadt").alias("city"), income=1e9))
    alone = Encoder.fit(old)
    income, *_ = alone.fields.numeric
    usual = old.frame["income"].filter(old.frame["income"] != 999)
    assert usual.min() <= income.edges[0] < income.edges[-1] <= usual.max()
    assert set(alone.fields.category[0].levels) == set(old.frame["city"].unique())
    encoded = alone.inputs(later.frame)
    assert (encoded.category[:, 0] == UNSEEN).all()
    assert (alone.lookups(encoded).weight[:, 1] == 1).all()
    assert Encoder.fit(old) == alone


def test_special_codes_are_no_part_of_the_quantiles(encoder):
    income = encoder.fields.numeric[0]
    assert income.codes == (-9.0, 999.0)
    assert 999.0 not in income.edges
    pair = encoder.lookups(encoder.record({"income": 999})).index[0, :2]
    assert pair.tolist() == [2, 2]


def test_it_survives_json_exactly(loans, encoder):
    again = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict(), allow_nan=False)))
    assert again == encoder
    for name in ("numeric", "category"):
        np.testing.assert_array_equal(
            getattr(again.inputs(loans.frame), name), getattr(encoder.inputs(loans.frame), name)
        )


@pytest.mark.parametrize(
    ("values", "dtype"), [([3.0, 3.0], pl.Float64), ([3, 3], pl.Int64), (["3", "3"], pl.String), ([3, 3], pl.Float32)]
)
def test_a_whole_number_is_one_level_from_every_file(values, dtype):
    encoder = levels(values, dtype)
    assert encoder.fields.category[0].levels == ("3",)
    for value in (3, 3.0, "3", np.float64(3), np.int64(3)):
        assert encoder.record({"x": value}).category.tolist() == [[FIRST_LEVEL]]
    for other in (pl.Series([3.0]), pl.Series([3]), pl.Series(["3"]), pl.Series([3], dtype=pl.UInt8)):
        assert encoder.inputs(pl.DataFrame({"x": other})).category.tolist() == [[FIRST_LEVEL]]


def test_not_a_number_is_no_level():
    encoder = levels([1.0, float("nan"), None, 2.0])
    assert encoder.fields.category[0].levels == ("1", "2")
    assert encoder.record({"x": float("nan")}).category.tolist() == [[MISSING]]


def test_a_level_with_a_time_reads_the_same_alone():
    moment = dt.datetime(2024, 5, 31, 12, 30)
    encoder = levels([moment, dt.datetime(2024, 1, 1)])
    assert encoder.record({"x": moment}).category[0, 0] == encoder.inputs(pl.DataFrame({"x": [moment]})).category[0, 0]
    assert encoder.record({"x": moment}).category[0, 0] >= FIRST_LEVEL


def test_levels_are_the_most_frequent_ones_and_ties_stand_in_order():
    encoder = levels(["b"] * 30 + ["a"] * 30 + ["c"] * 50 + ["rare"] * 3, levels=2, min_level_rows=20)
    assert encoder.fields.category[0].levels == ("c", "a")
    assert levels(["q"] * 400 + ["rare"]).fields.category[0].levels == ("q",)


def test_a_column_may_be_called_like_its_counts():
    schema = Schema((Column("rows", Kind.CATEGORY), Column("level", Kind.CATEGORY), Column("count", Kind.CATEGORY)))
    frame = pl.DataFrame({"rows": ["a"], "level": ["b"], "count": ["c"]})
    encoder = Encoder.fit(Dataset(frame, schema))
    assert [entry.levels for entry in encoder.fields.category] == [("a",), ("b",), ("c",)]


def test_a_date_reads_as_days_before_the_decision(encoder):
    place = encoder.fields.names.index("opened")
    texts = {"opened": "2024-05-30", "asked": "2024-05-31T12:00:00"}
    values = {"opened": dt.date(2024, 5, 30), "asked": dt.datetime(2024, 5, 31, 12)}
    zone = dt.timezone(dt.timedelta(hours=8))
    abroad = {**values, "asked": dt.datetime(2024, 5, 31, 20, tzinfo=zone)}
    assert [encoder.record(row).numeric[0, place] for row in (texts, values, abroad)] == [1.5, 1.5, 1.5]
    assert np.isnan(encoder.record({"opened": dt.date(2024, 5, 30)}).numeric[0, place])
    text_frame = pl.DataFrame({**dict.fromkeys(encoder.columns), **{name: [text] for name, text in texts.items()}})
    assert encoder.inputs(text_frame).numeric[0, place] == 1.5


def test_a_time_zone_in_a_frame_reads_as_in_a_record(encoder):
    moment = dt.datetime(2024, 5, 31, 20, tzinfo=dt.timezone(dt.timedelta(hours=8)))
    row = {"opened": dt.date(2024, 5, 30), "asked": moment}
    frame = pl.DataFrame(
        {**{name: [None] for name in encoder.columns}, **{name: [value] for name, value in row.items()}}
    )
    np.testing.assert_array_equal(encoder.inputs(frame).numeric, encoder.record(row).numeric)


def test_without_a_decision_time_a_date_reads_as_days_since_1970():
    schema = Schema((Column("opened", Kind.DATE),))
    encoder = Encoder.fit(Dataset(pl.DataFrame({"opened": [dt.date(1970, 1, 2), dt.date(1970, 1, 11)]}), schema))
    assert encoder.columns == ("opened",)
    assert encoder.record({"opened": "1970-01-08"}).numeric.tolist() == [[7.0]]


def test_zero_rows_and_an_empty_record(loans, encoder):
    empty = encoder.inputs(loans.frame.head(0))
    assert (empty.numeric.shape, empty.category.shape) == ((0, 4), (0, 3))
    assert encoder.lookups(empty).index.shape == (0, 11)
    nothing = encoder.record({})
    assert np.isnan(nothing.numeric).all()
    assert (nothing.category == MISSING).all()


def test_fields_of_one_kind_only():
    assert numbers(1.0, 2.0).record({"x": 1}).category.shape == (1, 0)
    assert levels(["a"]).record({"x": "a"}).numeric.shape == (1, 0)
    assert levels(["a"]).inputs(pl.DataFrame({"x": ["a"]})).numeric.shape == (1, 0)


def test_a_record_owns_writable_arrays(encoder):
    first, second = encoder.record({"income": 1.0}), encoder.record({"income": 2.0})
    first.numeric[0, 0] = 7.0
    assert second.numeric[0, 0] == 2.0


def test_a_missing_column_is_named(loans, encoder):
    with pytest.raises(DataError) as raised:
        encoder.inputs(loans.frame.drop("income", "asked"))
    assert [(fault.code, fault.column) for fault in raised.value.faults] == [
        ("column-missing", "income"),
        ("column-missing", "asked"),
    ]


def test_every_wrong_value_of_a_record_is_named(encoder):
    row = {"income": "12", "cards": [1], "opened": "yesterday", "city": ["Bonn"], "flag": True, "owner": 1}
    with pytest.raises(DataError) as raised:
        encoder.record(row)
    assert [(fault.code, fault.column) for fault in raised.value.faults] == [
        ("not-numeric", "income"),
        ("not-numeric", "cards"),
        ("not-a-date", "opened"),
        ("not-a-level", "city"),
    ]
    assert "'12'" in str(raised.value)


@pytest.mark.parametrize(
    ("column", "value"),
    [("income", 10**400), ("income", dt.date(2024, 1, 1)), ("asked", "31.05.2024"), ("opened", 20240531)],
)
def test_one_wrong_value_of_a_record_is_named(encoder, column, value):
    with pytest.raises(DataError) as raised:
        encoder.record({"opened": "2024-01-01", "asked": "2024-01-02", column: value})
    assert [fault.column for fault in raised.value.faults] == [column]


def test_every_column_of_another_kind_is_named(loans, encoder):
    frame = loans.frame.with_columns(
        income=pl.lit("12"), cards=pl.lit(dt.date(2024, 1, 1)), opened=pl.lit("31.05.2024"), city=pl.lit([1])
    )
    with pytest.raises(DataError) as raised:
        encoder.inputs(frame)
    assert [(fault.code, fault.column) for fault in raised.value.faults] == [
        ("not-numeric", "income"),
        ("not-numeric", "cards"),
        ("not-a-date", "opened"),
        ("not-a-level", "city"),
    ]


def test_a_column_of_nulls_may_have_any_type(loans, encoder):
    names = ("income", "city", "opened", "asked")
    encoded = encoder.inputs(loans.frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in names))
    untyped = encoder.inputs(loans.frame.with_columns(pl.lit(None).alias(name) for name in names))
    assert np.isnan(encoded.numeric[:, [0, 2]]).all()
    assert (encoded.category[:, 0] == MISSING).all()
    np.testing.assert_array_equal(encoded.numeric, untyped.numeric)


@pytest.mark.parametrize("settings", [{"bins": 1}, {"bins": 256}, {"levels": 0}, {"min_level_rows": 0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError):
        EncoderConfig(**settings)
