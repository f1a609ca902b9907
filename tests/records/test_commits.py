"""Glances at a database: a commit shows in them as soon as a reader sees it, and nothing else does."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanrisk.records.commits import Commits
from leanrisk.records.database import database


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "records.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE told (row INTEGER)")
    return file


@given(commits=st.lists(st.booleans(), max_size=8))
def test_a_glance_differs_after_a_commit_and_only_then(tmp_path_factory, commits):
    file = tmp_path_factory.mktemp("glances") / "records.db"
    glances = Commits(database(file))
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("CREATE TABLE told (row INTEGER)")
        for committed in commits:
            before = glances.version()
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("INSERT INTO told VALUES (1)")
            # What is written and not yet committed is nothing that a reader could follow.
            assert glances.version() == before
            writer.execute("COMMIT" if committed else "ROLLBACK")
            assert (glances.version() != before) is committed
    glances.close()


def test_a_commit_that_spilled_into_the_log_early_is_told_when_it_is_read(file):
    glances = Commits(database(file))
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")
        before, size = glances.version(), file.with_name("records.db-wal").stat().st_size
        writer.execute("BEGIN IMMEDIATE")
        writer.executemany("INSERT INTO told VALUES (?)", [(row,) for row in range(20_000)])
        # The file has changed already: whoever looked at it now would read the old state.
        assert file.with_name("records.db-wal").stat().st_size > size
        assert glances.version() == before
        writer.execute("COMMIT")
        assert glances.version() != before
    glances.close()


def test_a_database_that_is_away_or_locked_tells_nothing(file, tmp_path):
    assert Commits(database(tmp_path)).version() is None
    glances = Commits(database(file))
    assert glances.version() is not None
    glances.close()
    with closing(sqlite3.connect(file, isolation_level=None)) as alone:
        alone.execute("PRAGMA locking_mode = EXCLUSIVE")
        alone.execute("INSERT INTO told VALUES (1)")
        assert Commits(database(file, busy_ms=0)).version() is None
    assert glances.version() is not None
    glances.close()


def test_a_server_is_not_asked():
    glances = Commits(database("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    assert (glances.told, glances.version()) == (False, None)
