"""Pre-training learns what fields tell of each other, the same for a seed, and can be taken up after any epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from leanrisk.core.errors import ConfigError, ModelError
from leanrisk.core.inputs import FIRST_LEVEL, Inputs, Lookups
from leanrisk.features.encoder import Encoder
from leanrisk.models.pretraining import Pretraining, PretrainingConfig, PretrainingLog, pretrain_network
from leanrisk.models.risk_config import preset_config
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import predict_logits
from tests.models.networks import made_fields, made_network

FIELDS = made_fields(4, 2, codes=0)
SHORT = PretrainingConfig(epochs=3, batch=64, threads=1)


def related(rows: int, *, seed: int) -> Lookups:
    """Return rows whose numbers are one number and noise, and whose first category is that number's sign."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(rows, 1))
    numeric = np.exp(common + 0.05 * rng.normal(size=(rows, 4))).astype(np.float32)
    numeric[rng.random(numeric.shape) < 0.05] = np.nan
    codes = np.column_stack([FIRST_LEVEL + (common[:, 0] > 0), rng.integers(FIRST_LEVEL, FIRST_LEVEL + 5, rows)])
    return Encoder(FIELDS).lookups(Inputs(numeric, codes.astype(np.int64)))


def fresh(seed: int = 0) -> RiskTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RiskTransformer(preset_config("tiny", FIELDS))


def taught(config: PretrainingConfig = SHORT, *, rows: int = 600, seed: int = 0) -> tuple[RiskTransformer, Any]:
    network = fresh()
    log = pretrain_network(
        network, FIELDS, related(rows, seed=1), held_out=related(100, seed=2), config=config, seed=seed
    )
    return network, log


def weights(network: RiskTransformer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns_what_fields_tell_of_each_other():
    network, log = taught(PretrainingConfig(epochs=8, batch=64), rows=1200)
    assert isinstance(log, PretrainingLog)
    assert log.losses[-1] < log.losses[0]
    assert log.held_out[log.best_epoch - 1] == min(log.held_out)
    assert log.guessed > log.commonest + 0.15
    assert log.steps == len(log.losses) * 19
    assert not network.training


def test_a_seed_fixes_every_weight_whatever_the_threads():
    found = [
        weights(taught(replace(SHORT, epochs=1, batch=700, threads=threads), rows=2800, seed=seed)[0])
        for seed, threads in ((0, 1), (0, 1), (0, 3), (1, 1))
    ]
    assert same(found[0], found[1])
    assert same(found[0], found[2])
    assert not same(found[0], found[3])


def test_the_head_that_scores_says_nothing_until_it_is_taught():
    before, (network, _) = weights(fresh()), taught()
    after = weights(network)
    assert float(after["head.weight"].abs().sum()) == float(after["head.bias"].abs().sum()) == 0.0
    assert torch.equal(before["body.norm.weight"], after["body.norm.weight"])
    for name in ("table.weight", "body.position", "body.blocks.0.mlp_up.weight"):
        assert not torch.equal(before[name], after[name])
    # What fields add to the log-odds by themselves is for outcomes to say.
    assert float(after["table.weight"][:, -1].abs().sum()) == 0.0
    assert not predict_logits(network, related(5, seed=3)).any()


def opened(config: PretrainingConfig, network: RiskTransformer | None = None) -> Pretraining:
    return Pretraining(
        network or fresh(), FIELDS, related(600, seed=1), held_out=related(100, seed=2), config=config, seed=0
    )


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_what_follows_a_state_does_not_depend_on_where_it_was_made(epochs):
    whole = opened(SHORT)
    cut = opened(SHORT)
    for _ in range(epochs):
        cut.epoch()
    again = opened(SHORT, made_network("tiny", FIELDS))
    # A state of no epochs holds no moments: there is nothing to take up.
    if epochs:
        again.restore(cut.state())
        logs = []
        for run in (whole, again):
            while not run.finished:
                run.epoch()
            logs.append(run.finish())
        assert logs[0] == logs[1]
        learned = [
            {name: p for name, p in weights(run.network).items() if "norm" not in name} for run in (whole, again)
        ]
        assert same(*learned)
    else:
        with pytest.raises(ModelError, match="not .*step"):
            again.restore(cut.state())


def test_a_state_of_another_network_is_refused():
    run = opened(SHORT)
    run.epoch()
    state = run.state()
    other = {**state, "weight/body.position": torch.zeros(3, 48)}
    for wrong in (other, {name: value for name, value in state.items() if name != "losses"}, {}):
        with pytest.raises(ModelError, match="state of the same network"):
            opened(SHORT).restore(wrong)


def test_patience_ends_it_and_the_best_epoch_is_kept():
    config = PretrainingConfig(epochs=60, batch=16, learning_rate=0.03, patience=2, threads=1)
    network = fresh()
    rng = np.random.default_rng(0)
    noise = related(60, seed=1)
    shuffled = Lookups(noise.index[rng.permutation(60)], noise.weight[rng.permutation(60)])
    log = pretrain_network(network, FIELDS, shuffled, held_out=related(60, seed=2), config=config, seed=0)
    assert len(log.held_out) == log.best_epoch + 2 < 60


def test_the_callers_random_numbers_and_threads_stay_as_they_were():
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    taught(replace(SHORT, epochs=1), rows=50)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("rows", [1, 3])
def test_a_handful_of_rows_is_enough_to_run(rows):
    log = pretrain_network(fresh(), FIELDS, related(rows, seed=1), held_out=related(1, seed=2), config=SHORT, seed=0)
    assert np.isfinite([*log.losses, *log.held_out, log.guessed, log.commonest]).all()


def test_no_rows_and_no_blocks_are_refused():
    with pytest.raises(ModelError, match="there are 0 and 5"):
        pretrain_network(fresh(), FIELDS, related(0, seed=1), held_out=related(5, seed=2), config=SHORT, seed=0)
    swift = RiskTransformer(preset_config("swift", FIELDS))
    with pytest.raises(ConfigError, match="Only a transformer body"):
        pretrain_network(swift, FIELDS, related(50, seed=1), held_out=related(5, seed=2), config=SHORT, seed=0)


def test_a_loss_that_is_no_number_stops_it():
    network = fresh()
    with torch.no_grad():
        network.table.weight.fill_(float("inf"))
    with pytest.raises(ModelError, match="finite loss"):
        pretrain_network(network, FIELDS, related(50, seed=1), held_out=related(5, seed=2), config=SHORT, seed=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"masked": 0.0},
        {"masked": 1.0},
        {"held_out": 0.0},
        {"held_out": 1.0},
        {"epochs": 0},
        {"batch": 0},
        {"learning_rate": 0.0},
        {"patience": 0},
        {"threads": 0},
        {"warmup": 1.0},
        {"averaging": 1.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError):
        PretrainingConfig(**wrong)
