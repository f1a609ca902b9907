"""LoRA on any of our networks, by peft: which modules it adapts, and how it is attached."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from copy import copy

from peft import LoraConfig, PeftModel
from peft import get_peft_model as peft_get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from leanrisk.core.errors import ModelError
from leanrisk.models.field_table import FieldTable
from leanrisk.models.table_lora import TableLora

FUSED = "query_key_value"
"""Name of the fused attention projection in `RiskTransformer`, GPT-NeoX, Falcon and Bloom; elsewhere it is a role."""

_PROJECTION = re.compile(
    r"query|key|value"  # BERT and its kin
    r"|(q|k|v|qkv)_(proj|lin)"  # Llama, Qwen, Mistral; Phi-3; DistilBERT
    r"|q_[ab]_proj|kv_a_proj_with_mqa|kv_b_proj"  # DeepSeek: queries, keys and values by way of a narrow layer
    r"|Wqkv"  # ModernBERT
    r"|[qkv]"  # T5
)

TABLE = "table"
"""Name of the field table in `RiskTransformer`."""

_ADAPTABLE = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention, Conv1D, FieldTable)
"""Kinds of modules that there are LoRA layers for: peft's own, and ours for the field table. `Conv1D` is GPT-2's."""


def lora_model(network: nn.Module, config: LoraConfig) -> PeftModel:
    """Return `network` with LoRA layers in place, as peft's own model; `network` itself is changed, `config` is not.

    Where `target_modules` is a list, `query_key_value` stands for the attention projections, whatever their names (see
    `attention_targets`). Only the LoRA weights require a gradient afterwards. Raises `ModelError` where a target is not
    there or cannot be adapted, naming the linear modules; for a list `network` is as before then.
    """
    settings = copy(config)
    if isinstance(config.target_modules, list | tuple | set):
        settings.target_modules = attention_targets(network, config.target_modules)
    # A copy of its own, since peft adds to the mapping that is there.
    settings._custom_modules = dict(getattr(config, "_custom_modules", None) or {})
    settings._register_custom_module({FieldTable: TableLora})
    with warnings.catch_warnings():
        # peft asks transformers for a property that transformers 5 has renamed; nobody who uses LoRA can mend that.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        # It does not know our table, and goes by the sizes that the table tells.
        warnings.filterwarnings("ignore", "Unsupported layer type .*FieldTable", UserWarning)
        try:
            wrapped = peft_get_peft_model(network, settings)
        except ValueError as error:
            told = str(error).strip().partition("\n")[0]
            raise ModelError(
                f"peft must be able to attach LoRA: target_modules {config.target_modules!r} led to '{told}' "
                f"{_way_out(network)}"
            ) from error
    assert isinstance(wrapped, PeftModel)
    return wrapped


def attention_targets(network: nn.Module, targets: Collection[str]) -> list[str]:
    """Return the module names that `targets` mean in this network, in alphabetical order.

    `query_key_value` becomes the names of the attention projections where no module has that name itself; they are
    found by how architectures name them, among the linear modules. Raises `ModelError` for the first target that fits
    no module, or one of a kind that LoRA does not adapt, naming it and the linear modules that exist.
    """
    meant: set[str] = set()
    for target in sorted(targets):
        found = [module for name, module in network.named_modules() if _is_called(target, name)]
        unfit = next((module for module in found if not isinstance(module, _ADAPTABLE)), None)
        if unfit is not None:
            raise ModelError(f"LoRA adapts linear modules: '{target}' is a {type(unfit).__name__}. {_way_out(network)}")
        names = {target} if found else _projections(network) if target == FUSED else set()
        if not names:
            also = ", nor is one named like an attention projection" if target == FUSED else ""
            raise ModelError(f"LoRA adapts modules by name: none here is called '{target}'{also}. {_way_out(network)}")
        meant |= names
    if not meant:
        raise ModelError(f"LoRA adapts modules by name: target_modules is empty. {_way_out(network)}")
    return sorted(meant)


def _projections(network: nn.Module) -> set[str]:
    return {name for name in _linear(network) if _PROJECTION.fullmatch(name)}


def _linear(network: nn.Module) -> set[str]:
    return {name.rpartition(".")[2] for name, module in network.named_modules() if isinstance(module, nn.Linear)}


def _way_out(network: nn.Module) -> str:
    return (
        f"The linear modules are: {', '.join(sorted(_linear(network))) or 'none'}. Name some of them as "
        "target_modules, or choose a model with attention."
    )


def _is_called(target: str, name: str) -> bool:
    return name == target or name.endswith(f".{target}")
