"""Both catalogues hold the same keys and blanks, and figures are printed as a reader expects them."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.core.config import read_toml
from leanrisk.report import words as words_module
from leanrisk.report.numbers import (
    amount,
    digits_for,
    fixed,
    measured,
    percent,
    relative,
    signed,
    sizes,
    step_digits,
)
from leanrisk.report.svg import Scale, element, shortened, text
from leanrisk.report.words import Words, languages

BLANK = re.compile(r"\{(\w+)\}")


def texts(language):
    """The catalogue of a language with its blanks left open."""
    file = Path(words_module.__file__).parent / "languages" / f"{language}.toml"

    def flat(table, path=""):
        for key, value in table.items():
            yield from flat(value, f"{path}{key}.") if isinstance(value, dict) else [(f"{path}{key}", value)]

    return dict(flat(read_toml(file)))


def test_every_language_has_the_same_keys_with_the_same_blanks():
    assert languages() == ("en", "zh")
    first, second = (texts(language) for language in languages())
    assert first.keys() == second.keys() == set(Words.of("en"))
    assert [key for key in first if sorted(BLANK.findall(first[key])) != sorted(BLANK.findall(second[key]))] == []


def test_no_english_text_is_left_in_chinese():
    names = re.compile(r"[\s\W\d]*|.*(AUC|KS|Gini|R²|LoRA|LeanRisk|Python).*", re.DOTALL)
    untranslated = {key: text for key, text in texts("zh").items() if not re.search(r"[\u4e00-\u9fff]", text)}
    assert [key for key, text in untranslated.items() if not names.fullmatch(BLANK.sub("", text))] == ["html_lang"]


def test_a_code_without_a_text_is_shown_as_it_stands():
    words = Words.of("en")
    assert words.named("verdict", "not proven") == words.named("verdict", "not_proven") == "not proven"
    assert words.named("metric", "their_own") == "their_own"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (fixed(-1234.5, 1), "\u22121,234.5"),
        (fixed(-0.00001, 2), "0.00"),
        (signed(0.00001, 2), "0.00"),
        (signed(0.05, 2), "+0.05"),
        (percent(-0.9062), "\u221290.6%"),
        (amount(0.0421), "0.0421"),
        (amount(1520.0, padded=True), "1,520.00\u2007\u2007"),
        (sizes([2_640_112, 7_212_554]), ["2.64\u00a0MB", "7.21\u00a0MB"]),
        (sizes([None, 512]), ["\u2013", "512\u00a0B"]),
        (measured([6.412, 0.121, None], "ms"), ["6.412\u00a0ms", "0.121\u00a0ms", "\u2013"]),
        (digits_for([451.3, 9.14], 1), 1),
        (relative(0.0, 3.0), None),
    ],
)
def test_figures_are_printed_as_expected(shown, expected):
    assert shown == expected


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_lie_in_the_range_and_their_labels_tell_them_apart(lo, span, count):
    scale = Scale(lo, lo + span, 0, 100)
    if scale.hi - scale.lo < 1e-9 * max(1.0, abs(lo)):
        return
    ticks = scale.ticks(count)
    assert len(ticks) <= 2 * count + 2
    assert all(lo - 1e-6 * span <= tick <= lo + span * (1 + 1e-6) for tick in ticks)
    if span > 1e-3:
        labels = [label for _, label in scale.labelled(count=count)]
        assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(("step", "digits"), [(1.0, 0), (0.25, 2), (2.5, 1), (0.05, 2), (1e-9, 5)])
def test_a_tick_keeps_every_digit_of_its_step(step, digits):
    assert step_digits(step) == digits


def test_svg_escapes_its_texts_and_attributes():
    assert text(1, 2, "<a>&") == '<text x="1" y="2" text-anchor="start" class="label">&lt;a&gt;&amp;</text>'
    assert element("rect", class_='"><x') == '<rect class="&#34;&gt;&lt;x"></rect>'


@given(st.text(max_size=40), st.integers(1, 30))
def test_shortened_labels_fit(label, length):
    kept = shortened(label, length)
    assert sum(2 if ord(letter) >= 0x2E80 else 1 for letter in kept) <= length + 1
    assert kept == label or kept.endswith("\u2026")
