"""The simulated books that scenarios run on where no file is named, and the memories that come with them."""

from __future__ import annotations

import tomllib

import pytest

from leanrisk.core.errors import ConfigError
from leanrisk.core.schema import Schema
from leanrisk.data.load import load
from leanrisk.pipelines.recipe import Recipe, SimulatedData
from leanrisk.scenarios.books import simulated_book
from leanrisk.scenarios.catalogue import is_market, load_scenario, load_schema, scenario_names

SMALL = {
    "sme": SimulatedData(rows=900, features=20),
    "card": SimulatedData("card", 4000, accounts=120, share=0.02),
    "aml": SimulatedData("aml", 12_000, accounts=600, share=0.01),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_book_is_whole_and_the_same_by_seed(name):
    asked = SMALL[name]
    book = simulated_book(asked, seed=4)
    assert load(book.frame, book.schema).rows == asked.rows
    assert book.frame.equals(simulated_book(asked, seed=4).frame)
    assert not book.frame.equals(simulated_book(asked, seed=5).frame)
    assert Schema.from_dict(tomllib.loads(book.schema.to_toml())) == book.schema


def test_sizes_and_shares_reach_the_simulator():
    payments, transfers = (simulated_book(SMALL[name], seed=1).frame for name in ("card", "aml"))
    assert payments["customer_id"].n_unique() <= 120
    assert 0.01 < payments["is_fraud"].to_numpy().mean() < 0.03
    assert transfers["from_account"].n_unique() <= 600
    assert 0.005 < transfers["is_laundering"].to_numpy().mean() < 0.015
    with pytest.raises(ConfigError, match="500 to"):
        simulated_book(SimulatedData("aml", 1000), seed=1)


@pytest.mark.parametrize("name", [name for name in scenario_names() if not is_market(name)])
@pytest.mark.parametrize("preset", ["smoke", "standard", "full"])
def test_alert_columns_of_a_scenario_are_columns_of_its_book(name, preset):
    recipe = Recipe.from_dict(load_scenario(name), preset=preset)
    asked = {recipe.measure.amount, recipe.measure.case} - {""}
    assert bool(asked) == (name in ("aml", "card-fraud"))
    if asked and recipe.data is not None:
        assert asked <= set(simulated_book(SMALL[recipe.data.book], seed=1).schema.by_name)


@pytest.mark.parametrize("name", ["sba_loans", "card_fraud_handbook"])
def test_shipped_memories_are_read_and_written(name):
    schema = load_schema(name)
    assert schema.memory is not None
    assert set(schema.memory.columns) <= set(schema.by_name)
    assert not set(schema.memory.columns) & {schema.target}
    assert Schema.from_dict(tomllib.loads(schema.to_toml())) == schema
