"""Drift seen through the blocks: none between halves of one sample, much after a shift, and what it means for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.core.errors import LeanRiskError
from leanrisk.core.inputs import Inputs, Lookups
from leanrisk.features.encoder import Encoder
from leanrisk.models.state_drift import lowered, state_drift
from tests.models.networks import made_fields, made_inputs, made_network

FIELDS = made_fields()
ROWS = made_inputs(FIELDS, 2400)


def lookups(inputs: Inputs) -> Lookups:
    return Encoder(FIELDS).lookups(inputs)


@pytest.mark.parametrize(("preset", "depth"), [("tiny", 6), ("mid", 12), ("swift", 0)])
def test_two_halves_of_one_sample_have_not_drifted(preset, depth):
    network = made_network(preset, FIELDS)
    found = state_drift(network, lookups(ROWS.take(slice(0, 1200))), lookups(ROWS.take(slice(1200, None))))
    assert len(found) == depth + 1
    assert all(0 <= drift < 0.05 for drift in found)
    same = state_drift(network, lookups(ROWS), lookups(ROWS))
    assert same == (0.0,) * (depth + 1)


def test_a_shift_is_seen_through_every_block():
    network = made_network("tiny", FIELDS)
    shifted = Inputs(ROWS.numeric * 4, np.zeros_like(ROWS.category))
    found = state_drift(network, lookups(ROWS), lookups(shifted))
    assert all(drift > 0.25 for drift in found)


def test_rows_are_taken_from_all_of_a_side():
    """A side that begins as the other one and then turns has drifted, however long it is."""
    network = made_network("tiny", FIELDS)
    late = Inputs(ROWS.numeric.copy(), ROWS.category.copy())
    late.numeric[1100:] *= 4
    late.category[1100:] = 0
    assert state_drift(network, lookups(ROWS), lookups(late))[0] > 0.1


def test_it_leaves_the_network_as_it_was():
    network = made_network("tiny", FIELDS)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    world = torch.get_rng_state()
    state_drift(network, lookups(ROWS.take(slice(0, 50))), lookups(ROWS.take(slice(50, 60))))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(world, torch.get_rng_state())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_one_row_can_be_compared_and_none_is_an_error_of_ours():
    network = made_network("tiny", FIELDS)
    one = lookups(ROWS.take(slice(0, 1)))
    assert np.isfinite(state_drift(network, one, one)).all()
    for old, new in ((0, 5), (5, 0)):
        with pytest.raises(LeanRiskError, match="no-rows"):
            state_drift(network, lookups(ROWS.take(slice(0, old))), lookups(ROWS.take(slice(0, new))))


@pytest.mark.parametrize(
    ("start", "drifts", "expected"),
    [
        (4, (0.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1), 4),
        (4, (0.0, 0.1, 0.1, 0.3, 0.1, 0.1, 0.1), 2),  # what the third block makes has drifted: two stay
        (4, (0.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.9), 4),  # above the frontier they learn anyhow
        (4, (0.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0), 0),
        (4, (0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0),
        (0, (0.0, 0.0), 0),
        (3, (), 0),
    ],
)
def test_blocks_that_read_or_make_what_has_drifted_learn_again(start, drifts, expected):
    assert lowered(start, drifts, 0.25) == expected


DRIFTS = st.lists(st.floats(0, 2), min_size=1, max_size=13)


@given(start=st.integers(0, 12), drifts=DRIFTS, one=st.floats(0.001, 2), other=st.floats(0.001, 2))
def test_a_wider_limit_never_lowers_the_frontier(start, drifts, one, other):
    near, far = sorted((one, other))
    low, high = lowered(start, drifts, near), lowered(start, drifts, far)
    assert 0 <= low <= high <= start
    assert all(drift <= far for drift in drifts[: high + 1] if high)
