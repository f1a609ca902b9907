"""Blocks of whole entities: every row is in one of them, and the facts do not depend on how a level is cut."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.graph import blocks as cutting
from leanrisk.graph import build
from leanrisk.graph.blocks import blocks
from leanrisk.graph.build import build_facts
from tests.graph.entity_books import MEMORY, as_events, books

KEYS = st.lists(st.integers(0, 6) | st.integers(0, 2**64 - 1), max_size=60).map(
    lambda keys: np.array(keys, dtype=np.uint64)
)


@given(KEYS, KEYS, st.integers(1, 80))
def test_blocks_hold_every_named_row_once_and_whole_entities(events, asked, rows):
    found = list(blocks(events, asked, rows=rows))
    assert sorted(row for _, its in found for row in its.tolist()) == np.flatnonzero(asked).tolist()
    owners = [set(events[own].tolist()) | set(asked[its].tolist()) for own, its in found]
    assert sum(map(len, owners)) == len(set().union(*owners))
    for own, its in found:
        met = np.isin(events, asked[its])
        assert set(np.flatnonzero(met)) <= set(own.tolist())


@given(KEYS, st.integers(1, 80))
def test_questions_that_are_the_events_share_their_rows(keys, rows):
    assert all(own is its for own, its in blocks(keys, keys, rows=rows))


@settings(deadline=None)
@given(books(), books(most=8), st.integers(1, 9))
def test_a_book_in_small_blocks_has_the_facts_of_the_whole(book, asked, rows):
    events, questions = as_events(book), as_events([*book, *asked])
    expected = build_facts(MEMORY, events, questions)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "BLOCK_ROWS", rows)
        patch.setattr(build, "_CHUNK_ROWS", rows)
        cut = build_facts(MEMORY, events, questions)
    np.testing.assert_allclose(cut.to_numpy(), expected.to_numpy(), rtol=1e-6)


@settings(deadline=None)
@given(books(), st.integers(0, 40))
def test_events_asked_at_another_moment_are_not_taken_for_themselves(book, wait):
    events = as_events(book)
    later = replace(events, happened=events.happened + wait / 4)
    copied = as_events([row._replace(happened=row.happened + wait / 4) for row in book])
    shared, apart = (build_facts(MEMORY, events, asked).to_numpy() for asked in (later, copied))
    np.testing.assert_allclose(shared, apart, rtol=1e-6)
