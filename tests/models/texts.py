"""Tiny text models with random weights, saved in a folder as `save_pretrained` does, and texts of two classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedTokenizerFast

WORDS = ["late", "paid", "default", "loan", "on", "time", "missed", "never", "always", "again"]
SPECIAL = ["[PAD]", "[UNK]", "[EOS]"]
TEXTS = ["late again", "paid on time", "missed loan default", "always paid", "never on time", "paid loan again"]
CLASSES = torch.tensor([1, 0, 1, 0, 1, 0])

_COMMON = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
_LOW_RANK = {"q_lora_rank": 12, "kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16}
_EXPERTS = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
}
EXTRA: dict[str, dict[str, Any]] = {
    "bert": {},
    "llama": {"num_key_value_heads": 1},
    "qwen2": {"num_key_value_heads": 1},
    "qwen3": {"num_key_value_heads": 1, "head_dim": 16},
    "deepseek_v2": {"num_key_value_heads": 2, **_LOW_RANK, **_EXPERTS},
    "deepseek_v3": {"num_key_value_heads": 2, **_LOW_RANK, **_EXPERTS},
    "gpt_neox": {},
    "granite": {"num_key_value_heads": 1},
}


def saved_text_model(folder: Path, kind: str, *, padding: bool = True, **changes: Any) -> Path:
    """Write a pre-trained model of architecture `kind`, as yet without a head for classes, with its tokenizer.

    Without `padding` neither its config nor its tokenizer names a padding token, as in Llama's own folder.
    """
    vocabulary = {word: place for place, word in enumerate([*SPECIAL, *WORDS])}
    special = {"pad_token_id": 0 if padding else None, "bos_token_id": 2, "eos_token_id": 2}
    config = AutoConfig.for_model(kind, vocab_size=len(vocabulary), **_COMMON, **special, **EXTRA[kind], **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        (AutoModelForMaskedLM if kind == "bert" else AutoModelForCausalLM).from_config(config).save_pretrained(folder)
    words = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    pads = {"pad_token": "[PAD]"} if padding else {}
    PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", eos_token="[EOS]", model_max_length=64, **pads
    ).save_pretrained(folder)
    return folder
