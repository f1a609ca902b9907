"""Text models from local folders: loaded safely, adapted by the article's own settings, merged without a change."""

import json
from copy import deepcopy
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedConfig

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.models.adapter import Adapter, network_digest
from leanrisk.models.text.model import PooledClassifier, load_text_model
from leanrisk.peft import LoraConfig, get_peft_model
from tests.models.texts import CLASSES, EXTRA, TEXTS, saved_text_model

ATTENTION = {
    "bert": {"query", "key", "value"},
    "llama": {"q_proj", "k_proj", "v_proj"},
    "qwen2": {"q_proj", "k_proj", "v_proj"},
    "qwen3": {"q_proj", "k_proj", "v_proj"},
    "deepseek_v2": {"q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj"},
    "deepseek_v3": {"q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj"},
    "gpt_neox": {"query_key_value"},
    "granite": {"q_proj", "k_proj", "v_proj"},
}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return saved_text_model(tmp_path_factory.mktemp("text") / "bert", "bert")


@pytest.fixture
def damaged(bert, tmp_path):
    """A copy of a good folder, for a test to break."""
    for file in bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def edit_config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize("kind", EXTRA)
def test_the_snippet_adapts_every_architecture(tmp_path, kind):
    model = load_text_model(saved_text_model(tmp_path, kind))
    assert model.architecture == kind
    base, tokens = deepcopy(model.network), model.tokens(TEXTS)
    config = LoraConfig(r=16, lora_alpha=32, target_modules=["query_key_value"], bias="none")
    peft_model = get_peft_model(model.network, config)
    trainable = {name: p for name, p in peft_model.named_parameters() if p.requires_grad}
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in trainable} == ATTENTION[kind]
    before = {name: p.clone() for name, p in peft_model.named_parameters() if name not in trainable}

    optimizer = torch.optim.AdamW(trainable.values(), lr=0.02)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = peft_model(**tokens, labels=CLASSES).loss
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(torch.equal(before[name], p) for name, p in peft_model.named_parameters() if name in before)
    assert network_digest(peft_model) == network_digest(base)

    with torch.no_grad():
        taught = peft_model(**tokens).logits
        stored = Adapter.of(peft_model, network_digest(base)).attached(base)
        assert torch.allclose(stored(**tokens).logits, taught, atol=1e-5)
        merged = peft_model.merge_and_unload()
        assert torch.allclose(merged(**tokens).logits, taught, atol=1e-4)


def test_the_head_comes_from_the_seed_and_the_body_from_the_folder(bert):
    first, again, other = (load_text_model(bert, labels=3, seed=seed) for seed in (1, 1, 2))
    heads = [model.network.state_dict()["classifier.weight"] for model in (first, again, other)]
    assert heads[0].shape == (3, 32)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(first.network.state_dict()[name], load_file(bert / "model.safetensors")[name])


def test_padding_does_not_change_an_answer(tmp_path):
    model = load_text_model(saved_text_model(tmp_path, "granite", padding=False))
    assert isinstance(model.network, PooledClassifier)
    assert model.tokenizer.pad_token == "[EOS]"
    with torch.no_grad():
        alone = model.network(**model.tokens(["late again"])).logits
        beside = model.network(**model.tokens(["late again", "missed loan default on time"])).logits
    assert torch.allclose(alone[0], beside[0], atol=1e-6)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "deepseek_v3", "gpt_neox"])
def test_texts_of_several_lengths_need_no_padding_token_in_the_folder(tmp_path, kind):
    folder = saved_text_model(tmp_path, kind, padding=False)
    assert json.loads((folder / "config.json").read_text()).get("pad_token_id") is None
    model = load_text_model(folder)
    config: Any = model.network.config
    assert config.pad_token_id == model.tokenizer.pad_token_id == 2
    with torch.no_grad():
        alone = model.network(**model.tokens(["late again"])).logits
        beside = model.network(**model.tokens(["late again", "missed loan default on time"])).logits
    assert torch.allclose(alone[0], beside[0], atol=1e-6)
    adapted = get_peft_model(model.network, LoraConfig(r=2, target_modules=["query_key_value"]))
    assert torch.isfinite(adapted(**model.tokens(TEXTS), labels=CLASSES).loss)


def test_texts_are_cut_to_what_was_asked(bert):
    tokens = load_text_model(bert).tokens(["late " * 100, "paid"], longest=8)
    assert tokens["input_ids"].shape == (2, 8)
    assert tokens["attention_mask"].sum(dim=1).tolist() == [8, 1]


@pytest.mark.parametrize("kind", ["bert", "llama", "granite"])
def test_a_text_without_a_word_is_answered(tmp_path, kind):
    model = load_text_model(saved_text_model(tmp_path, kind))
    with torch.no_grad():
        for texts in (["", ""], ["", "late again"], [""]):
            logits = model.network(**model.tokens(texts)).logits
            assert torch.isfinite(logits).all()
            assert logits.shape == (len(texts), 2)


def test_loading_prints_nothing(bert, capfd):
    load_text_model(bert)
    assert capfd.readouterr() == ("", "")


def test_a_missing_folder_and_one_class_are_refused(tmp_path, bert):
    with pytest.raises(ModelError, match=r"config\.json.*nothing is fetched"):
        load_text_model(tmp_path / "bert-base-uncased")
    with pytest.raises(ConfigError, match="at least 2 classes"):
        load_text_model(bert, labels=1)


def test_pickled_weights_are_refused_unread(damaged):
    (damaged / "model.safetensors").unlink()
    (damaged / "pytorch_model.bin").write_bytes(b"\x80\x02not a model")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin.*save_pretrained"):
        load_text_model(damaged)


def test_code_in_the_folder_is_not_run(damaged):
    (damaged / "modeling.py").write_text("raise SystemExit('run')")
    edit_config(damaged, model_type="invented", auto_map={"AutoConfig": "modeling.X", "AutoModel": "modeling.X"})
    with pytest.raises(ModelError, match="architecture"):
        load_text_model(damaged)


@pytest.mark.parametrize(
    "changes",
    [{"model_type": "invented"}, {"model_type": None}, {"hidden_size": "wide"}, {"hidden_size": 33}, {"id2label": 7}],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(damaged, changes):
    edit_config(damaged, **changes)
    with pytest.raises(ModelError, match="architecture that transformers knows"):
        load_text_model(damaged)


def test_kernels_named_by_the_folder_are_not_fetched(damaged):
    edit_config(damaged, attn_implementation="someone/their-kernel", _attn_implementation="someone/their-kernel")
    config = load_text_model(damaged).network.config
    assert isinstance(config, PreTrainedConfig)
    assert config._attn_implementation in ("sdpa", "eager")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_cut_file_is_refused(damaged, name):
    whole = (damaged / name).read_bytes()
    (damaged / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="architecture"):
        load_text_model(damaged)


def test_missing_weights_and_an_adapter_in_place_of_a_model_are_refused(damaged):
    weights = load_file(damaged / "model.safetensors")
    del weights["bert.encoder.layer.1.attention.self.key.weight"]
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"no weights for bert\.encoder\.layer\.1"):
        load_text_model(damaged)
    (damaged / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "someone/else"}))
    with pytest.raises(ModelError, match="another model"):
        load_text_model(damaged)
