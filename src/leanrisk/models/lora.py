"""LoRA on any of our networks, by peft: which modules it adapts, and how it is attached."""

from __future__ import annotations

import warnings

from peft import LoraConfig, PeftModel
from peft import get_peft_model as peft_get_peft_model
from torch import nn


def lora_model(network: nn.Module, config: LoraConfig) -> PeftModel:
    """Return `network` with LoRA layers in place, as peft's own model; `network` itself is changed.

    Only the LoRA weights require a gradient afterwards.
    """
    with warnings.catch_warnings():
        # peft asks transformers for a property that transformers 5 has renamed; nobody who uses LoRA can mend that.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        wrapped = peft_get_peft_model(network, config)
    assert isinstance(wrapped, PeftModel)
    return wrapped
