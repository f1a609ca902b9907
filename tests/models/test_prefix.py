"""What frozen blocks make of rows is the same computed, kept, raised or read from disk, and never anything else's."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leanrisk.core.inputs import Lookups
from leanrisk.features.encoder import Encoder
from leanrisk.models.adapter import Adapter
from leanrisk.models.prefix import Prefix, below_frontier, prefix_digest
from leanrisk.models.prefix_cache import PrefixCache
from leanrisk.models.risk_transformer import RiskTransformer
from leanrisk.models.training import plain_network
from tests.models.frozen import FIELDS, Counting, counting, first
from tests.models.networks import logits_of, made_inputs, made_network
from tests.registry.test_bundle import small_files

LOOKUPS = Encoder(FIELDS).lookups(made_inputs(FIELDS, 120))
ALL = torch.arange(120)
ROW = 4 * (5 * 48 + 2)
"""Bytes of one row of `tiny` on disk: five tokens of 48 numbers, a first-order share and a checksum."""


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.states"))


def prefix_of(
    network: Counting, folder: Path | None, blocks: int = 3, rows: Lookups = LOOKUPS, mb: float = 8
) -> Prefix:
    return Prefix(network, rows, blocks=blocks, folder=folder, limit_mb=mb)


def expected(network: Counting, rows: torch.Tensor, blocks: int) -> tuple[torch.Tensor, torch.Tensor]:
    index, weight = (torch.from_numpy(values)[rows] for values in (LOOKUPS.index, LOOKUPS.weight))
    with torch.no_grad():
        return RiskTransformer.below(network, index, weight, blocks=blocks)  # uncounted


def assert_right(prefix: Prefix, network: Counting, rows: torch.Tensor = ALL) -> None:
    for found, wanted in zip(prefix.read(rows), expected(network, rows, prefix.blocks), strict=True):
        # Products of few rows are rounded in another order than those of many.
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("preset", "depth"), [("tiny", 6), ("mid", 12), ("swift", 0)])
def test_below_and_above_are_the_whole_at_every_depth(preset, depth):
    network = made_network(preset, FIELDS)
    assert network.depth == depth
    whole = logits_of(network, LOOKUPS)
    index, weight = torch.from_numpy(LOOKUPS.index), torch.from_numpy(LOOKUPS.weight)
    with torch.no_grad():
        for blocks in range(depth + 1):
            found = network.above(*network.below(index, weight, blocks=blocks), blocks=blocks)
            np.testing.assert_allclose(np.asarray(found.logits), whole, rtol=1e-6, atol=1e-6)


def test_what_stands_below_the_frontier_is_the_table_the_positions_and_the_first_blocks():
    names = [name for name, _ in made_network("tiny", FIELDS).named_parameters()]
    assert {name for name in names if below_frontier(name, 0)} == {"table.weight", "body.position"}
    three = {name for name in names if below_frontier(name, 3)}
    assert {name.split(".")[2] for name in three if name.startswith("body.blocks")} == {"0", "1", "2"}
    assert not [name for name in three if name.startswith(("head", "body.norm"))]
    swift = [name for name, _ in made_network("swift", FIELDS).named_parameters()]
    assert [name for name in swift if below_frontier(name, 0)] == ["table.weight"]


def test_frozen_states_have_no_graph_and_others_have_one(tmp_path):
    network = counting()
    for frozen in (prefix_of(network, None), prefix_of(network, tmp_path)):
        assert not any(part.requires_grad for part in frozen.read(ALL))
    free = Prefix(network, LOOKUPS)
    assert free.blocks == 0
    assert all(part.requires_grad for part in free.read(ALL))
    assert_right(free_of_graph := prefix_of(network, None, 0), network)
    assert free_of_graph.cached_bytes == 0


@settings(max_examples=25, deadline=None)
@given(
    asked=st.lists(st.lists(st.integers(0, 119), min_size=1, max_size=40, unique=True), min_size=1, max_size=6),
    room=st.sampled_from([0, 1, 50, 120, 200]),
    moves=st.lists(st.integers(0, 5), min_size=1, max_size=6),
)
def test_rows_read_alike_in_any_order_however_many_are_kept(tmp_path_factory, asked, room, moves):
    network, folder = counting(), tmp_path_factory.mktemp("cache")
    mb = room * ROW / 2**20
    prefix = prefix_of(network, folder, 0, mb=mb)
    for rows, blocks in zip(asked, sorted(moves), strict=False):
        prefix.move(blocks)
        assert_right(prefix, network, torch.tensor(rows))
        assert_right(prefix, network, torch.tensor(rows[::-1]))
        assert prefix.cached_bytes == min(room, 120) * ROW
        assert sum(file.stat().st_size for file in files(folder)) <= room * ROW


def test_a_row_is_computed_once(tmp_path):
    network = counting()
    prefix = prefix_of(network, tmp_path)
    for _ in range(3):
        for rows in ALL.flip(0).split(50):
            prefix.read(rows)
    assert network.computed == 120
    assert_right(prefix, network)


def test_rows_beyond_the_limit_are_computed_each_time(tmp_path):
    network = counting()
    prefix = prefix_of(network, tmp_path, mb=50 * ROW / 2**20)
    for _ in range(3):
        prefix.read(ALL)
    assert network.computed == 120 + 2 * 70
    assert_right(prefix, network)
    assert [file.stat().st_size for file in files(tmp_path)] == [50 * ROW] == [prefix.cached_bytes]


def test_a_risen_frontier_goes_on_from_what_is_known(tmp_path):
    network = counting()
    prefix = prefix_of(network, tmp_path, 1)
    prefix.read(ALL[:80])
    prefix.move(3)
    assert_right(prefix, network, ALL[:50])
    assert network.computed == 80
    assert_right(prefix, network, ALL[40:])  # some known above, some below, some not at all
    assert network.computed == 120
    prefix.move(5)
    assert_right(prefix, network)
    assert network.computed == 120
    assert len(files(tmp_path)) == 3


def test_a_frontier_that_falls_or_stays_is_right_too(tmp_path):
    network = counting()
    prefix = prefix_of(network, tmp_path, 3)
    for blocks in (3, 1, 4, 0):
        prefix.read(ALL)
        prefix.move(blocks)
        assert_right(prefix, network)


def test_where_two_do_not_fit_the_lower_one_goes(tmp_path):
    network = counting()
    prefix = prefix_of(network, tmp_path, 1, mb=200 * ROW / 2**20)
    prefix.read(ALL)
    prefix.move(3)
    assert [file.stat().st_size for file in files(tmp_path)] == [120 * ROW]
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert ".states (deleted)" not in maps.read_text()
    assert_right(prefix, network)
    assert network.computed == 240


def test_another_training_takes_up_the_same_and_nothing_else(tmp_path):
    prefix_of(counting(), tmp_path).read(ALL)
    again = counting()
    assert_right(prefix_of(again, tmp_path), again)
    assert again.computed == 0
    with torch.no_grad():
        again.head.weight.add_(1)
        again.get_parameter("body.blocks.3.mlp_up.weight").add_(1)
    prefix_of(again, tmp_path).read(ALL)
    assert again.computed == 0  # only what stands above has changed

    others = [(counting(seed=9), LOOKUPS, 3), (counting(), LOOKUPS, 2), (counting(heads=4), LOOKUPS, 3)]
    weight = LOOKUPS.weight.copy()
    weight[7, 0] += 1e-3
    index = LOOKUPS.index.copy()
    index[119, -1] ^= 1
    others += [(counting(), rows, 3) for rows in (Lookups(index, LOOKUPS.weight), Lookups(LOOKUPS.index, weight))]
    others += [(counting(), first(LOOKUPS, 119), 3)]
    for network, rows, blocks in others:
        prefix_of(network, tmp_path, blocks, rows).read(ALL[: rows.rows])
        assert network.computed == rows.rows
    assert len({file.stem for file in files(tmp_path)}) == 1 + len(others)


def test_a_digest_knows_how_much_an_adapter_adds():
    base = made_network("tiny", FIELDS)
    quiet = Adapter.fresh(base, rank=2, alpha=4, seed=1)
    loud = Adapter({**quiet.settings, "lora_alpha": 8}, quiet.weights, quiet.base)
    digests = {prefix_digest(plain_network(adapter.attached(base)), 3) for adapter in (quiet, loud)}
    assert len(digests | {prefix_digest(base, 3)}) == 3
    assert len({prefix_digest(plain_network(adapter.attached(base)), 0) for adapter in (quiet, loud)}) == 1


def damaged(content: bytes, how: str, place: int, bits: int) -> bytes:
    """Return the content with one kind of damage at this place."""
    flipped = bytes([content[place] ^ bits])
    return {
        "bits": content[:place] + flipped + content[place + 1 :],
        "zeros": content[:place] + bytes(len(content[place : place + 100])) + content[place + 100 :],
        "cut": content[:place],
        "longer": content + bytes(32),
        "swapped rows": content[32:64] + content[:32] + content[64:],
        "another key's": content,
    }[how]


@settings(max_examples=60, deadline=None)
@given(
    how=st.sampled_from(["bits", "zeros", "cut", "longer", "swapped rows", "another key's"]),
    place=st.integers(0, 40 * 32 - 1),
    bits=st.integers(1, 255),
    rows=st.sets(st.integers(0, 39)).map(sorted).map(np.array).map(lambda rows: rows.astype(np.int64)),
)
def test_damage_is_noticed_row_by_row(tmp_path_factory, how, place, bits, rows):
    """Whatever happens to the bytes, rows that count as known hold what was put there."""
    folder = tmp_path_factory.mktemp("cache")
    rng = np.random.default_rng(bits)
    states, shares = rng.normal(size=(40, 2, 3)).astype(np.float32), rng.normal(size=40).astype(np.float32)

    def opened(key: str) -> PrefixCache:
        return PrefixCache(folder, key, rows=40, shape=(2, 3), limit_mb=1)

    opened("a").put(rows, states[rows], shares[rows])
    assert np.flatnonzero(opened("a").known).tolist() == rows.tolist()
    key = "b" if how == "another key's" else "a"
    (folder / f"{key}.states").write_bytes(damaged((folder / "a.states").read_bytes(), how, place, bits))
    again = opened(key)
    known = np.flatnonzero(again.known)
    lost = {"bits": 1, "zeros": 5, "swapped rows": 2}.get(how, 40)
    assert set(known) <= set(rows)
    assert len(known) >= len(rows) - lost
    assert not len(known) or lost < 40
    np.testing.assert_array_equal(again.get(known)[0], states[known])
    np.testing.assert_array_equal(again.get(known)[1], shares[known])


def test_a_file_that_is_made_anew_does_not_disturb_who_reads_the_old_one(tmp_path):
    """Two trainings with other limits meet in one folder."""
    one, other = counting(), counting()
    wide = prefix_of(one, tmp_path, mb=1)
    wide.read(ALL)
    narrow = prefix_of(other, tmp_path, mb=60 * ROW / 2**20)
    narrow.read(ALL[:60])
    assert_right(wide, one)
    assert_right(narrow, other)
    assert one.computed == 120
    third = counting()
    assert_right(prefix_of(third, tmp_path, mb=60 * ROW / 2**20), third)
    assert third.computed == 60


def test_the_oldest_caches_go_when_the_limit_is_reached(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for blocks in range(5):
        prefix_of(counting(), tmp_path, blocks, mb=300 * ROW / 2**20).read(ALL)
        # The clock of some file systems ticks slowly.
        for age, file in enumerate(sorted(files(tmp_path), key=os.path.getmtime, reverse=True)):
            os.utime(file, (1e9 - age, 1e9 - age))
        assert sum(file.stat().st_size for file in files(tmp_path)) <= 300 * ROW
    assert len(files(tmp_path)) == 2
    for blocks, computed in ((4, 0), (3, 0), (2, 120)):
        network = counting()
        prefix_of(network, tmp_path, blocks, mb=300 * ROW / 2**20).read(ALL)
        assert network.computed == computed
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_cache_that_the_disk_refuses_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    expected = prefix_of(counting(), tmp_path / "good").read(ALL)
    no_folder = prefix_of(counting(), tmp_path / "file" / "cache")
    assert "cannot write" in no_folder.refused
    with small_files(10_000):
        no_room = prefix_of(counting(), tmp_path / "cache")
    assert re.search("needs 0.1 MiB in .*lower freeze.cache_mb", no_room.refused)
    assert list((tmp_path / "cache").iterdir()) == []
    for prefix in (no_folder, no_room):
        assert prefix.cached_bytes == 0
        for found, wanted in zip(prefix.read(ALL), expected, strict=True):
            torch.testing.assert_close(found, wanted)


def test_its_place_on_the_disk_is_taken_at_once(tmp_path):
    """A mapping that the disk has no room for would kill the process at some later write."""
    prefix_of(counting(), tmp_path)
    status = files(tmp_path)[0].stat()
    assert status.st_blocks * 512 >= status.st_size == 120 * ROW


def test_lookups_of_another_shape_are_other_data(tmp_path):
    flat = Lookups(LOOKUPS.index.reshape(60, -1), LOOKUPS.weight.reshape(60, -1))
    prefix_of(counting(), tmp_path)
    prefix_of(counting(), tmp_path, rows=flat)
    assert len(files(tmp_path)) == 2
