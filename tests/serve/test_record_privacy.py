"""The key of the log's hashes: one for all who start at once, whole or not there, never replaced."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from leanrisk.core.errors import ConfigError
from leanrisk.serve.opening import opened_log
from leanrisk.serve.record_privacy import key_in
from leanrisk.serve.settings import ServeConfig


def test_all_who_start_at_once_have_one_key(tmp_path):
    together = threading.Barrier(16)

    def start(file: Path) -> bytes:
        together.wait()
        return key_in(file)

    with ThreadPoolExecutor(16) as pool:
        for round_ in range(20):
            keys = list(pool.map(start, [tmp_path / str(round_) / "log.key"] * 16))
            assert len(set(keys)) == 1
            assert len(keys[0]) == 32
            assert [file.name for file in (tmp_path / str(round_)).iterdir()] == ["log.key"]


def test_who_is_slower_takes_the_key_of_who_was_faster(tmp_path, monkeypatch):
    file, link = tmp_path / "log.key", os.link

    def overtaken(part: Path, name: Path) -> None:
        name.write_text("ab" * 32)
        link(part, name)

    monkeypatch.setattr(os, "link", overtaken)
    assert key_in(file) == bytes.fromhex("ab" * 32)
    assert file.read_text() == "ab" * 32


def test_a_key_is_its_owner_s_alone_and_stays(tmp_path):
    key = key_in(tmp_path / "log.key")
    assert (tmp_path / "log.key").stat().st_mode & 0o077 == 0
    assert key_in(tmp_path / "log.key") == key


def test_a_key_in_a_folder_that_cannot_be_written_is_read(tmp_path, monkeypatch):
    file = tmp_path / "log.key"
    file.write_text("cd" * 32 + "\n")

    def refused(*args: object, **more: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.mkstemp", refused)
    assert key_in(file) == bytes.fromhex("cd" * 32)
    with pytest.raises(ConfigError, match="Read-only file system"):
        key_in(tmp_path / "other.key")


@pytest.mark.parametrize("text", ["", "zz" * 32, "ab" * 31])
def test_what_is_no_key_is_refused_and_stays(tmp_path, text):
    file = tmp_path / "log.key"
    file.write_text(text)
    with pytest.raises(ConfigError, match="64 hex digits"):
        key_in(file)
    assert file.read_text() == text


def test_logs_that_are_opened_at_once_share_all_that_lies_beside(tmp_path):
    together = threading.Barrier(6)

    def start(_: int) -> bytes:
        together.wait()
        log = opened_log(ServeConfig(bundle="none", log=str(tmp_path / "new" / "decisions.db")))
        asyncio.run(log.close())
        return log._keeper._key

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(start, range(6)))) == 1
