"""The books of benchmark C7: what a memory knew is known in time, and a frozen memory has learned nothing since."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from benchmarks.remembered import books
from benchmarks.remembered.books import FAMILIES
from benchmarks.remembered.drift import _as_of, _frozen, _taught
from leanrisk.data.load import load
from leanrisk.data.simulate.card.payments import CardSize, card_schema, simulate_card
from leanrisk.graph.events import events_of
from leanrisk.graph.recall import recalled, remembered


@pytest.fixture(scope="module")
def payments():
    schema = card_schema()
    book = recalled(load(simulate_card(CardSize(8000, share=0.02, seed=3)), schema))
    return book, events_of(book.frame, schema, remembered(schema))


@pytest.mark.parametrize("maker", [books.payments, books.transfers])
def test_every_fact_is_of_one_family_and_none_is_a_plain_feature(maker):
    book = maker(False)
    held = [fact for name in FAMILIES for fact in book.family(name)]
    assert sorted(held) == sorted(book.facts)
    assert not set(book.plain) & set(book.facts)
    last, first = book.train.frame["time"].max(), book.test.frame["time"].min()
    assert last < first


def test_a_frozen_memory_knows_what_was_known_at_the_launch_and_no_more(payments):
    book, events = payments
    launch = float(np.quantile(events.happened, 0.6))
    frozen = _frozen(book, events, launch)
    before, after = events.happened < launch, events.happened > launch + 31
    facts = list(book.schema.facts)
    assert (
        frozen.frame.filter(pl.Series(before)).select(facts).equals(book.frame.filter(pl.Series(before)).select(facts))
    )
    # Nobody is seen to pay once the memory stands still.
    counts = [name for name in facts if ".count_" in name]
    told = frozen.frame.filter(pl.Series(after)).select(counts).fill_nan(0.0)
    assert float(np.max(told.to_numpy())) == 0.0
    past = _as_of(events, launch)
    assert (past.happened < launch).all()
    assert np.isnan(past.outcome[~np.isfinite(past.known)]).all()


def test_rows_too_young_for_an_outcome_teach_nothing_whatever_theirs_was(payments):
    _, events = payments
    at = float(np.quantile(events.happened, 0.8))
    taught = _taught(events, at, 45.0)
    assert taught.any()
    assert events.happened[taught].max() < at - 45.0
    assert events.known[taught].max() < at
