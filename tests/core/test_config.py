"""Settings: literals, and what is said of a value that is none of them."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from leanrisk.core.config import configured
from leanrisk.core.errors import ConfigError


@dataclass(frozen=True)
class Cut:
    valid: Literal["in_time", "out_of_time"] = "in_time"


def test_a_choice_of_words_is_read():
    assert configured(Cut, {"valid": "out_of_time"}, where="split") == Cut("out_of_time")


@pytest.mark.parametrize("value", ["random", 1, None, ["in_time"]])
def test_another_word_is_refused_with_the_choices(value):
    with pytest.raises(ConfigError, match=r"split\.valid must be one of in_time, out_of_time: it is"):
        configured(Cut, {"valid": value}, where="split")


@dataclass(frozen=True)
class Pace:
    epochs: int = 8
    batch: int = 512


@dataclass(frozen=True)
class Round:
    pace: Pace = field(default_factory=lambda: Pace(epochs=3, batch=128))


@dataclass(frozen=True)
class Plan:
    round: Round = field(default_factory=lambda: Round(Pace(epochs=5, batch=64)))


def test_keys_left_out_of_a_nested_table_keep_the_fields_own_default():
    assert configured(Round, {"pace": {"epochs": 2}}, where="round") == Round(Pace(2, 128))
    assert configured(Plan, {"round": {"pace": {"epochs": 2}}}, where="plan") == Plan(Round(Pace(2, 64)))
    assert configured(Plan, {"round": {}}, where="plan") == Plan()
    assert configured(Pace, {"epochs": 2}, where="pace") == Pace(2, 512)
