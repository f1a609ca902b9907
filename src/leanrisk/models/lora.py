"""LoRA on any of our networks, by peft: which modules it adapts, and how it is attached."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from copy import copy

from peft import LoraConfig, PeftModel
from peft import get_peft_model as peft_get_peft_model
from torch import nn

from leanrisk.core.errors import ModelError

FUSED = "query_key_value"
"""Name of the fused attention projection in `RiskTransformer`, GPT-NeoX, Falcon and Bloom; elsewhere it is a role."""

_PROJECTION = re.compile(
    r"query|key|value"  # BERT and its kin
    r"|(q|k|v|qkv)_(proj|lin)"  # Llama, Qwen, Mistral; Phi-3; DistilBERT
    r"|q_[ab]_proj|kv_a_proj_with_mqa|kv_b_proj"  # DeepSeek: queries, keys and values by way of a narrow layer
    r"|Wqkv"  # ModernBERT
    r"|[qkv]"  # T5
)


def lora_model(network: nn.Module, config: LoraConfig) -> PeftModel:
    """Return `network` with LoRA layers in place, as peft's own model; `network` itself is changed, `config` is not.

    Where `target_modules` is a list, `query_key_value` stands for the attention projections, whatever their names (see
    `attention_targets`). Only the LoRA weights require a gradient afterwards. Raises `ModelError` where nothing fits.
    """
    settings = copy(config)
    if isinstance(config.target_modules, list | tuple | set):
        settings.target_modules = attention_targets(network, config.target_modules)
    with warnings.catch_warnings():
        # peft asks transformers for a property that transformers 5 has renamed; nobody who uses LoRA can mend that.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        wrapped = peft_get_peft_model(network, settings)
    assert isinstance(wrapped, PeftModel)
    return wrapped


def attention_targets(network: nn.Module, targets: Collection[str]) -> list[str]:
    """Return the module names that `targets` mean in this network, in alphabetical order.

    `query_key_value` becomes the names of the attention projections where no module has that name itself; they are
    found by how architectures name them, among the linear modules. Raises `ModelError` naming the linear modules that
    exist where no target fits any module.
    """
    names = [name for name, _ in network.named_modules()]
    linear = {name.rpartition(".")[2] for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    meant = {target for target in targets if _names_one(target, names)}
    if FUSED in targets and FUSED not in meant:
        meant |= {name for name in linear if _PROJECTION.fullmatch(name)}
    if not meant:
        raise ModelError(
            f"LoRA adapts modules by name: none here is called {' or '.join(sorted(targets))}, nor is one named like "
            f"an attention projection. The linear modules are: {', '.join(sorted(linear)) or 'none'}. Name some of "
            "them as target_modules, or choose a model with attention."
        )
    # Others that fit nothing are left to peft, which says so in its own way.
    return sorted(meant | {target for target in targets if target != FUSED})


def _names_one(target: str, names: Collection[str]) -> bool:
    return any(name == target or name.endswith(f".{target}") for name in names)
