"""An adapter: an immutable value that fits one base, and files that peft reads too."""

import json
import pickle
from copy import deepcopy
from dataclasses import FrozenInstanceError
from types import MappingProxyType

import numpy as np
import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from leanrisk.core.errors import ModelError
from leanrisk.features.encoder import Encoder
from leanrisk.models.adapter import FACTS, SETTINGS, WEIGHTS, Adapter, network_digest
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import train
from leanrisk.models.training_config import TrainingConfig
from tests.models.networks import PEFT_LAGS_BEHIND, logits_of, made_fields, made_inputs, made_network, ruled_lesson

FIELDS = made_fields(4, 1, codes=0)
LOOKUPS = Encoder(FIELDS).lookups(made_inputs(FIELDS, 40))
BASE = made_network("tiny", FIELDS)
SHORT = TrainingConfig(epochs=2, batch=64, threads=1)


def weights_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def drawn(seed, *, rank=4, alpha=8.0, network=BASE):
    """Return an adapter that says something: B is drawn too."""
    start = Adapter.fresh(network, rank=rank, alpha=alpha, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    taught = {name: w + 0.1 * torch.randn(w.shape, generator=generator) for name, w in start.weights.items()}
    return Adapter(start.settings, taught, start.base)


@pytest.fixture
def saved(tmp_path):
    drawn(3).save(tmp_path)
    return tmp_path


def test_a_fresh_adapter_changes_nothing_and_comes_from_its_seed():
    before = weights_of(BASE)
    fresh = Adapter.fresh(BASE, rank=4, alpha=8, seed=1)
    np.testing.assert_array_equal(logits_of(fresh.attached(BASE), LOOKUPS), logits_of(BASE, LOOKUPS))
    assert fresh.parameters == 6 * 4 * (48 + 3 * 48)
    assert 4 * fresh.parameters < fresh.size_bytes < 4 * fresh.parameters + 4096
    assert fresh.digest == Adapter.fresh(BASE, rank=4, alpha=8, seed=1).digest
    assert fresh.digest != Adapter.fresh(BASE, rank=4, alpha=8, seed=2).digest
    assert all(torch.equal(before[name], tensor) for name, tensor in BASE.state_dict().items())


def test_drawing_an_adapter_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    adapter = Adapter.fresh(BASE, rank=4, alpha=8, seed=1)
    adapter.attached(BASE)
    adapter.merged(BASE)
    assert torch.equal(torch.rand(3), expected)


def test_training_moves_the_adapter_and_nothing_else():
    fresh = Adapter.fresh(BASE, rank=4, alpha=8, seed=1)
    model = fresh.attached(BASE)
    inner = model.get_base_model()
    assert isinstance(inner, RiskTransformer)
    assert {name for name, p in inner.named_parameters() if p.requires_grad} == {
        name for name, _ in inner.named_parameters() if ".lora_" in name
    }
    log = train(inner, ruled_lesson(300, seed=1), held_out=ruled_lesson(100, seed=2), config=SHORT, seed=0)
    assert log.losses[-1] < log.losses[0]
    taught = Adapter.of(model, fresh.base)
    assert taught.digest != fresh.digest
    assert taught.settings == fresh.settings
    assert network_digest(inner) == network_digest(model) == network_digest(BASE)
    assert np.allclose(logits_of(taught.merged(BASE), LOOKUPS), logits_of(inner, LOOKUPS), atol=1e-4)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), rank=st.integers(1, 24), alpha=st.floats(0.5, 64))
def test_attached_merged_and_stored_say_the_same(tmp_path_factory, seed, rank, alpha):
    adapter = drawn(seed, rank=rank, alpha=alpha)
    before = network_digest(BASE)
    folder = tmp_path_factory.mktemp("adapter")
    adapter.save(folder)
    again = Adapter.load(folder)
    assert (again.digest, again.base, again.settings) == (adapter.digest, adapter.base, adapter.settings)
    attached, merged = logits_of(again.attached(BASE), LOOKUPS), logits_of(adapter.merged(BASE), LOOKUPS)
    np.testing.assert_allclose(merged, attached, rtol=1e-4, atol=1e-4 * (1 + np.abs(attached).max()))
    assert network_digest(BASE) == before


def test_a_merged_network_is_plain_and_as_trainable_as_before():
    base = deepcopy(BASE)
    base.table.weight.requires_grad_(False)
    base.train()
    merged = drawn(1).merged(base)
    assert type(merged) is type(base)
    assert weights_of(merged).keys() == weights_of(base).keys()
    assert merged.training
    assert [n for n, p in merged.named_parameters() if not p.requires_grad] == ["table.weight"]
    assert network_digest(merged) != network_digest(base)


def test_an_adapter_cannot_be_changed_from_outside():
    source = {name: tensor.clone() for name, tensor in drawn(1).weights.items()}
    adapter = Adapter({"r": 4, "lora_alpha": 8, "target_modules": ["query_key_value"]}, source, "x")
    before = adapter.digest
    for tensor in source.values():
        tensor.zero_()
    assert adapter.digest == before
    for view in (adapter.settings, adapter.weights):
        assert isinstance(view, MappingProxyType)
    with pytest.raises(FrozenInstanceError):
        adapter.base = "y"  # type: ignore[misc]


def test_an_adapter_travels_to_another_process_and_is_copied():
    adapter = drawn(1)
    for again in (pickle.loads(pickle.dumps(adapter)), deepcopy(adapter)):
        assert (again.digest, again.base, again.settings) == (adapter.digest, adapter.base, adapter.settings)


@PEFT_LAGS_BEHIND
def test_peft_itself_reads_the_folder(saved):
    theirs = peft.PeftModel.from_pretrained(deepcopy(BASE), str(saved))
    ours = Adapter.load(saved).attached(BASE)
    np.testing.assert_array_equal(logits_of(theirs, LOOKUPS), logits_of(ours, LOOKUPS))


def test_an_adapter_for_another_base_is_refused_and_both_are_named():
    other = made_network("tiny", FIELDS, seed=9)
    with pytest.raises(ModelError, match=f"{network_digest(BASE)}.*{network_digest(other)}"):
        drawn(1).attached(other)
    with pytest.raises(ModelError, match="fits the one base"):
        drawn(1).merged(other)


def test_a_network_that_wears_an_adapter_takes_no_second_one():
    adapter = drawn(1)
    with pytest.raises(ModelError, match="LoRA layers already"):
        adapter.attached(adapter.attached(BASE).get_base_model())


def test_weights_that_do_not_fit_their_settings_are_refused():
    adapter = drawn(1, rank=4)
    with pytest.raises(ModelError, match="rank 8"):
        Adapter({**adapter.settings, "r": 8}, adapter.weights, adapter.base).attached(BASE)
    with pytest.raises(ModelError, match="11 tensors"):
        Adapter(adapter.settings, dict(list(adapter.weights.items())[1:]), adapter.base).attached(BASE)


def test_targets_that_a_base_does_not_have_are_refused_by_name(saved):
    plain = json.loads((saved / SETTINGS).read_text())
    (saved / SETTINGS).write_text(json.dumps({**plain, "target_modules": ["query_key_value", "nonsense"]}))
    with pytest.raises(ModelError, match="'nonsense'.*linear modules are: dense"):
        Adapter.load(saved).attached(BASE)
    with pytest.raises(ModelError, match="'head' is a MemberLinear"):
        Adapter.fresh(BASE, rank=2, alpha=4, targets=["head"], seed=1)


def test_a_rank_written_as_a_whole_float_is_that_rank(saved):
    plain = json.loads((saved / SETTINGS).read_text())
    (saved / SETTINGS).write_text(json.dumps({**plain, "r": 4.0}))
    np.testing.assert_array_equal(
        logits_of(Adapter.load(saved).merged(BASE), LOOKUPS), logits_of(drawn(3).merged(BASE), LOOKUPS)
    )


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(wrong):
    adapter = drawn(1)
    name = next(iter(adapter.weights))
    with pytest.raises(ModelError, match="finite"):
        Adapter(adapter.settings, {**adapter.weights, name: torch.full((4, 48), wrong)}, adapter.base)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("r", 0),
        ("r", 2.5),
        ("r", 1025),
        ("r", "4"),
        ("r", True),
        ("lora_alpha", 0),
        ("lora_alpha", float("nan")),
        ("target_modules", []),
        ("target_modules", ".*"),
        ("target_modules", ["(a+)+$"]),
        ("bias", "all"),
        ("lora_dropout", 1.0),
        ("use_rslora", "yes"),
        ("modules_to_save", ["head"]),
    ],
)
def test_settings_that_break_a_rule_are_refused(name, value):
    plain = {"r": 4, "lora_alpha": 8, "target_modules": ["query_key_value"], name: value}
    with pytest.raises(ModelError, match=name):
        Adapter(plain, {}, "x")


@PEFT_LAGS_BEHIND
def test_what_an_adapter_file_does_not_hold_is_refused():
    config = peft.LoraConfig(r=2, target_modules=["query_key_value"], use_dora=True)
    model = peft.get_peft_model(deepcopy(BASE), config)
    with pytest.raises(ModelError, match="use_dora"):
        Adapter.of(model, "x")


@pytest.mark.parametrize("name", [WEIGHTS, SETTINGS, FACTS])
def test_a_missing_a_cut_and_an_empty_file_are_refused(saved, name):
    whole = (saved / name).read_bytes()
    for damaged in (whole[: len(whole) // 2], b""):
        (saved / name).write_bytes(damaged)
        with pytest.raises(ModelError):
            Adapter.load(saved)
    (saved / name).unlink()
    with pytest.raises(ModelError, match="readable"):
        Adapter.load(saved)


def test_one_changed_bit_in_the_weights_is_noticed(saved):
    content = bytearray((saved / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (saved / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelError, match="altered"):
        Adapter.load(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"megatron_config": {"a": 1}, "megatron_core": "antigravity"}, "megatron_config"),
        ({"target_parameters": ["table.weight"]}, "target_parameters"),
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"r": 100_000_000}, r"r in 1\.\.1024.*r is 100000000"),
        ({"rank_pattern": {"(a+)+$": 4}}, "rank_pattern"),
    ],
)
def test_settings_that_could_run_code_or_reach_further_are_refused(saved, changes, message):
    plain = json.loads((saved / SETTINGS).read_text())
    (saved / SETTINGS).write_text(json.dumps({**plain, **changes}))
    with pytest.raises(ModelError, match=message):
        Adapter.load(saved)


def test_another_format_and_weights_in_other_types_are_refused(saved):
    facts = json.loads((saved / FACTS).read_text())
    (saved / FACTS).write_text(json.dumps({**facts, "format": 2}))
    with pytest.raises(ModelError, match="format 1"):
        Adapter.load(saved)
    save_file({name: tensor.long() for name, tensor in load_file(saved / WEIGHTS).items()}, saved / WEIGHTS)
    (saved / FACTS).write_text(json.dumps(facts))
    with pytest.raises(ModelError, match="altered"):
        Adapter.load(saved)


def test_a_digest_sees_names_shapes_types_and_every_weight():
    linear = torch.nn.Linear(3, 2)
    digests = {network_digest(linear), network_digest(torch.nn.Sequential(linear)), network_digest(linear.half())}
    assert len(digests) == 3
    again = deepcopy(linear)
    assert network_digest(again) == network_digest(linear)
    with torch.no_grad():
        again.bias[1] += 1
    assert network_digest(again) != network_digest(linear)
    assert network_digest(deepcopy(BASE).requires_grad_(False)) == network_digest(BASE)
    assert network_digest(torch.nn.LayerNorm(6)) != network_digest(torch.nn.LayerNorm((2, 3)))
