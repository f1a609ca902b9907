"""A column of texts as a number: informative on new rows, blind to each row's own outcome, missing where unread."""

import numpy as np
import pytest

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.metrics import auc
from leanrisk.models.pair_config import PairConfig
from leanrisk.models.text.distillation import TextConfig
from leanrisk.models.text.field import text_field
from leanrisk.models.text.network import TextBody
from tests.models.complaints import made_up

SMALL = TextConfig(
    body=TextBody(kind="bag", width=8, pairs=512),
    vocabulary=300,
    longest=16,
    training=PairConfig(epochs=8, batch=32, learning_rate=0.02),
)


def book(rows, seed):
    texts, classes = made_up(rows, seed=seed)
    return texts, np.array([label == "bad" for label in classes], dtype=np.float32)


@pytest.fixture(scope="module")
def field():
    texts, labels = book(240, 0)
    return text_field(texts, labels, folds=3, config=SMALL, seed=1)


def test_it_tells_bad_from_good_on_taught_and_on_new_rows(field):
    texts, labels = book(200, 5)
    assert auc(book(240, 0)[1], field.log_odds) > 0.9
    assert auc(labels, field.model.log_odds(texts)) > 0.9
    assert field.log_odds.dtype == np.float32


def test_a_row_does_not_see_its_own_outcome():
    rng = np.random.default_rng(0)
    words = [first + second for first in "bcdfgklm" for second in ("ado", "eru", "iso", "ona", "upi")]
    texts = [" ".join(rng.choice(words, size=5)) for _ in range(300)]
    labels = rng.integers(0, 2, 300).astype(np.float32)
    found = text_field(texts, labels, folds=3, config=SMALL, seed=1)
    # Outcomes are drawn by lot, so that only a leak could tell them: its own model knows them, the field must not.
    assert auc(labels, found.log_odds) < 0.6
    assert auc(labels, found.model.log_odds(texts)) > auc(labels, found.log_odds) + 0.05


def test_unread_texts_are_missing_and_rows_without_an_outcome_are_answered():
    texts, labels = book(120, 0)
    texts[:3] = ["", "Кредит", "late"]
    labels[2:20] = np.nan
    found = text_field(texts, labels, folds=2, config=SMALL)
    assert np.isnan(found.log_odds).nonzero()[0].tolist() == [0, 1]


def test_what_cannot_be_folded_is_refused():
    texts, labels = book(60, 0)
    with pytest.raises(ConfigError, match="align"):
        text_field(texts[:-1], labels, config=SMALL)
    with pytest.raises(ConfigError, match="two folds"):
        text_field(texts, labels, folds=1, config=SMALL)
    with pytest.raises(ConfigError, match=r"1 \(bad\)"):
        text_field(texts, labels + 1, config=SMALL)
    with pytest.raises(ModelError, match="at least 2 rows"):
        text_field(texts, np.r_[1.0, np.zeros(59)].astype(np.float32), config=SMALL)
