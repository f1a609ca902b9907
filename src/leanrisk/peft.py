"""peft for LeanRisk: the two names that LoRA snippets import, with `query_key_value` working on every architecture.

Code written for peft runs with the import changed:

    from leanrisk.peft import LoraConfig, get_peft_model
"""

from __future__ import annotations

from peft import LoraConfig, PeftModel
from torch import nn

from leanrisk.models.lora import lora_model

__all__ = ["LoraConfig", "get_peft_model"]


def get_peft_model(model: nn.Module, peft_config: LoraConfig) -> PeftModel:
    """Return `model` with LoRA layers in place, as peft's own `PeftModel`; as in peft, `model` itself is changed.

    Unlike peft's function it reads `query_key_value` among `target_modules` as "the attention projections" where the
    architecture has no module of that name (BERT: query, key, value; Llama and Qwen: q_proj, k_proj, v_proj; DeepSeek:
    its low-rank projections), and it leaves `peft_config` as it is. Raises `ModelError` where nothing fits, naming the
    linear modules that exist.
    """
    return lora_model(model, peft_config)
