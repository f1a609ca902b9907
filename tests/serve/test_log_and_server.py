"""The log on a real PostgreSQL server that is stopped, hung and started under writes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from leanrisk.records.database import database
from leanrisk.records.decisions import Decisions
from leanrisk.serve.decision_store import DecisionStore
from leanrisk.serve.durable_log import DurableLog
from leanrisk.serve.overflow import Overflow
from leanrisk.serve.record_privacy import Keeper
from tests.postgres import programs, server, unprivileged
from tests.serve.test_durable_log import decision


@pytest.fixture
def machine():
    """A server of its own: its URL, what runs pg_ctl, and its folder."""
    with server() as url:
        port = url.rpartition(":")[2]
        [folder] = [
            one
            for one in Path(tempfile.gettempdir()).glob("leanrisk-postgres-*/data")
            if f"port={port}" in (one / "postmaster.opts").read_text()
        ]
        yield url, folder


def control(folder, *words):
    home, acting = programs(), unprivileged()
    assert home is not None
    assert acting is not None
    command = [*acting, str(home / "pg_ctl"), "-D", str(folder), "-w", *words]
    with tempfile.TemporaryFile() as said:
        subprocess.run(command, stdout=said, stderr=said, cwd="/tmp", check=True)


async def until(true):
    while not true():
        await asyncio.sleep(0.01)


def test_a_server_that_stops_or_hangs_under_writes_loses_nothing_and_delays_no_caller_for_long(machine, tmp_path):
    url, folder = machine
    answered = {}

    async def caller(log, name, ending):
        for place in range(100_000):
            if ending.is_set():
                return
            made = f"{name}-{place}"
            [kept] = await log.record([decision(made, place / 1e6)])
            answered[made] = kept.probability
            await asyncio.sleep(0.002)

    async def work():
        ending = asyncio.Event()
        overflow = Overflow(tmp_path / "log.spool", most_bytes=1 << 26)
        log = DurableLog(DecisionStore(f"{url}/postgres", patience_s=1.0), overflow, Keeper(b"k" * 32), look_s=0.05)
        callers = [asyncio.create_task(caller(log, name, ending)) for name in range(4)]
        await until(lambda: len(answered) > 40)
        await asyncio.to_thread(control, folder, "-m", "immediate", "stop")
        before = len(answered)
        await until(lambda: log.away is not None and len(answered) > before + 40)
        await asyncio.to_thread(control, folder, "restart", "-l", str(folder.parent / "log"))
        await until(lambda: log.away is None and log.backlog == 0)
        before = len(answered)
        await until(lambda: len(answered) > before + 20)
        # A server that takes calls and never answers: found out by patience alone.
        hung = [int(line) for line in _children(folder)]
        for pid in hung:
            os.kill(pid, signal.SIGSTOP)
        try:
            before = len(answered)
            await until(lambda: log.away is not None and len(answered) > before + 20)
        finally:
            for pid in hung:
                os.kill(pid, signal.SIGCONT)
        await until(lambda: log.away is None and log.backlog == 0)
        ending.set()
        await asyncio.gather(*callers)
        await log.close()

    asyncio.run(asyncio.wait_for(work(), 120))
    engine = database(f"{url}/postgres")
    rows = {row.id: row.probability for row in Decisions(engine).between(0, 2)}
    assert Decisions(engine).count()["repeats"] == 0
    engine.dispose()
    assert {name: rows.get(name) for name in answered} == answered


def _children(folder):
    """Return the server's processes."""
    parent = (folder / "postmaster.pid").read_text().splitlines()[0]
    found = [parent]
    with contextlib.suppress(subprocess.CalledProcessError):
        ps = shutil.which("pgrep")
        if ps is not None:
            found += subprocess.run([ps, "-P", parent], capture_output=True, text=True, check=True).stdout.split()
    return found
