"""The state of a link that serves: equal to the batch build and the reference, kept and read back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.core.errors import BundleError
from leanrisk.core.memory import Memory
from leanrisk.graph.link_state import LinkState
from leanrisk.graph.links import build_link_facts, link_fact_names
from tests.graph.link_books import NAME, WINDOWS, Edge, as_events, edges, link_of, reference

CAPS = st.sampled_from((1, 2, 3, 64))
HOPS = st.sampled_from((1, 2))


def memory_of(link) -> Memory:
    return Memory(links=(link,), windows=WINDOWS)


def replayed(book, asked, link, kept_after: int | None = None) -> np.ndarray:
    """Facts of every asked edge, looked up between the facts told in order of time; kept and read back on the way."""
    state = LinkState(memory_of(link), link)
    told = [(edge.happened, 0, edge.happened, place) for place, edge in enumerate(book)]
    told += [(edge.known, 1, edge.happened, place) for place, edge in enumerate(book) if np.isfinite(edge.known)]
    told.sort()
    facts: dict[int, np.ndarray] = {}
    for place in sorted(range(len(asked)), key=lambda place: asked[place].happened):
        at = asked[place].happened
        while told and told[0][0] < at:
            _, is_outcome, _, row = told.pop(0)
            edge = book[row]
            if is_outcome:
                state.known(edge.source, edge.target, edge.known, edge.outcome == 1, edge.happened)
            else:
                state.happened(edge.source, edge.target, edge.happened, edge.amount)
        if kept_after is not None and len(facts) == kept_after:
            state = LinkState.of(memory_of(link), link, state.arrays())
        facts[place] = state.lookup(asked[place].source, asked[place].target, at)
    return np.array([facts[place] for place in range(len(asked))], dtype=np.float32)


@given(edges(), edges(most=12), CAPS, HOPS, st.integers(0, 20))
def test_state_batch_and_definition_agree(book, asked, cap, hops, kept_after):
    link, asked = link_of(hops, cap), asked + book
    served = replayed(book, asked, link, kept_after)
    batch = build_link_facts(memory_of(link), link, as_events(book), as_events(asked)).to_numpy()
    np.testing.assert_array_equal(served.reshape(batch.shape), batch)
    np.testing.assert_array_equal(served, reference(book, asked, link))


@given(edges(), CAPS)
def test_update_tells_events_and_outcomes_in_the_order_in_which_they_became_known(book, cap):
    link = link_of(2, cap)
    state = LinkState(memory_of(link), link)
    state.update(as_events(book))
    asked = [Edge(source, target, 40.0) for source in range(7) for target in range(7)]
    facts = [state.lookup(edge.source, edge.target, edge.happened) for edge in asked]
    np.testing.assert_array_equal(np.array(facts), reference(book, asked, link))


def test_batch_and_state_agree_on_a_book_with_hubs_and_fractions():
    random = np.random.default_rng(7)
    size = 3000
    ends = np.minimum(random.pareto(0.7, (2, size)) * 3, 199).astype(int) + 1
    moments = np.sort(random.random(size) * 300)
    bads = random.random(size) < 0.2
    book = [
        Edge(int(source), int(target), float(at), float(at + delay), float(bad), float(np.float32(amount)))
        for source, target, at, delay, bad, amount in zip(
            *ends, moments, random.random(size) * 30, bads, random.lognormal(size=size), strict=True
        )
    ]
    link, asked = link_of(2, 16), book[-500:]
    batch = build_link_facts(memory_of(link), link, as_events(book), as_events(asked))
    # Sums of fractions may differ in the last digit: a batch adds up ways in another order.
    np.testing.assert_allclose(replayed(book, asked, link, 250), batch.to_numpy(), rtol=1e-6)


def test_an_account_never_seen_has_the_facts_of_an_empty_book():
    link = link_of(2)
    state = LinkState(memory_of(link), link)
    empty = state.lookup(5, 6, 1.0)
    state.update(as_events([Edge(1, 2, 0.0, 0.5, 1.0)]))
    np.testing.assert_array_equal(state.lookup(5, 6, 1.0), empty)
    assert np.isnan(state.lookup(0, 2, 1.0)).all()


def test_a_late_event_is_counted_and_turns_no_clock_back():
    link = link_of()
    state = LinkState(memory_of(link), link)
    state.happened(1, 2, 10.0, 1.0)
    state.happened(1, 2, 2.0, 1.0)
    state.happened(1, 3, 8.0, 1.0)
    facts = dict(zip(link_fact_names(link, WINDOWS), state.lookup(1, 2, 10.5), strict=True))
    assert facts[f"memory.{NAME}.pair_count"] == 2
    assert facts[f"memory.{NAME}.pair_recency"] == 0.5
    assert [facts[f"memory.{NAME}.fan_out_{window}"] for window in (1, 4, 16)] == [1, 2, 2]


def test_a_state_kept_under_another_cap_or_other_windows_is_refused():
    kept = LinkState(memory_of(link_of()), link_of()).arrays()
    with pytest.raises(BundleError, match="Build the memory anew"):
        LinkState.of(memory_of(link_of(cap=3)), link_of(cap=3), kept)
