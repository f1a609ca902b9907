"""A real PostgreSQL server on loopback for the tests: made anew, stopped at the end, or a reason why there is none."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sql

_PASSWORD = "loop-back-only"
_COUNT = itertools.count()


def programs() -> Path | None:
    """Return the folder of the server's programs, None where it is not installed."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found and (found[-1] / "initdb").is_file() else None


def unprivileged() -> list[str] | None:
    """Return what runs a command as somebody who may start a server (root may not), None where that is impossible."""
    if os.geteuid() != 0:
        return []
    known = subprocess.run(["id", "postgres"], capture_output=True, check=False).returncode == 0
    return ["runuser", "-u", "postgres", "--"] if known and shutil.which("runuser") else None


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Yield the URL of a fresh server on loopback, without a database's name; skips the test where there is none."""
    home, acting = programs(), unprivileged()
    if home is None:
        pytest.skip("PostgreSQL is not installed here (apt-get install postgresql)")
    if acting is None:
        pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres' here")
    folder = Path(tempfile.mkdtemp(prefix="leanrisk-postgres-", dir="/tmp"))
    folder.chmod(0o777)
    secret, data = folder / "password", folder / "data"
    secret.write_text(_PASSWORD)
    try:
        # Its own safety is not what is tested: nothing is synchronised to the disk.
        made = [home / "initdb", "-D", data, "-U", "leanrisk", "-A", "scram-sha-256", f"--pwfile={secret}", "-N"]
        _run([*acting, *made, "-E", "UTF8", "--locale=C"])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        told = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync=off"
        _run([*acting, home / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", told, "start"])
        try:
            yield f"postgresql+psycopg://leanrisk:{_PASSWORD}@127.0.0.1:{port}"
        finally:
            _run([*acting, home / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_database(url: str) -> str:
    """Return the URL of a new, empty database on the server."""
    name = f"book{os.getpid()}_{next(_COUNT)}"
    engine = sql.create_engine(f"{url}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return f"{url}/{name}"


def _run(command: list[object]) -> None:
    # What is started keeps the pipes open; a file does not hold the caller.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(list(map(str, command)), stdout=said, stderr=said, cwd="/tmp", check=False)
        said.seek(0)
        assert done.returncode == 0, said.read().decode()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of this session's server."""
    with server() as url:
        yield url


@pytest.fixture
def postgres(postgres_server: str) -> str:
    """The URL of an empty PostgreSQL database."""
    return new_database(postgres_server)


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """What returns the URL of another empty database each time: once in SQLite, once in PostgreSQL."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path}/book{next(_COUNT)}.db"
    url = request.getfixturevalue("postgres_server")
    return lambda: new_database(url)
