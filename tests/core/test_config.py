"""Settings: literals, and what is said of a value that is none of them."""

from dataclasses import dataclass
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
