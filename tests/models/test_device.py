"""Where networks are taught: in fp32 on the CPU, in bf16 on a GPU where there is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leanrisk.models.device import Device
from leanrisk.models.frontier import FreezeConfig
from leanrisk.models.pretraining import PretrainingConfig, pretrain_network
from leanrisk.models.risk_config import preset_config
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import plain_network, predict_logits, train
from leanrisk.models.training_config import TrainingConfig
from tests.models.networks import made_fields, made_network, ruled_lesson

GPU = torch.cuda.is_available()
NEEDS_GPU = pytest.mark.skipif(not GPU, reason="training in bf16 needs a GPU: torch.cuda.is_available() is false here")
LESSON, HELD_OUT = ruled_lesson(400, seed=1, taught=True), ruled_lesson(100, seed=2, taught=True)
SHORT = TrainingConfig(epochs=2, batch=64, threads=1)


@pytest.mark.skipif(GPU, reason="this machine has a GPU, and uses it")
def test_a_machine_without_a_gpu_computes_in_fp32():
    here = Device.here()
    assert (here.device.type, here.precision) == ("cpu", "fp32")
    with here.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == torch.float32


@NEEDS_GPU
def test_a_gpu_computes_in_bf16():
    here = Device.here()
    assert (here.device.type, here.precision) == ("cuda", "bf16")
    with here.autocast():
        product = torch.ones(2, 2, device=here.device) @ torch.ones(2, 2, device=here.device)
    assert product.dtype == torch.bfloat16


@NEEDS_GPU
@pytest.mark.parametrize("preset", ["swift", "tiny", "mid"])
@pytest.mark.parametrize("freeze", [None, FreezeConfig(), FreezeConfig(cache=False)], ids=["all", "cached", "frozen"])
def test_a_network_is_taught_on_a_gpu_and_comes_back(preset, freeze):
    network = made_network(preset, made_fields(4, 1, codes=0))
    world = torch.get_rng_state(), torch.cuda.get_rng_state()
    log = train(network, LESSON, held_out=HELD_OUT, config=SHORT, seed=0, freeze=freeze)
    assert np.isfinite([*log.losses, *log.scores]).all()
    assert log.losses[-1] < log.losses[0]
    assert {(p.device.type, p.dtype) for p in network.parameters()} == {("cpu", torch.float32)}
    assert np.isfinite(predict_logits(network, LESSON.lookups)).all()
    assert torch.equal(world[0], torch.get_rng_state())
    assert torch.equal(world[1], torch.cuda.get_rng_state())


@NEEDS_GPU
def test_an_adapter_is_taught_on_a_gpu():
    from leanrisk.models import adapter

    base = made_network("tiny", made_fields(4, 1, codes=0))
    start = adapter.Adapter.fresh(base, rank=4, alpha=8, seed=1)
    wrapped = start.attached(base)
    inner = plain_network(wrapped)
    log = train(inner, LESSON, held_out=HELD_OUT, config=SHORT, seed=0, freeze=FreezeConfig())
    assert np.isfinite(log.losses).all()
    assert adapter.network_digest(inner) == adapter.network_digest(base)
    assert adapter.Adapter.of(wrapped, start.base).digest != start.digest


@NEEDS_GPU
def test_a_base_is_pre_trained_on_a_gpu_and_comes_back():
    fields = made_fields(4, 1, codes=0)
    network = RiskTransformer(preset_config("tiny", fields))
    config = PretrainingConfig(epochs=2, batch=64, threads=1)
    log = pretrain_network(network, fields, LESSON.lookups, held_out=HELD_OUT.lookups, config=config, seed=0)
    assert log.held_out[-1] < log.held_out[0]
    assert {(p.device.type, p.dtype) for p in network.parameters()} == {("cpu", torch.float32)}
