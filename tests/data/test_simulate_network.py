"""The network of a simulated book: edges that fit its firms, known in time, and risk that runs along them."""

import datetime as dt
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from leanrisk.core.metrics import ks
from leanrisk.data.load import load
from leanrisk.data.simulate.network import EDGES
from leanrisk.data.simulate.sme import simulate_sme, sme_edges, sme_schema
from leanrisk.graph.recall import edges_with, recalled

ROWS, SEED = 30_000, 7


@pytest.fixture(scope="module")
def book():
    return simulate_sme(rows=ROWS, features=20, seed=SEED, network=True)


@pytest.fixture(scope="module")
def tables():
    return sme_edges(rows=ROWS, seed=SEED)


def test_the_tables_fit_what_the_schema_says_of_them(book, tables):
    schema = sme_schema(features=20, edge_files={})
    dataset = replace(load(book, schema), tables=tables)
    edges = edges_with(dataset)
    assert set(edges) == {table.name for table in EDGES}
    assert all(edges[name].rows == table.height for name, table in tables.items())
    assert set(tables["address"]["firm_id"]) <= set(book["firm_id"])


def test_a_network_changes_who_turns_bad_and_nothing_that_is_seen_before(book):
    plain = simulate_sme(rows=ROWS, features=20, seed=SEED)
    after = ("bad", "outcome_date", "_true_pd", "collections_calls", "recovered_share", "account_closed_date")
    assert plain.drop(after).equals(book.drop(after), null_equal=True)
    assert 0.037 < book["bad"].mean() < 0.063
    assert not plain["bad"].equals(book["bad"])


def test_the_same_seed_gives_the_same_network(tables):
    again = sme_edges(rows=ROWS, seed=SEED)
    assert all(again[name].equals(table, null_equal=True) for name, table in tables.items())
    assert not sme_edges(rows=ROWS, seed=SEED + 1)["address"].equals(tables["address"])


def test_edges_are_known_before_the_first_loan_of_their_firm(book, tables):
    first = book.group_by("firm_id").agg(pl.col("decision_date").min())
    for name, time in (("guarantees", "signed"), ("ownership", "since"), ("address", "since")):
        joined = tables[name].join(first, on="firm_id")
        assert joined.height
        assert (joined[time] < joined["decision_date"]).all()
    sold = tables["ownership"].drop_nulls("until")
    assert 0.05 < sold.height / tables["ownership"].height < 0.2
    assert (sold["until"] > sold["since"]).all()
    assert sold["until"].min() >= dt.date(2016, 1, 1)


def test_firms_of_one_owner_share_their_risk(book, tables):
    schema = sme_schema(features=20, edge_files={})
    told = recalled(replace(load(book, schema), tables=tables))
    bad, newest = told.labels, np.arange(ROWS) > ROWS // 2
    risk = told.frame["memory.ownership.risk_2"].to_numpy()
    known = newest & (told.frame["memory.ownership.known_2"].to_numpy() > 0)
    rng = np.random.default_rng(0)
    chance = [ks(rng.permutation(bad[known]), risk[known]) for _ in range(99)]
    assert ks(bad[known], risk[known]) > max(chance)
