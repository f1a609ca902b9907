"""Databases are opened safely, and no message of theirs carries a password."""

import pytest

from leanrisk.core.errors import ConfigError, RecordsError
from leanrisk.records.database import database, reading, shown, writing


def test_sqlite_is_durable_and_makes_its_folder(tmp_path):
    engine = database(tmp_path / "far" / "book.db")
    with reading(engine) as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        found += [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("foreign_keys", "busy_timeout")]
    assert found == ["wal", 2, 1, 30_000]
    engine.dispose()


def test_a_failed_transaction_leaves_nothing(new_url):
    engine = database(new_url())
    with writing(engine) as connection:
        connection.exec_driver_sql("CREATE TABLE kept (x INTEGER)")

    def interrupted() -> None:
        with writing(engine, "kept") as connection:
            connection.exec_driver_sql("INSERT INTO kept VALUES (1)")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        interrupted()
    with reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM kept").scalar() == 0
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://root:s3cret@host/name",
        "postgresql+asyncpg://u:s3cret@host/name",
        "postgresql://u:s3cret@host:port/name",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file?mode=s3cret",
    ],
)
def test_what_is_no_durable_database_is_refused_without_its_secrets(url):
    with pytest.raises(ConfigError) as refused:
        database(url)
    assert "s3cret" not in str(refused.value) or url.startswith("sqlite")
    assert refused.value.__context__ is None


@pytest.mark.parametrize(
    "url", ["postgresql://ana:s3cret@127.0.0.1:1/book", "postgresql+psycopg://127.0.0.1:1/b?password=s3cret"]
)
def test_a_server_that_is_away_is_named_without_its_password(url):
    engine = database(url)
    with pytest.raises(RecordsError, match=r"127\.0\.0\.1") as refused, reading(engine):
        pass
    assert "s3cret" not in str(refused.value) + shown(engine) + shown(url)
    assert refused.value.__cause__ is None


def test_a_wrong_password_is_not_repeated(postgres):
    engine = database(postgres.replace("loop-back-only", "wr0ng-one"))
    with pytest.raises(RecordsError, match="authentication failed") as refused, reading(engine):
        pass
    assert "wr0ng" not in str(refused.value)
    engine.dispose()


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path):
    (tmp_path / "book.db").write_text("not a database, but long enough to look like one" * 20)
    engine = database(tmp_path / "book.db")
    with pytest.raises(RecordsError, match="not a database"), reading(engine) as connection:
        connection.exec_driver_sql("SELECT 1 FROM sqlite_master")
    engine.dispose()
