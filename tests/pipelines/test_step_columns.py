"""A step that names a column which is none ends a job before it has cost anything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leanrisk.core.errors import ConfigError
from leanrisk.pipelines.job import Job
from leanrisk.pipelines.recipe import Step
from tests.pipelines.tiny import SEED, loan_data, tiny_recipe


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (
            Step("select", {"keep": ["income", "dept"]}),
            "select.keep names columns of the data: 'dept' is none. Did you",
        ),
        (Step("select", {"weights": "zzzzzz"}, label="first"), "first.weights names columns of the data: 'zzzzzz'"),
        (Step("synthesize", {"segment": ["sektor"]}), "Did you mean 'sector'?"),
    ],
)
def test_a_column_that_is_none_is_told_before_anything_is_trained(tmp_path, step, said):
    with pytest.raises(ConfigError, match="names columns of the data") as caught:
        Job.open(loan_data(), replace(tiny_recipe(), steps=(step,)), out=tmp_path / "run", seed=SEED)
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_columns_and_what_earlier_steps_add_are_taken(tmp_path):
    step = Step("select", {"keep": ["income", "memory.bank.rate", "text:purpose"]})
    assert Job.open(loan_data(), replace(tiny_recipe(), steps=(step,)), out=tmp_path, seed=SEED).recipe.steps == (step,)
