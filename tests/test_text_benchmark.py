"""What the text benchmark reports is what its names say."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from benchmarks.distilled import text_books
from benchmarks.distilled.text_rows import cpu_ms_per_1000, f1_interval, macro_f1, money_per_1000, share_interval


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 400)
    return codes, np.eye(3)[codes] + rng.normal(0, 0.8, (400, 3))


def test_macro_f1_is_the_usual_one(scored):
    codes, scores = scored
    assert macro_f1(codes, scores) == pytest.approx(f1_score(codes, scores.argmax(axis=1), average="macro"))


def test_intervals_hold_the_estimate_and_a_model_is_all_of_itself(scored):
    codes, scores = scored
    found = f1_interval(codes, [scores])
    assert found.lo < found.value < found.hi
    same = share_interval(codes, [scores], scores)
    assert (same.lo, same.value, same.hi) == (1.0, 1.0, 1.0)


def test_every_text_is_asked_alone_and_money_follows_the_hour():
    asked = []

    def answer(texts):
        asked.append(len(texts))
        return np.zeros((1, 2))

    assert cpu_ms_per_1000(answer, ["late", "paid"]) > 0
    assert set(asked) == {1}
    assert money_per_1000(3_600_000.0) == pytest.approx(0.3)


@pytest.mark.parametrize("maker", [text_books.phrasebank, text_books.complaints])
def test_parts_share_no_row_and_know_the_same_classes(maker, public_data, monkeypatch):
    monkeypatch.setenv("LEANRISK_DATA", str(public_data))
    book = maker(True)
    assert book is not None
    sizes = [len(part.texts) for part in (book.train, book.valid, book.test)]
    assert sizes[0] > 3 * sizes[2] > 0
    assert set(book.test.labels) <= set(book.classes)
    if book.name == "phrasebank":
        assert not set(book.train.texts) & set(book.test.texts)
