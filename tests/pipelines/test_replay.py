"""Kept rows: what stands in the file, what never does, and that a damaged one is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from leanrisk.core.errors import BundleError, DataError
from leanrisk.data.load import load
from leanrisk.pipelines.recipe import RefreshConfig
from leanrisk.pipelines.refresh import refresh
from leanrisk.pipelines.replay import REPLAY, alongside, load_replay, save_replay
from leanrisk.registry.bundle import TRAINING, Bundle
from leanrisk.registry.manifest import Manifest
from tests.pipelines.rounds import (
    OPEN,
    SETTLED,
    champion,
    champion_of,
    files_of,
    later,
    settled,
    settled_champion,
    teaching,
)
from tests.pipelines.tiny import LOANS, loan_data


def test_a_bundle_keeps_features_outcome_and_time_and_nothing_else():
    kept = pl.read_parquet(settled_champion() / TRAINING / REPLAY)
    assert kept.columns == ["decided", "income", "debt", "age", "opened", "sector", "bad"]
    text = (settled_champion() / TRAINING / REPLAY).read_bytes()
    # Neither the id, nor the protected column, nor when the outcome was known, not even in the file's own facts.
    assert not [name for name in ("loan", "gender", "settled", "L000") if name.encode() in text]
    assert kept["bad"].n_unique() == 2
    assert kept.height <= Bundle.load(settled_champion()).manifest.facts["keep"] == RefreshConfig().keep


def test_a_sample_is_drawn_by_the_seed(tmp_path):
    rows = loan_data(400)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        save_replay(tmp_path / name, rows, keep=50, seed=seed)
    found = [load_replay(tmp_path / name, LOANS) for name in "abc"]
    assert [kept.rows for kept in found if kept is not None] == [50] * 3
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b") != files_of(tmp_path / "c")
    kept = found[0]
    assert kept is not None
    assert kept.frame.columns == rows.frame.columns
    assert kept.frame["loan"].is_null().all()
    taken = rows.frame.join(kept.frame.drop("loan"), on=["decided", "age", "opened"], how="semi")
    assert taken.height == 50
    assert not np.isnan(kept.labels).any()


def test_few_rows_are_kept_whole_and_none_where_none_are_wanted(tmp_path):
    save_replay(tmp_path, loan_data(60), keep=0, seed=1)
    assert list(tmp_path.iterdir()) == []
    assert load_replay(tmp_path, LOANS) is None
    save_replay(tmp_path, loan_data(60), keep=500, seed=1)
    kept = load_replay(tmp_path, LOANS)
    assert kept is not None
    assert kept.rows == 60


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"PAR1" * 9, lambda data: b""])
def test_a_damaged_file_is_refused(tmp_path, damage):
    save_replay(tmp_path, loan_data(60), keep=50, seed=1)
    file = tmp_path / REPLAY
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(BundleError, match=rf"kept rows must be readable: .*{REPLAY}"):
        load_replay(tmp_path, LOANS)


@pytest.mark.parametrize("change", [lambda kept: kept.drop("age"), lambda kept: kept.with_columns(loan=pl.lit("L1"))])
def test_other_columns_than_the_schemas_are_refused(tmp_path, change):
    save_replay(tmp_path, loan_data(60), keep=50, seed=1)
    change(pl.read_parquet(tmp_path / REPLAY)).write_parquet(tmp_path / REPLAY)
    with pytest.raises(BundleError, match="differs in '(age|loan)'"):
        load_replay(tmp_path, LOANS)


def test_the_manifest_guards_the_file_and_a_forged_one_is_refused_too(tmp_path):
    place = champion_of(tmp_path / "run")
    file = place / TRAINING / REPLAY
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BundleError, match=f"{REPLAY}' was altered"):
        refresh(place, later(), out=tmp_path / "out", config=teaching(), gates=OPEN)
    Manifest.of(place, Manifest.read(place).facts).write(place)
    with pytest.raises(BundleError, match="kept rows must be readable"):
        refresh(place, later(), out=tmp_path / "out", config=teaching(), gates=OPEN)
    assert not (tmp_path / "out").exists()


def test_a_bundle_without_kept_rows_goes_without(tmp_path):
    place = champion_of(tmp_path / "run", "refresh.keep=0")
    assert not (place / TRAINING / REPLAY).exists()
    bundle, verdict = refresh(place, later(), out=tmp_path / "out", config=teaching(keep=500), gates=OPEN)
    assert verdict["replayed"] == 0
    assert verdict["drift"] == []
    # Nobody who refreshes it can undo what the run was told.
    assert not [name for name in files_of(bundle.folder) if name.endswith(".parquet")]
    assert bundle.manifest.facts["keep"] == 0


def test_a_round_keeps_as_many_as_it_is_told(tmp_path):
    bundle, _ = refresh(champion(), later(), out=tmp_path, config=teaching(keep=30), gates=OPEN)
    kept = load_replay(bundle.folder / TRAINING, bundle.schema)
    assert kept is not None
    assert kept.rows == 30
    newest = Bundle.load(champion()).manifest.facts["newest"]
    # Rows of both rounds stand a chance.
    assert 0 < (kept.frame["decided"].cast(pl.String) > newest).sum() < 30


def test_a_column_that_does_not_carry_over_is_named():
    older, new = loan_data(60), loan_data(60, seed=1)
    # Built past the contract, as a hand-made file could be.
    older = replace(older, frame=older.frame.with_columns(decided=pl.lit("long ago"), opened=pl.lit("never")))
    with pytest.raises(DataError) as caught:
        alongside(older, new)
    assert [(fault.code, fault.column) for fault in caught.value.faults] == [
        ("column-retyped", "decided"),
        ("column-retyped", "opened"),
    ]


def test_the_time_of_the_outcome_stays_with_rows_that_are_given():
    older, new = (load(settled(200, seed=seed, later=600 * seed, until=9000), SETTLED) for seed in (0, 1))
    found = alongside(older, new)
    assert found.frame["settled"].equals(older.frame["settled"])
    assert found.frame["gender"].is_null().all()
