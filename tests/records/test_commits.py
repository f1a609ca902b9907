"""Glances at a database: a commit shows in them as soon as a reader sees it, and nothing else does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.records.commits import Commits
from leanrisk.records.database import database


@contextmanager
def written(file: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that writes without waiting for the disk."""
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF"):
            writer.execute(statement)
        writer.execute("CREATE TABLE IF NOT EXISTS told (row INTEGER)")
        yield writer


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("glances") / "records.db"


@given(commits=st.lists(st.booleans(), max_size=8))
def test_a_glance_differs_after_a_commit_and_only_then(shared, commits):
    with written(shared) as writer, closing(Commits(shared)) as glances:
        for committed in commits:
            before = glances.version()
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("INSERT INTO told VALUES (1)")
            # What is written and not yet committed is nothing that a reader could follow.
            assert glances.version() == before
            writer.execute("COMMIT" if committed else "ROLLBACK")
            assert (glances.version() != before) is committed


def test_a_commit_that_spilled_into_the_log_early_is_told_when_it_is_read(tmp_path):
    file, log = tmp_path / "records.db", tmp_path / "records.db-wal"
    with written(file) as writer, closing(Commits(file)) as glances:
        writer.execute("PRAGMA cache_size = 1")
        before, size = glances.version(), log.stat().st_size
        writer.execute("BEGIN IMMEDIATE")
        writer.executemany("INSERT INTO told VALUES (?)", [(row,) for row in range(20_000)])
        # The file has changed already: whoever looked at it now would read the old state.
        assert log.stat().st_size > size
        assert glances.version() == before
        writer.execute("COMMIT")
        assert glances.version() != before


def test_a_database_that_is_away_or_locked_tells_nothing_and_is_not_made(tmp_path):
    file = tmp_path / "records.db"
    with closing(Commits(file)) as glances:
        assert (glances.version(), file.exists()) == (None, False)
        assert Commits(tmp_path).version() is None
        with written(file) as alone:
            alone.execute("PRAGMA locking_mode = EXCLUSIVE")
            alone.execute("INSERT INTO told VALUES (1)")
            assert glances.version() is None
        assert glances.version() is not None


def test_a_server_is_not_asked(tmp_path):
    assert Commits.of(database("postgresql+psycopg://nobody@127.0.0.1:1/none")) is None
    assert isinstance(Commits.of(database(tmp_path / "records.db")), Commits)
