"""Results are written whole or not at all; the disk that fills up is a real one, where the test may mount it."""

import json
import os
import subprocess

import numpy as np
import polars as pl
import pytest

from leanrisk.core.errors import OutputError
from leanrisk.core.files import (
    replacing,
    reserved_folder,
    sha256_of,
    system_code,
    writable_folder,
    write_json,
    write_text,
)


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def write_parquet(part):
    pl.DataFrame({"score": np.random.default_rng(1).random(50_000)}).write_parquet(part)


@pytest.mark.parametrize(
    "write",
    [lambda part: part.write_bytes(b"x" * 200_000), write_parquet],
    ids=["python", "polars"],
)
def test_a_full_disk_leaves_the_old_result_untouched(small_disk, write):
    target = small_disk / "scores.parquet"
    target.write_text("old")
    with pytest.raises(OutputError, match="No space left on device.*free some space"), replacing(target) as part:
        write(part)
    assert target.read_text() == "old"
    assert list(small_disk.iterdir()) == [target]


def test_a_new_file_replaces_the_old_one(tmp_path):
    target = tmp_path / "deep" / "result.json"
    write_json(target, {"银行": 1.5})
    write_json(target, {"银行": 2.5})
    assert json.loads(target.read_text(encoding="utf-8")) == {"银行": 2.5}
    assert [path.name for path in target.parent.iterdir()] == ["result.json"]


def test_a_failure_of_the_writer_is_its_own_and_leaves_nothing(tmp_path):
    target = tmp_path / "result.txt"
    write_text(target, "old")
    with pytest.raises(ValueError, match="inside"), replacing(target) as part:
        part.write_text("half")
        raise ValueError("inside")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_nan_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "result.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="taken"):
        writable_folder(tmp_path / "taken")
    with pytest.raises(OutputError, match="taken"):
        write_text(tmp_path / "taken" / "result.txt", "text")


def test_the_system_code_of_an_error():
    assert system_code(OSError(28, "No space left on device")) == 28
    assert system_code(pl.exceptions.ComputeError("underlying IO error: No space left on device (os error 28)")) == 28
    assert system_code(ValueError("os error")) is None


def test_the_sum_of_a_file(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_reserved_folder_is_refused_to_another_and_free_afterwards(tmp_path):
    with reserved_folder(tmp_path / "out") as folder:
        assert list(folder.iterdir()) == []
        with pytest.raises(OutputError, match="another one is at work in .*--out"), reserved_folder(folder):
            pass
        with reserved_folder(tmp_path / "other"):
            pass
    with pytest.raises(KeyError), reserved_folder(folder):
        raise KeyError
    with reserved_folder(folder):
        assert list(folder.iterdir()) == []
