"""Where a network is taught: a GPU in bf16 where there is one, otherwise the CPU in fp32."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Device:
    """A torch `device`, the `precision` of products on it, and the context in which they have that precision."""

    device: torch.device
    precision: str
    autocast: Callable[[], AbstractContextManager[None]]

    @classmethod
    def here(cls) -> Device:
        """Return the GPU by way of accelerate where there is one, otherwise the CPU."""
        if not torch.cuda.is_available():
            return cls(torch.device("cpu"), "fp32", contextlib.nullcontext)
        # accelerate takes a second to import, and a CPU needs nothing of it.
        from accelerate import Accelerator

        accelerator = Accelerator(mixed_precision="bf16")
        return cls(accelerator.device, "bf16", accelerator.autocast)
