"""Keys of crossed and shortened entities: a record has the key of its row, whatever it holds."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.graph.keys import MISSING_KEY, entity_keys, record_key, text_key

TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=12), st.none() | st.integers(1, 4))
def test_a_record_has_the_key_of_its_row(rows, size):
    frame = pl.DataFrame(rows, schema={"bank": pl.String, "state": pl.String}, orient="row")
    for columns in (["bank"], ["bank", "state"]):
        keys = entity_keys(frame, columns, size=size)
        assert keys.tolist() == [record_key(record, columns, size) for record in frame.to_dicts()]


@given(st.lists(st.none() | st.integers(-(10**14), 10**14), min_size=1, max_size=8))
def test_whole_numbers_have_one_key_however_they_are_written(values):
    written = (pl.Series("n", values, dtype=kind) for kind in (pl.Int64, pl.Float64))
    whole, decimal = (entity_keys(pl.DataFrame({"n": one}), ["n"]).tolist() for one in written)
    texts = [record_key({"n": None if value is None else str(value)}, ["n"]) for value in values]
    assert whole == decimal == texts


@pytest.mark.parametrize("value", [0.1, -2.5, 1e15, 3e20, True, "ä", " "])
def test_other_values_have_the_key_of_their_column(value):
    assert entity_keys(pl.DataFrame({"n": [value]}), ["n"])[0] == record_key({"n": value}, ["n"])


def test_who_names_nobody_has_no_key():
    frame = pl.DataFrame({"bank": ["a", "", None, "a"], "state": ["x", "x", "x", None]})
    assert (entity_keys(frame, ["bank", "state"]) == MISSING_KEY).tolist() == [False, True, True, True]
    assert record_key({}, ["bank"]) == record_key({"bank": ""}, ["bank"]) == MISSING_KEY


def test_where_one_value_ends_and_the_next_begins_matters():
    assert record_key({"bank": "ab", "state": "c"}, ["bank", "state"]) != record_key(
        {"bank": "a", "state": "bc"}, ["bank", "state"]
    )


def test_only_the_first_letters_of_a_code_count_where_a_size_is_given():
    frame = pl.DataFrame({"industry": ["484110", "4841", "48", "485"]})
    keys = entity_keys(frame, ["industry"], size=3)
    assert keys[0] == keys[1] == text_key("484")
    assert len(set(keys.tolist())) == 3
