"""Teaching a `RiskTransformer` from outcomes and, where there is one, a teacher's scores; all of it or its top."""

from __future__ import annotations

import contextlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from leanrisk.core.inputs import Lookups
from leanrisk.core.progress import Progress, Silent
from leanrisk.models.device import Device
from leanrisk.models.frontier import FreezeConfig
from leanrisk.models.lesson import Lesson
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.threads import one_thread_each
from leanrisk.models.training_config import TrainingConfig
from leanrisk.models.training_loop import TrainingLog, TrainingLoop

_SILENT = Silent()
_PREDICT_ROWS = 512

Floats = npt.NDArray[np.float32]


def train(
    model: nn.Module,
    lesson: Lesson,
    *,
    held_out: Lesson,
    config: TrainingConfig,
    seed: int,
    objective: str = "binary",
    freeze: FreezeConfig | None = None,
    cache: Path | None = None,
    progress: Progress = _SILENT,
) -> TrainingLog:
    """Teach `model` in place and return the log; the weights kept are those of the best epoch on `held_out`.

    `model`: a `RiskTransformer`, or peft's wrapper of one; what does not require a gradient stays as it is. With
    `freeze`, table and bottom blocks stand still up to a frontier that may rise, and what they make of each row is kept
    in the folder `cache` (None: in a temporary one). Early stopping compares the loss that is learned, on `held_out`:
    the teacher's part where both lessons have one, the outcomes' part where they are known. A GPU is used where there
    is one. Raises `ModelError` where the loss stops being a number.
    """
    network = plain_network(model)
    device = Device.here()
    with contextlib.ExitStack() as open_:
        open_.enter_context(torch.random.fork_rng([device.device] if device.device.type != "cpu" else []))
        open_.enter_context(one_thread_each())
        pool = open_.enter_context(ThreadPoolExecutor(config.threads))
        if freeze is not None and freeze.cache and cache is None:
            cache = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="leanrisk-frozen-")))
        torch.manual_seed(seed)
        network.to(device.device)
        try:
            loop = TrainingLoop(
                network,
                lesson,
                held_out,
                config,
                objective,
                seed=seed,
                pool=pool,
                device=device,
                freeze=freeze,
                cache=cache,
            )
            return loop.run(progress)
        finally:
            network.cpu()


def plain_network(model: nn.Module) -> RiskTransformer:
    """Return the network inside peft's wrapper, its adapters in place; a plain network is returned as it is."""
    inner = getattr(model, "get_base_model", None)
    return cast(RiskTransformer, inner() if callable(inner) else model)


def predict_states(model: nn.Module, lookups: Lookups) -> Floats:
    """Return what the heads read, float32 (rows, members * width), in evaluation mode and in blocks of rows."""
    model.train(False)
    states = []
    with torch.inference_mode(), one_thread_each():
        for start in range(0, max(lookups.rows, 1), _PREDICT_ROWS):
            part = lookups.take(slice(start, start + _PREDICT_ROWS))
            states.append(model(torch.from_numpy(part.index), torch.from_numpy(part.weight)).state.numpy())
    return np.concatenate(states)


def predict_logits(model: nn.Module, lookups: Lookups) -> Floats:
    """Return logits, float32 (rows,), in evaluation mode and in blocks of rows."""
    model.train(False)
    logits = np.empty(lookups.rows, dtype=np.float32)
    with torch.inference_mode(), one_thread_each():
        for start in range(0, lookups.rows, _PREDICT_ROWS):
            rows = slice(start, start + _PREDICT_ROWS)
            part = lookups.take(rows)
            logits[rows] = model(torch.from_numpy(part.index), torch.from_numpy(part.weight)).logits.numpy()
    return logits
