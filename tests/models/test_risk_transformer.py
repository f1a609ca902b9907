"""The network: its presets, its sizes, its way to disk and back, and room for LoRA."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from leanrisk.core.dataset import Dataset, conform
from leanrisk.core.errors import ConfigError
from leanrisk.core.inputs import Fields
from leanrisk.data.simulate.sme import simulate_sme, sme_schema
from leanrisk.features.encoder import Encoder, EncoderConfig
from leanrisk.models.risk_config import RiskTransformerConfig, preset_config
from leanrisk.models.risk_transformer import Attention, Block, RiskTransformer
from tests.models.networks import PEFT_LAGS_BEHIND, logits_of, made_fields, made_inputs, made_network

FIELDS = made_fields(9, 4)
PRESETS = ("swift", "tiny")


def book_fields(features: int) -> Fields:
    """Fields of a simulated loan book, read as finely as the encoder can."""
    schema = sme_schema(features=features)
    frame = conform(simulate_sme(rows=3000, features=features, seed=1), schema)
    return Encoder.fit(Dataset(frame, schema), EncoderConfig(bins=255)).fields


@pytest.mark.parametrize("preset", PRESETS)
def test_it_gives_one_logit_per_row_and_the_mean_of_its_members(preset):
    network = made_network(preset, FIELDS)
    lookups = Encoder(FIELDS).lookups(made_inputs(FIELDS, 33))
    output = network(torch.from_numpy(lookups.index), torch.from_numpy(lookups.weight))
    assert output.logits.shape == (33,)
    assert output.member_logits.shape == (network.config.members, 33)
    torch.testing.assert_close(output.logits, output.member_logits.mean(dim=0))
    assert output.logits.std() > 0.1


@pytest.mark.parametrize("preset", PRESETS)
def test_zero_rows_give_zero_logits(preset):
    lookups = Encoder(FIELDS).lookups(made_inputs(FIELDS, 0))
    assert logits_of(made_network(preset, FIELDS), lookups).shape == (0,)


@pytest.mark.parametrize(("features", "millions"), [(114, 0.96), (217, 1.72)])
def test_tiny_has_six_blocks_and_eight_tokens_and_keeps_its_parameters_in_the_table(features, millions):
    network = RiskTransformer(preset_config("tiny", book_fields(features)))
    assert sum(isinstance(module, Block) for module in network.modules()) == 6
    assert network.config.tokens == network.table.tokens == 8
    assert network.num_parameters() == pytest.approx(millions * 1e6, rel=0.02)
    assert network.num_parameters() - network.table.weight.numel() == 6 * 18_960 + 8 * 48 + 2 * 48 + 49


@pytest.mark.parametrize("preset", PRESETS)
def test_it_comes_back_from_disk_bit_for_bit(preset, tmp_path):
    network = made_network(preset, FIELDS)
    network.save_pretrained(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    again = RiskTransformer.from_pretrained(tmp_path, local_files_only=True)
    for (name, saved), (name_again, loaded) in zip(
        network.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert name == name_again
        assert torch.equal(saved, loaded), name
    lookups = Encoder(FIELDS).lookups(made_inputs(FIELDS, 50))
    # Where a weight lies in memory decides how a kernel rounds the last bit.
    np.testing.assert_allclose(logits_of(again, lookups), logits_of(network, lookups), atol=2e-6)


@pytest.mark.parametrize("tokens", [1, 8, 15, 16, 20])
def test_attention_is_the_textbook_one_for_any_number_of_tokens(tokens):
    drawn = torch.Generator().manual_seed(1)
    attention = Attention(24, 3)
    states = torch.randn(5, tokens, 24, generator=drawn)
    query, key, value = attention.query_key_value(states).view(5, tokens, 3, 3, 8).permute(2, 0, 3, 1, 4)
    share = functional.softmax(query @ key.transpose(-1, -2) / 8**0.5, dim=-1)
    expected = attention.dense((share @ value).transpose(1, 2).reshape(5, tokens, 24))
    torch.testing.assert_close(attention(states), expected, rtol=1e-5, atol=1e-5)


def test_fewer_fields_than_tokens_get_a_token_each():
    fields = made_fields(2, 1)
    config = preset_config("tiny", fields)
    assert config.tokens == 3
    assert config.lookup_tokens == [0, 0, 1, 1, 2]
    assert np.isfinite(logits_of(RiskTransformer(config), Encoder(fields).lookups(made_inputs(fields, 4)))).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 10, "heads": 3}, "width"),
        ({"body": "lstm"}, "lstm"),
        ({"members": 2}, "members"),
        ({"lookup_tokens": [1, 0]}, "lookup_tokens"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        RiskTransformerConfig(**settings)


def test_an_unknown_preset_and_no_fields_are_refused():
    with pytest.raises(ConfigError, match="huge"):
        preset_config("huge", FIELDS)
    with pytest.raises(ConfigError, match="at least one feature"):
        preset_config("tiny", Fields((), ()))


@PEFT_LAGS_BEHIND
def test_lora_adapts_the_attention_and_nothing_else():
    import peft

    network = made_network("tiny", FIELDS)
    lookups = Encoder(FIELDS).lookups(made_inputs(FIELDS, 20))
    before = logits_of(network, lookups)
    config = peft.LoraConfig(r=16, lora_alpha=32, target_modules=["query_key_value"], bias="none")
    adapted = peft.get_peft_model(network, config)
    trainable = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    assert len(trainable) == 12
    assert all("query_key_value.lora_" in name for name in trainable)
    assert sum(p.numel() for p in trainable.values()) == 6 * 16 * (48 + 3 * 48)
    np.testing.assert_array_equal(logits_of(adapted, lookups), before)
    adapted(torch.from_numpy(lookups.index), torch.from_numpy(lookups.weight)).logits.sum().backward()
    assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in trainable.values())
