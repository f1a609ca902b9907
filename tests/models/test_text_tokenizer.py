"""Texts of every kind become numbers, and what cannot be read is told apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import ConfigError, DataError, ModelError
from leanrisk.models.text.tokenizer import PAD, UNKNOWN, TextTokenizer
from tests.models.complaints import made_up


@pytest.fixture(scope="module")
def tokenizer():
    return TextTokenizer.trained(made_up(200)[0], vocabulary=300, longest=8)


def test_the_same_texts_give_the_same_tokenizer(tokenizer):
    assert TextTokenizer.trained(made_up(200)[0], vocabulary=300, longest=8) == tokenizer
    assert 20 < tokenizer.pieces <= 300


def test_it_survives_being_written_down(tokenizer):
    again = TextTokenizer.loaded(tokenizer.settings, longest=8)
    texts = made_up(20, seed=3)[0]
    assert np.array_equal(again.read(texts).tokens, tokenizer.read(texts).tokens)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("LATE again", "late  again"),
        ("paid 12.50", "paid 7"),
        ("\uff4c\uff41\uff54\uff45", "late"),
        ("la\x00te", "late"),
        ("láte", "late"),
    ],
)
def test_letters_are_folded_and_a_number_is_a_number(tokenizer, first, second):
    assert np.array_equal(tokenizer.read([first]).tokens, tokenizer.read([second]).tokens)


@pytest.mark.parametrize("text", ["", "   \n\t", None, float("nan"), "\x00\x01\x1f", "\u200b"])
def test_a_text_without_anything_to_read_is_empty(tokenizer, text):
    reading = tokenizer.read([text])
    assert reading.counts == {"texts": 1, "empty": 1, "cut": 0, "foreign": 0}
    assert reading.tokens.tolist() == [[PAD]]


def test_chinese_is_read_where_it_was_learned_and_another_script_is_foreign(tokenizer):
    reading = tokenizer.read(["贷款逾期", "Кредит просрочен", "late Кредит", "τόκος"])
    assert UNKNOWN not in reading.tokens[0]
    assert reading.foreign.tolist() == [False, True, False, True]
    assert reading.unread.tolist() == [False, True, False, True]


def test_a_long_text_is_cut_and_counted(tokenizer):
    reading = tokenizer.read(["late " * 8, "late " * 9, "late"])
    assert reading.cut.tolist() == [False, True, False]
    assert reading.tokens.shape == (3, 8)


def test_ten_megabytes_cost_no_more_than_the_limit(tokenizer):
    huge = ["late again " * 1_000_000, "x" * 10_000_000, " " * 10_000_000]
    reading = tokenizer.read(huge)
    assert reading.cut.all()
    assert reading.unread.tolist() == [False, True, True]


def test_half_a_character_is_no_crash(tokenizer):
    assert tokenizer.read(["late \ud83d again", "\udc80"]).foreign.tolist() == [False, True]


@pytest.mark.parametrize("value", [3, 2.5, b"late", ["late"], True])
def test_what_is_no_text_is_refused_by_its_row(tokenizer, value):
    with pytest.raises(DataError, match=r"not-a-text.*row 1"):
        tokenizer.read(["late", value])


@settings(max_examples=60)
@given(st.lists(st.one_of(st.none(), st.text()), max_size=4))
def test_any_text_is_read_or_told_apart(tokenizer, texts):
    reading = tokenizer.read(texts)
    assert len(reading.tokens) == len(texts)
    assert reading.tokens.min(initial=0) >= 0
    assert reading.tokens.max(initial=0) < tokenizer.pieces
    known = (reading.tokens != PAD).sum(axis=1)
    assert np.array_equal(known == 0, reading.empty)
    assert ((reading.tokens == UNKNOWN).sum(axis=1) <= 0.5 * known)[~reading.unread].all()


def test_no_words_and_bad_settings_are_refused():
    with pytest.raises(ModelError, match="learns from words"):
        TextTokenizer.trained(["", None, "\x00"], vocabulary=300)
    with pytest.raises(ConfigError, match="100 pieces"):
        TextTokenizer.trained(["late"], vocabulary=10)
    with pytest.raises(ConfigError, match="longest is 0"):
        TextTokenizer("{}", 0)
    with pytest.raises(ModelError, match="must be whole"):
        TextTokenizer.loaded("{", longest=8)
