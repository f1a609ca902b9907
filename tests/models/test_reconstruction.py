"""Guessing masked fields: the loss is that of a plain loop over fields, and a masked field says nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.inputs import Fields, Inputs, TableLayout
from leanrisk.features.encoder import Encoder
from leanrisk.models.reconstruction import Reconstruction
from leanrisk.models.risk_config import preset_config
from leanrisk.models.risk_transformer import RiskTransformer
from tests.models.networks import made_fields, made_inputs, made_network

FIELDS = made_fields(7, 3)


def parts(
    fields: Fields = FIELDS, *, rows: int = 30, seed: int = 1
) -> tuple[RiskTransformer, Reconstruction, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a network, a head as large as a taught one, look-ups and a mask."""
    network = made_network("tiny", fields)
    generator = torch.Generator().manual_seed(seed)
    head = Reconstruction(network.config, fields)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    lookups = Encoder(fields).lookups(made_inputs(fields, rows, seed=seed))
    masked = torch.rand(rows, len(fields.names), generator=generator) < 0.4
    return network, head, torch.from_numpy(lookups.index), torch.from_numpy(lookups.weight), masked


def states_of(network: RiskTransformer, index: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network.below(index, weight, blocks=network.depth)[0]


def field_logits(
    network: RiskTransformer, head: Reconstruction, states: torch.Tensor, fields: Fields
) -> list[torch.Tensor]:
    """Return each field's logits over its own rows, field by field."""
    layout = TableLayout.of(fields)
    starts, pairs = [*layout.starts, layout.size], len(fields.numeric)
    found = []
    for place in range(len(fields.names)):
        token = network.config.lookup_tokens[2 * place if place < pairs else pairs + place]
        rows = slice(starts[place], starts[place + 1])
        found.append(head.norm(states)[:, token] @ head.weight[rows].T + head.bias[rows])
    return found


def look_ups(fields: Fields, place: int) -> list[int]:
    pairs = len(fields.numeric)
    return [2 * place, 2 * place + 1] if place < pairs else [pairs + place]


@settings(max_examples=8, deadline=None)
@given(numeric=st.integers(0, 12), category=st.integers(0, 4), seed=st.integers(0, 1000))
def test_the_loss_is_that_of_a_plain_loop(numeric, category, seed):
    if numeric + category == 0:
        return
    fields = made_fields(numeric, category, seed=seed)
    network, head, index, weight, masked = parts(fields, rows=9, seed=seed)
    states = states_of(network, index, head.seen(weight, masked))
    starts, expected = TableLayout.of(fields).starts, 0.0
    for place, logits in enumerate(field_logits(network, head, states, fields)):
        for row in torch.nonzero(masked[:, place]).flatten().tolist():
            chance = torch.log_softmax(logits[row].double(), dim=0)
            for column in look_ups(fields, place):
                expected -= float(weight[row, column] * chance[int(index[row, column]) - starts[place]].detach())
    assert float(head.loss(states, index, weight, masked).detach()) == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_a_masked_field_says_nothing():
    network, head, index, weight, masked = parts()
    other = Encoder(FIELDS).lookups(made_inputs(FIELDS, 30, seed=9))
    hidden = masked[:, head.field_of_lookup]
    changed = torch.where(hidden, torch.from_numpy(other.index), index)
    shares = torch.where(hidden, torch.from_numpy(other.weight), weight)
    before = states_of(network, index, head.seen(weight, masked))
    assert torch.equal(states_of(network, changed, head.seen(shares, masked)), before)
    assert not torch.equal(states_of(network, index, weight), before)
    assert torch.equal(head.seen(weight, torch.zeros_like(masked)), weight)


def test_a_missing_value_is_guessed_like_another():
    fields = made_fields(1, 0, codes=0)
    network, head, _, _, _ = parts(fields)
    empty = Encoder(fields).lookups(Inputs(np.full((1, 1), np.nan, np.float32), np.zeros((1, 0), np.int64)))
    index, weight = torch.from_numpy(empty.index), torch.from_numpy(empty.weight)
    masked = torch.ones(1, 1, dtype=torch.bool)
    states = states_of(network, index, head.seen(weight, masked))
    (logits,) = field_logits(network, head, states, fields)
    chance = torch.log_softmax(logits[0], dim=0)[0]
    assert float(head.loss(states, index, weight, masked).detach()) == pytest.approx(-float(chance.detach()), rel=1e-4)


def test_guesses_are_the_likeliest_rows():
    network, head, index, weight, masked = parts(rows=200)
    states = states_of(network, index, head.seen(weight, masked))
    guessed, starts = head.guessed(states, index, weight), TableLayout.of(FIELDS).starts
    assert 0 < int(guessed.sum()) < guessed.numel()
    for place, logits in enumerate(field_logits(network, head, states, FIELDS)):
        best = logits.argmax(dim=1) + starts[place]
        columns = look_ups(FIELDS, place)
        reads = (index[:, columns] == best[:, None]) & (weight[:, columns] >= 0.5)
        assert torch.equal(guessed[:, place], reads.any(dim=1))


def test_the_commonest_row_is_that_of_most_rows():
    _, head, index, weight, _ = parts(rows=300)
    usual = head.commonest(index, weight)
    for place in range(len(FIELDS.names)):
        columns = look_ups(FIELDS, place)
        counts = torch.bincount(index[:, columns][weight[:, columns] >= 0.5])
        assert counts[usual[place]] == counts.max()
    shares = head.reads(index, weight, usual).float().mean(dim=0)
    assert bool((shares > 0).all())


def test_a_gradient_reaches_table_blocks_and_head():
    network, head, index, weight, masked = parts()
    states = network.below(index, head.seen(weight, masked), blocks=network.depth)[0]
    head.loss(states, index, weight, masked).backward()
    own = {name: p for name, p in network.named_parameters() if name.startswith(("table", "body.position", "body.bl"))}
    assert len(own) > 50
    for parameter in (*own.values(), *head.parameters()):
        assert parameter.grad is not None
        assert float(parameter.grad.abs().sum()) > 0


def test_only_a_transformer_body_can_be_pre_trained():
    with pytest.raises(ConfigError, match="Only a transformer body.*preset tiny, mid or base"):
        Reconstruction(preset_config("swift", FIELDS), FIELDS)


def test_fields_of_another_network_are_refused():
    with pytest.raises(ModelError, match="must belong together"):
        Reconstruction(preset_config("tiny", FIELDS), made_fields(6, 3))
