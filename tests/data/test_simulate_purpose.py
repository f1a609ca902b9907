"""Sentences on the purpose of a loan: the same for the same seed, telling, and no change to the rest of the book."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from leanrisk.cli.main import main
from leanrisk.core.errors import ConfigError
from leanrisk.core.schema import Kind, Role, Schema
from leanrisk.data.contract import check
from leanrisk.data.infer import inspect_table
from leanrisk.data.kinds import kind_of
from leanrisk.data.simulate.sme import simulate_sme, sme_schema
from leanrisk.pipelines.recipe import SimulatedData
from leanrisk.scenarios.books import simulated_book

ROWS = 20_000


@pytest.fixture(scope="module")
def book():
    """A book with purposes."""
    return simulate_sme(rows=ROWS, features=20, seed=5, text=True)


def test_the_rest_of_the_book_stays_as_it_is(book):
    assert simulate_sme(rows=ROWS, features=20, seed=5).equals(book.drop("purpose"))
    again = simulate_sme(rows=ROWS, features=20, seed=5, text=True, workers=1)
    assert again["purpose"].equals(book["purpose"])


def test_the_schema_and_inspection_call_it_text(book):
    schema = sme_schema(features=20, text=True)
    assert check(book, schema) == ()
    assert (schema["purpose"].kind, schema["purpose"].role) == (Kind.TEXT, Role.FEATURE)
    assert kind_of(book["purpose"]) is Kind.TEXT
    inferred = inspect_table(book.drop("_true_pd"), target="bad").schema["purpose"]
    assert (inferred.kind, inferred.role) == (Kind.TEXT, Role.FEATURE)
    assert "purpose" not in sme_schema(features=20)


def test_some_words_tell_of_risk_and_some_fields_are_empty(book):
    tense = book["purpose"].str.contains("missed twice|overdue taxes|欠税").fill_null(False).to_numpy()
    calm = book["purpose"].str.contains("pay in advance|no other debt|预付款").fill_null(False).to_numpy()
    bad = book["bad"].to_numpy()
    shares = [float(bad[mask].mean()) for mask in (tense, calm)]
    error = np.sqrt(sum(share * (1 - share) / mask.sum() for share, mask in zip(shares, (tense, calm), strict=True)))
    assert shares[0] - shares[1] > 1.96 * error
    assert 0.02 < book["purpose"].is_null().mean() < 0.04
    assert 0.17 < book["purpose"].str.contains(r"\p{Han}").mean() < 0.23


def test_the_command_and_the_recipe_ask_for_it(tmp_path, capsys):
    file = tmp_path / "book.parquet"
    assert main(["simulate", "sme", "-o", str(file), "--rows", "500", "--features", "20", "--text"]) == 0
    assert pl.read_parquet(file)["purpose"].dtype == pl.String
    assert Schema.read(tmp_path / "book.schema.toml")["purpose"].kind is Kind.TEXT
    assert "purpose" in simulated_book(SimulatedData(rows=500, features=20, text=True), seed=1).schema
    with pytest.raises(ConfigError, match="text"):
        SimulatedData(book="card", text=True)
