"""Training above a frontier: what is frozen stays, and what is kept on disk changes no weight and is not trusted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from leanrisk.core.errors import ConfigError
from leanrisk.models.adapter import Adapter, network_digest
from leanrisk.models.frontier import FreezeConfig, Move
from leanrisk.models.lesson import Lesson
from leanrisk.models.prefix import below_frontier
from leanrisk.models.training import plain_network, predict_logits
from tests.models.frozen import (
    EPOCHS,
    FIELDS,
    HELD_OUT,
    LESSON,
    RISING,
    Counting,
    counting,
    distance,
    moved,
    taught,
    weights_of,
)
from tests.models.networks import made_network, ruled_lesson
from tests.registry.test_bundle import small_files

STATIC = FreezeConfig(dynamic=False)
ROUNDING = 1e-5
"""Rows computed in other company are rounded otherwise; on most machines not even that differs."""


@pytest.mark.parametrize(("preset", "blocks"), [("tiny", 0), ("tiny", 3), ("tiny", 5), ("mid", 6), ("swift", 0)])
def test_frozen_weights_stay_and_all_others_learn(preset, blocks):
    network = made_network(preset, FIELDS)
    before = weights_of(network)
    log = taught(network, FreezeConfig(start=blocks, most=blocks))
    assert moved(before, network) == {name for name in before if not below_frontier(name, blocks)}
    assert "table.weight" not in moved(before, network)
    assert log.trainable == sum(value.numel() for name, value in before.items() if not below_frontier(name, blocks))
    assert log.frontier == (Move(0, blocks, "start"),)
    assert log.losses[-1] < log.losses[0]
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_without_a_frontier_all_learns_and_nothing_is_kept(tmp_path):
    network = made_network("tiny", FIELDS)
    before = weights_of(network)
    log = taught(network, None, tmp_path)
    assert moved(before, network) == set(before)
    assert (log.frontier, log.cached_bytes) == ((), 0)
    assert log.trainable == sum(value.numel() for value in before.values())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("preset", ["tiny", "mid", "swift"])
@pytest.mark.parametrize("freeze", [STATIC, RISING], ids=["static", "rising"])
def test_kept_states_change_no_weight(preset, freeze):
    plain, kept = counting(preset), counting(preset)
    logs = [taught(plain, replace(freeze, cache=False)), taught(kept, freeze)]
    assert distance(plain, kept) < ROUNDING
    assert logs[0].frontier == logs[1].frontier
    np.testing.assert_allclose(logs[0].scores, logs[1].scores, atol=ROUNDING)
    assert kept.computed == 380
    assert plain.computed >= 3 * 380
    assert logs[0].cached_bytes == 0
    width = kept.config.tokens * kept.config.width
    assert logs[1].cached_bytes == 380 * 4 * (width + 2)


def test_states_that_are_kept_in_part_change_no_weight(tmp_path):
    lesson = ruled_lesson(600, seed=1)
    found = []
    for freeze in (replace(RISING, cache=False), replace(RISING, cache_mb=1)):
        network = counting("mid")
        log = taught(network, freeze, tmp_path, lesson=lesson, config=replace(EPOCHS, epochs=2))
        found.append((network, log))
    (plain, _), (part, log) = found
    assert distance(plain, part) < ROUNDING
    assert len(log.frontier) == 2
    assert 680 < part.computed < plain.computed
    assert 2**20 - 2 * 2000 < log.cached_bytes <= 2**20
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) <= 2**20


@pytest.mark.parametrize("lora", [False, True], ids=["blocks", "lora"])
def test_threads_and_repetition_change_no_bit(lora):
    base = made_network("tiny", FIELDS)
    lesson = ruled_lesson(1200, seed=1, taught=True)
    networks = []
    for threads in (1, 2, 1):
        network = plain_network(Adapter.fresh(base, rank=4, alpha=8, seed=3).attached(base)) if lora else counting()
        # Threads share a batch in parts of 256 rows at most.
        config = replace(EPOCHS, batch=300, threads=threads, learning_rate=5e-3, epochs=2)
        log = taught(network, replace(RISING, checks=4), lesson=lesson, config=config)
        assert len(log.frontier) == 2
        networks.append(network)
    assert not moved(weights_of(networks[0]), networks[1])
    assert not moved(weights_of(networks[0]), networks[2])


def test_an_adapter_learns_above_the_frontier_alone(tmp_path):
    base = made_network("tiny", FIELDS)
    start = Adapter.fresh(base, rank=4, alpha=8, seed=1)
    wrapped = start.attached(base)
    network = plain_network(wrapped)
    before = weights_of(network)
    log = taught(network, FreezeConfig(start=2, most=2), tmp_path, config=replace(EPOCHS, learning_rate=0.02))
    assert {name.split(".")[2] for name in moved(before, network)} == {"2", "3", "4", "5"}
    assert all(".lora_" in name for name in moved(before, network))
    assert log.trainable == 4 * 4 * (48 + 3 * 48)
    assert log.losses[-1] < log.losses[0]
    assert network_digest(network) == network_digest(base)
    again = start.attached(base)
    taught(plain_network(again), FreezeConfig(start=2, most=2, cache=False), config=replace(EPOCHS, learning_rate=0.02))
    assert distance(network, plain_network(again)) < ROUNDING


def test_the_frontier_rises_by_steps_and_is_told():
    network = made_network("mid", FIELDS)
    log = taught(network, FreezeConfig(start=2, most=8, still=0.02, patience=1, checks=3))
    assert len(log.frontier) > 2
    assert log.frontier[0] == Move(0, 2, "start")
    assert {move.why for move in log.frontier[1:]} == {"still"}
    blocks = [move.blocks for move in log.frontier]
    assert blocks == sorted(set(blocks))
    assert blocks[-1] <= 8
    steps = [move.step for move in log.frontier]
    assert steps == sorted(set(steps))
    assert 0 < steps[1] <= steps[-1] <= log.steps


def test_what_hardly_moves_is_frozen_and_what_moves_is_not():
    calm, restless = (
        taught(made_network("tiny", FIELDS), FreezeConfig(), config=replace(EPOCHS, learning_rate=rate, averaging=0.0))
        for rate in (1e-5, 0.02)
    )
    assert calm.frontier[-1].blocks == 4
    assert restless.frontier == (Move(0, 3, "start"),)


def test_the_weights_kept_are_those_of_the_best_epoch_also_after_the_frontier_has_risen():
    rng = np.random.default_rng(1)
    noise, held_out = (
        Lesson(part.lookups, rng.integers(0, 2, part.lookups.rows).astype(np.float32)) for part in (LESSON, HELD_OUT)
    )
    network = made_network("tiny", FIELDS)
    config = replace(EPOCHS, epochs=12, learning_rate=0.01, patience=3, batch=32, averaging=0.0)
    freeze = FreezeConfig(start=0, most=5, still=0.3, patience=4)
    log = taught(network, freeze, lesson=noise, held_out=held_out, config=config)
    assert len(log.frontier) > 1
    assert log.best_epoch < len(log.scores)
    logits = torch.from_numpy(predict_logits(network, held_out.lookups))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(held_out.targets))
    assert -loss.item() == pytest.approx(max(log.scores), abs=1e-5)
    assert not network.training


@pytest.mark.parametrize("freeze", [STATIC, RISING], ids=["static", "rising"])
def test_what_is_frozen_drops_nothing_out(freeze):
    """A block that is frozen in the middle of an epoch must answer alike from then on, or what is kept is noise."""
    networks = []
    for cache in (True, False):
        network = counting(dropout=0.2)
        log = taught(network, replace(freeze, cache=cache, still=5.0))
        assert (len(log.frontier) == 2) is (freeze is RISING)
        networks.append(network)
    assert distance(*networks) < ROUNDING


def test_a_second_training_takes_up_what_the_first_has_kept(tmp_path):
    networks = [counting() for _ in range(3)]
    logs = [
        taught(network, RISING, folder) for network, folder in zip(networks, [tmp_path, tmp_path, None], strict=True)
    ]
    assert len(logs[0].frontier) == 2
    assert [network.computed for network in networks] == [380, 0, 380]
    assert not moved(weights_of(networks[0]), networks[1])
    assert not moved(weights_of(networks[0]), networks[2])


def test_other_data_and_other_weights_find_nothing(tmp_path):
    taught(counting(), STATIC, tmp_path)
    other = counting(seed=5)
    taught(other, STATIC, tmp_path)
    assert other.computed == 380
    for lesson, computed in ((ruled_lesson(300, seed=8), 300), (replace(LESSON, targets=1 - LESSON.targets), 0)):
        again = counting()
        taught(again, STATIC, tmp_path, lesson=lesson)
        assert again.computed == computed


@pytest.mark.parametrize("damage", ["cut", "zeroed", "noise"])
def test_damaged_files_change_no_weight(tmp_path, damage):
    sound = counting()
    taught(sound, STATIC, tmp_path)
    [file] = (tmp_path / "learned").iterdir()
    content = bytearray(file.read_bytes())
    half = len(content) // 2
    if damage == "cut":
        content = content[:half]
    else:
        content[half:] = bytes(half) if damage == "zeroed" else os.urandom(half)
    file.write_bytes(content)
    again = counting()
    taught(again, STATIC, tmp_path)
    assert distance(again, sound) < ROUNDING
    assert again.computed == (300 if damage == "cut" else 150)


KILLED = """
import sys
from pathlib import Path
from tests.models.frozen import RISING, counting, taught
network = counting()
network.mortal = 200
taught(network, RISING, Path(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_training_leaves_what_the_next_one_takes_up(tmp_path):
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    again, whole = counting(), counting()
    taught(again, RISING, tmp_path)
    taught(whole, RISING)
    assert 0 < again.computed < whole.computed == 380
    assert distance(again, whole) < ROUNDING


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """An empty folder that temporary folders are made in."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


class Interrupted:
    """Somebody presses Ctrl-C after the first epoch, and looks into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen = folder, 0

    @contextmanager
    def track(self, what, total=None):
        def advance(steps: float) -> None:
            self.seen = sum(file.stat().st_size for file in self.folder.rglob("*.states"))
            raise KeyboardInterrupt

        yield advance

    def say(self, message: str) -> None: ...


def test_a_temporary_cache_goes_with_the_training(temporary):
    taught(counting(), STATIC)
    assert list(temporary.iterdir()) == []
    progress = Interrupted(temporary)
    with pytest.raises(KeyboardInterrupt):
        taught(counting(), STATIC, progress=progress)
    assert progress.seen == 380 * 4 * (5 * 48 + 2)
    assert list(temporary.iterdir()) == []


def test_a_training_does_without_a_cache_that_the_disk_refuses(tmp_path):
    (tmp_path / "file").write_text("")
    kept, refused = counting(), counting()
    log = taught(kept, STATIC, tmp_path / "cache")
    assert (log.cached_bytes > 0, log.cache_refused) == (True, "")
    with small_files(50_000):
        log = taught(refused, STATIC, tmp_path / "small")
    assert log.cached_bytes == 0
    assert "freeze.cache_mb" in log.cache_refused
    assert not moved(weights_of(kept), refused)
    assert "cannot write" in taught(counting(), STATIC, tmp_path / "file").cache_refused


def test_freezing_everything_is_refused_before_anything_is_learned(tmp_path):
    network = counting()
    before = weights_of(network)
    with pytest.raises(ConfigError, match="At least one block must learn"):
        taught(network, FreezeConfig(start=6))
    assert not moved(before, network)
    assert isinstance(network, Counting)
    assert network.computed == 0


@pytest.mark.parametrize("rows", [1, 3])
def test_a_handful_of_rows_is_enough_to_freeze(rows):
    network = made_network("tiny", FIELDS)
    log = taught(
        network, RISING, lesson=ruled_lesson(rows, seed=1, taught=True), held_out=ruled_lesson(1, seed=2, taught=True)
    )
    assert np.isfinite([*log.losses, *log.scores]).all()
