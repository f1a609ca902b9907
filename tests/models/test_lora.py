"""The article's snippet with the import changed, and what stands behind its `query_key_value`."""

import peft
import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from leanrisk.core.errors import ModelError
from leanrisk.features.encoder import Encoder
from leanrisk.models.lora import attention_targets
from leanrisk.models.risk_config import preset_config
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.peft import LoraConfig, get_peft_model
from tests.models.networks import PEFT_LAGS_BEHIND, made_fields, made_inputs, made_network

FIELDS = made_fields(4, 1, codes=0)


def test_the_snippet_runs_as_written():
    base_model = made_network("tiny", FIELDS)
    config = LoraConfig(r=16, lora_alpha=32, target_modules=["query_key_value"], bias="none")
    model = get_peft_model(base_model, config)
    assert isinstance(model, peft.PeftModel)
    assert model.get_base_model() is base_model
    trained, everything = model.get_nb_trainable_parameters()
    assert trained == 6 * 16 * (48 + 3 * 48) < everything
    lookups = Encoder(FIELDS).lookups(made_inputs(FIELDS, 3))
    assert model(torch.from_numpy(lookups.index), torch.from_numpy(lookups.weight)).logits.shape == (3,)
    model.print_trainable_parameters()
    assert list(config.target_modules or ()) == ["query_key_value"]


def test_the_large_preset_trains_one_percent():
    with torch.device("meta"):
        model = RiskTransformer(preset_config("base", FIELDS))
        wrapped = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=["query_key_value"]))
    trained, everything = wrapped.get_nb_trainable_parameters()
    assert trained / everything < 0.01


@pytest.mark.parametrize(
    ("names", "targets", "meant"),
    [
        (["query_key_value", "query"], ["query_key_value"], ["query_key_value"]),
        (["query", "key", "value", "dense"], ["query_key_value"], ["key", "query", "value"]),
        (
            ["q_proj", "k_proj", "v_proj", "o_proj"],
            ["query_key_value", "o_proj"],
            ["k_proj", "o_proj", "q_proj", "v_proj"],
        ),
        (
            ["q_proj", "kv_a_proj_with_mqa", "kv_b_proj"],
            ["query_key_value"],
            ["kv_a_proj_with_mqa", "kv_b_proj", "q_proj"],
        ),
        (["q_lin", "k_lin", "v_lin", "out_lin"], ["query_key_value"], ["k_lin", "q_lin", "v_lin"]),
        (["qkv_proj", "gate_up_proj"], ["query_key_value"], ["qkv_proj"]),
        (["Wqkv", "Wo"], ["query_key_value"], ["Wqkv"]),
        (["up", "down"], ["down"], ["down"]),
    ],
)
def test_the_attention_is_found_by_its_names(names, targets, meant):
    network = nn.ModuleDict({"block": nn.ModuleDict({name: nn.Linear(2, 2) for name in names})})
    assert attention_targets(network, targets) == meant


def test_modules_that_are_not_linear_do_not_count_as_attention():
    network = nn.ModuleDict({"a": nn.ModuleDict({"query": nn.LayerNorm(2), "key": nn.Linear(2, 2)})})
    assert attention_targets(network, ["query_key_value"]) == ["key"]


def test_a_network_without_attention_is_refused_by_what_it_has():
    with pytest.raises(ModelError, match=r"query_key_value.*linear modules are: 0, 2\."):
        get_peft_model(
            nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), LoraConfig(target_modules=["query_key_value"])
        )
    swift = made_network("swift", FIELDS)
    with pytest.raises(ModelError, match="linear modules are: none"):
        get_peft_model(swift, LoraConfig(target_modules=["query_key_value"]))


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        (["head"], "'head' is a MemberLinear"),
        (["mlp_norm"], "'mlp_norm' is a LayerNorm"),
        (["blocks"], "'blocks' is a ModuleList"),
        (["nonsense"], "none here is called 'nonsense'"),
        (["query_key_value", "nonsense"], "none here is called 'nonsense'"),
        (["query_key_value", "mlp_norm"], "'mlp_norm' is a LayerNorm"),
        ([], "target_modules is empty"),
    ],
)
def test_every_target_must_be_a_linear_module_that_exists(targets, told):
    network = made_network("tiny", FIELDS)
    before = [name for name, _ in network.named_modules()]
    with pytest.raises(ModelError, match=f"{told}.*linear modules are: dense, mlp_down, mlp_up, query_key_value"):
        get_peft_model(network, LoraConfig(target_modules=targets))
    assert [name for name, _ in network.named_modules()] == before


def test_attention_that_is_asked_for_beside_others_must_be_there():
    network = nn.ModuleDict({"up": nn.Linear(2, 2), "down": nn.Linear(2, 2)})
    with pytest.raises(ModelError, match=r"called 'query_key_value', nor .*linear modules are: down, up"):
        attention_targets(network, ["down", "query_key_value"])


@PEFT_LAGS_BEHIND
@pytest.mark.parametrize("targets", [".*nonsense", ".*mlp_norm"])
def test_a_pattern_that_fits_nothing_that_can_be_adapted_is_refused_likewise(targets):
    with pytest.raises(ModelError, match=r"target_modules '\.\*.*linear modules are: dense"):
        get_peft_model(made_network("tiny", FIELDS), LoraConfig(target_modules=targets))


def test_what_else_peft_adapts_is_left_to_it():
    network = nn.ModuleDict({"words": nn.Embedding(5, 2), "c_attn": Conv1D(6, 2)})
    assert attention_targets(network, ["words", "c_attn"]) == ["c_attn", "words"]
