"""The batch build of link facts: equal to the plain reference, and blind to whatever is not known yet."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.core.memory import LinkFact, Memory
from leanrisk.graph import link_graph
from leanrisk.graph.links import build_link_facts, link_fact_names
from tests.graph.link_books import WINDOWS, Edge, as_events, edges, link_of, reference

CAPS = st.sampled_from((1, 2, 3, 64))
HOPS = st.sampled_from((1, 2))


def built(book, asked, link) -> pl.DataFrame:
    return build_link_facts(Memory(links=(link,), windows=WINDOWS), link, as_events(book), as_events(asked))


@given(edges(), edges(most=12), CAPS, HOPS)
def test_batch_gives_what_the_definition_says(book, asked, cap, hops):
    link = link_of(hops, cap)
    frame = built(book, asked + book, link)
    assert frame.columns == list(link_fact_names(link, WINDOWS))
    assert set(frame.dtypes) == {pl.Float32}
    np.testing.assert_array_equal(frame.to_numpy(), reference(book, asked + book, link).reshape(frame.shape))


@given(edges(most=60), CAPS, st.integers(1, 40))
def test_a_walk_cut_into_stretches_of_time_gives_the_same(book, cap, most):
    link = link_of(2, cap)
    asked = [edge._replace(happened=edge.happened + later / 4) for later in (1, 9) for edge in book]
    whole = built(book, asked, link)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link_graph, "ways_at_once", lambda _accounts: most)
        assert whole.equals(built(book, asked, link), null_equal=True)


@given(edges(), st.integers(-12, 80), st.data(), CAPS)
def test_what_is_known_at_or_after_a_moment_never_changes_its_facts(book, quarter, data, cap):
    at = quarter / 4
    asked = [Edge(source, target, at) for source in range(7) for target in range(7)]
    others = data.draw(edges(most=10))
    changed = [edge for edge in book if edge.happened < at] + [edge for edge in others if edge.happened >= at]
    unknown = st.sampled_from((0.0, 1.0, math.nan))
    changed = [
        edge._replace(outcome=data.draw(unknown), known=max(at, edge.known)) if edge.known >= at else edge
        for edge in changed
    ]
    link = link_of(2, cap)
    np.testing.assert_array_equal(built(book, asked, link).to_numpy(), built(changed, asked, link).to_numpy())


def test_fan_in_and_fan_out_count_counterparties_met_anew_in_the_window():
    book = [Edge(payer, 9, payer / 100) for payer in range(1, 6)] + [Edge(9, payee, 3.0) for payee in (1, 2)]
    facts = built(book, [Edge(9, 8, 3.1), Edge(8, 9, 3.1), Edge(8, 9, 10.0)], link_of()).to_dicts()
    assert [facts[0][f"memory.transfer.fan_out_{window}"] for window in (1, 4, 16)] == [2, 2, 2]
    assert [facts[1][f"memory.transfer.fan_in_{window}"] for window in (1, 4, 16)] == [0, 5, 5]
    assert [facts[2][f"memory.transfer.fan_in_{window}"] for window in (1, 4, 16)] == [0, 0, 5]
    assert facts[0]["memory.transfer.out_degree"] == 2
    assert facts[0]["memory.transfer.in_degree"] == 5
    assert facts[1]["memory.transfer.in_degree_target"] == 5
    assert facts[1]["memory.transfer.out_degree_target"] == 2


def test_a_pair_that_meets_again_after_the_window_counts_as_met_anew():
    book = [Edge(1, 2, 0.0), Edge(1, 2, 0.5), Edge(1, 2, 5.0)]
    facts = built(book, [Edge(1, 3, 5.5)], link_of()).row(0, named=True)
    assert [facts[f"memory.transfer.fan_out_{window}"] for window in (1, 4, 16)] == [1, 1, 1]
    assert facts["memory.transfer.out_degree"] == 1


def test_a_cycle_is_seen_by_the_edge_that_closes_it():
    book = [Edge(1, 2, 0.0), Edge(2, 3, 1.0)]
    before, closing = built(book, [Edge(3, 1, 1.0), Edge(3, 1, 2.0)], link_of())["memory.transfer.cycles"]
    assert (before, closing) == (0, 1)


def test_scatter_gather_counts_the_accounts_between():
    book = [Edge(1, between, 0.0) for between in (2, 3, 4, 5)] + [Edge(between, 9, 1.0) for between in (2, 3, 4)]
    facts = built(book, [Edge(1, 9, 2.0), Edge(9, 1, 2.0)], link_of())
    assert facts["memory.transfer.scatter"].to_list() == [4 - 1, 0]
    assert facts["memory.transfer.cycles"].to_list() == [0, 3]


def test_risk_counts_bads_of_neighbours_and_not_those_shared_with_them():
    book = [
        Edge(1, 2, 0.0, 1.0, 1.0),
        Edge(2, 3, 0.5, 1.0, 1.0),
        Edge(2, 2, 0.6, 1.0, 1.0),
        Edge(3, 4, 0.7, 9.0, 1.0),
    ]
    facts = built(book, [Edge(1, 4, 2.0)], link_of(2)).row(0, named=True)
    figures = ("source_bads", "source_risk", "source_risk_2", "target_bads", "target_risk", "target_risk_2")
    assert [facts[f"memory.transfer.{name}"] for name in figures] == [1, 2, 0, 0, 1, 2]


def test_a_hub_is_looked_at_no_further_than_the_cap():
    book = [Edge(1, payee, payee / 100, 1.0 + payee / 100, 1.0) for payee in range(2, 40)]
    book += [Edge(payee, 90, 2.0, 2.5, 1.0, 10.0) for payee in range(2, 40)]
    facts = built(book, [Edge(1, 90, 3.0)], link_of(2, cap=5)).row(0, named=True)
    assert facts["memory.transfer.out_degree"] == 38
    assert facts["memory.transfer.scatter"] == 5
    assert facts["memory.transfer.source_chain"] == 38 + 5 * 10
    assert facts["memory.transfer.source_bads"] == 38
    assert facts["memory.transfer.source_risk"] == 5


def test_an_edge_to_itself_is_an_event_of_the_pair_and_nothing_else():
    book = [Edge(1, 1, 0.0, amount=4.0), Edge(1, 1, 1.0, amount=4.0), Edge(1, 2, 1.0), Edge(2, 1, 1.0)]
    facts = built(book, [Edge(1, 1, 3.0)], link_of(2)).row(0, named=True)
    shown = {name.rsplit(".", 1)[1]: value for name, value in facts.items()}
    assert (shown["pair_count"], shown["pair_recency"], shown["pair_new"]) == (2, 2, 0)
    assert (shown["back_count"], shown["back_share"]) == (2, 0.5)
    assert (shown["out_degree"], shown["in_degree"], shown["fan_out_16"]) == (1, 1, 1)
    assert (shown["cycles"], shown["scatter"], shown["source_chain"]) == (0, 0, 2)


def test_a_missing_end_leaves_all_facts_missing():
    facts = built([Edge(1, 2, 0.0), Edge(0, 2, 0.0)], [Edge(0, 2, 1.0), Edge(1, 0, 1.0), Edge(7, 2, 1.0)], link_of())
    assert np.isnan(facts.to_numpy()[:2]).all()
    assert facts["memory.transfer.in_degree_target"][2] == 1


def test_a_memory_without_events_and_without_questions_still_has_its_columns():
    assert built([], [], link_of(2)).shape == (0, len(link_fact_names(link_of(2), WINDOWS)))
    facts = built([], [Edge(1, 2, 0.0)], link_of(2))
    assert facts["memory.transfer.pair_new"].to_list() == [1]
    assert facts["memory.transfer.out_degree"].to_list() == [0]


@pytest.mark.parametrize("fact", LinkFact)
def test_each_family_alone_gives_the_columns_it_gives_among_all(fact):
    book = [Edge(1, 2, 0.0, 1.0, 1.0), Edge(2, 3, 0.5), Edge(3, 1, 0.75, amount=5.0)]
    link = link_of(2)
    alone = replace(link, facts=(fact,))
    frame = built(book, book, alone)
    assert frame.columns == list(link_fact_names(alone, WINDOWS))
    assert frame.equals(built(book, book, link).select(frame.columns), null_equal=True)
