"""The log of decisions: durable before it answers, each id once, whatever dies or fills up meanwhile."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from leanrisk.core.errors import RecordsError
from leanrisk.records.database import database
from leanrisk.records.decisions import Decisions
from leanrisk.serve.decision_store import DecisionStore
from leanrisk.serve.durable_log import DurableLog
from leanrisk.serve.overflow import Overflow
from leanrisk.serve.protocols import Block, BlockKept, Decision, LogUnavailable
from leanrisk.serve.record_privacy import Keeper, Privacy
from tests.postgres import new_url, postgres_server
from tests.serve.services import ROOT

__all__ = ["new_url", "postgres_server"]

NEVER_S = 3_600
"""Looks by itself so seldom that a test decides when the file is drained."""


class Away(DecisionStore):
    """A database that a test takes away; `after` lets it commit first, as a connection lost at the wrong moment."""

    away = False
    after = False

    def keep(self, rows):
        if self.after:
            super().keep(rows)
        if self.away:
            raise RecordsError("it is away")
        return super().keep(rows)

    def check(self):
        if self.away:
            raise RecordsError("it is away")
        super().check()


def decision(name, probability=0.25, **changed):
    facts: dict[str, Any] = {
        "alias": "champion",
        "snapshot": "s1",
        "caller": "anna",
        "request": f"r-{name}-{probability}",
    }
    record = {"income": 5, "loan": "L-1", "sex": "f"}
    privacy = Privacy(frozenset({"loan"}), frozenset({"sex"}))
    facts |= {"record": record, "probability": probability, "points": 600.0, "decision": "approve", **changed}
    return Decision(id=name, moment=1.0, privacy=privacy, **facts)


def block(batch="m"):
    told = pa.table({"decision_id": [f"{batch}:0", f"{batch}:1"], "probability": [0.1, 0.2]})
    return Block(batch, 0, 1.0, "s1", "anna", "r", pl.DataFrame({"x": [1, 2]}), told, Privacy())


def opened(url, folder, *, store=DecisionStore, most_bytes=1 << 20, **settings):
    place = store(str(url))
    overflow = Overflow(folder / "log.spool", most_bytes=most_bytes)
    return DurableLog(place, overflow, Keeper(b"k" * 32), look_s=settings.pop("look_s", NEVER_S), **settings), place


def kept(url):
    engine = database(str(url))
    table = Decisions(engine)
    rows = {row.id: row for row in table.between(0, 2)}
    counts = table.count()
    engine.dispose()
    return rows, counts


def test_a_group_shares_one_flush_and_a_repeated_id_gets_its_first_answer(new_url, tmp_path):
    url = new_url()

    async def work():
        groups = []
        log, _ = opened(url, tmp_path, told=lambda where, seconds, requests: groups.append((where, requests)))
        first = await log.record([decision("a")])
        many = await asyncio.gather(*(log.record([decision(f"d{place}")]) for place in range(300)))
        again = await log.record([decision("b"), decision("a", 0.9)])
        at_once = await asyncio.gather(*(log.record([decision("one", place / 10)]) for place in range(5)))
        await log.block(block())
        with pytest.raises(BlockKept):
            await log.block(block())
        await log.close()
        assert first[0].probability == again[1].probability == 0.25
        assert [each[0].id for each in many] == [f"d{place}" for place in range(300)]
        assert len({each[0].probability for each in at_once}) == 1
        assert {where for where, _ in groups} == {"database"}
        assert len(groups) < 100
        return at_once[0][0].probability

    stands = asyncio.run(work())
    rows, counts = kept(url)
    assert set(rows) == {"a", "b", "one", *(f"d{place}" for place in range(300))}
    assert rows["one"].probability == stands
    assert "L-1" not in rows["a"].record
    assert '"sex"' not in rows["a"].record
    assert counts["batches"] == 1


def test_while_the_database_is_away_the_file_takes_over_and_drains_later(tmp_path):
    url = tmp_path / "book.db"

    async def work():
        log, store = opened(url, tmp_path, store=Away)
        await log.record([decision("before")])
        store.away = True
        held = await asyncio.gather(*(log.record([decision(f"d{place}")]) for place in range(50)))
        again = await log.record([decision("d7", 0.9), decision("d99")])
        await log.block(block())
        with pytest.raises(BlockKept):
            await log.block(block())
        # Nobody can ask the database whether it knows this one: the second answer is kept as well.
        anew = await log.record([decision("before", 0.9)])
        assert (log.backlog, log.refusal, log.away) == (54, None, "it is away")
        assert not log.drain()
        store.away = False
        assert log.drain()
        assert (log.backlog, log.away) == (0, None)
        assert len(held) == 50
        assert again[0].probability == 0.25
        assert anew[0].probability == 0.9
        assert (await log.record([decision("before", 0.7)]))[0].probability == 0.25
        await log.close()

    asyncio.run(work())
    rows, counts = kept(url)
    assert set(rows) == {"before", "d99", *(f"d{place}" for place in range(50))}
    assert counts == {"decisions": 52, "repeats": 1, "batches": 1, "batch_rows": 2}


def test_a_commit_whose_answer_was_lost_is_kept_once(tmp_path):
    async def work():
        log, store = opened(tmp_path / "book.db", tmp_path, store=Away)
        store.away = store.after = True
        await log.record([decision("a")])
        store.away = store.after = False
        assert log.drain()
        await log.close()

    asyncio.run(work())
    assert kept(tmp_path / "book.db")[1] == {"decisions": 1, "repeats": 0, "batches": 0, "batch_rows": 0}


def test_ids_in_the_file_are_known_after_a_restart_and_to_other_workers(tmp_path):
    url = tmp_path / "book.db"

    async def work():
        first, one = opened(url, tmp_path, store=Away)
        second, two = opened(url, tmp_path, store=Away)
        one.away = two.away = True
        await first.record([decision("a")])
        assert (await second.record([decision("a", 0.9)]))[0].probability == 0.25
        await first.close()
        await second.close()
        third, _ = opened(url, tmp_path, store=Away)
        assert third.backlog == 1
        assert (await third.record([decision("a", 0.8)]))[0].probability == 0.25
        assert third.drain()
        await third.close()

    asyncio.run(work())
    rows, counts = kept(url)
    assert rows["a"].probability == 0.25
    assert (counts["decisions"], counts["repeats"]) == (1, 0)


def test_a_full_file_refuses_and_nothing_refused_is_answered(tmp_path):
    url = tmp_path / "book.db"

    async def work():
        log, store = opened(url, tmp_path, store=Away, most_bytes=5_000)
        store.away = True
        answered = []
        with pytest.raises(LogUnavailable, match="bytes are used, and the database is away"):
            for place in range(100):
                answered += await log.record([decision(f"d{place}")])
        assert "bytes are used" in log.refusal
        store.away = False
        assert log.drain()
        answered += await log.record([decision("after")])
        assert log.refusal is None
        await log.close()
        return answered

    answered = asyncio.run(work())
    assert set(kept(url)[0]) == {each.id for each in answered}
    assert 1 < len(answered) < 100


def test_a_full_disk_refuses_by_name_and_every_answer_is_there(tmp_path):
    # The limit stops the database's files and the spool alike, as a full disk does.
    code = (
        "import asyncio, resource, signal, sys\n"
        "from pathlib import Path\n"
        "from leanrisk.serve.protocols import LogUnavailable\n"
        "from tests.serve.test_durable_log import decision, opened\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "async def work():\n"
        "    folder = Path(sys.argv[1])\n"
        "    log, _ = opened(folder / 'book.db', folder, most_bytes=1 << 30)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "    place = 0\n"
        "    try:\n"
        "        while True:\n"
        "            made = [decision(f'd{place + each}') for each in range(20)]\n"
        "            await log.record(made)\n"
        "            place += 20\n"
        "            print(place, flush=True)\n"
        "    except LogUnavailable as error:\n"
        "        print('refused', log.refusal == str(error))\n"
        "asyncio.run(work())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True, cwd=ROOT, env=ENVIRONMENT
    )
    *counts, last = done.stdout.splitlines()
    assert last == "refused True"
    log, _ = opened(tmp_path / "book.db", tmp_path)
    assert log.drain()
    asyncio.run(log.close())
    # A commit that ran into the limit may be there without an answer; none that was answered is missing.
    assert {f"d{place}" for place in range(int(counts[-1]))} <= set(kept(tmp_path / "book.db")[0])


@pytest.mark.parametrize("away", [False, True])
def test_whoever_is_killed_leaves_every_acknowledged_decision_once(tmp_path, away):
    acknowledged = set()
    for turn in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(turn), str(int(away))],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=ENVIRONMENT,
        )
        assert writer.stdout is not None
        # Killed in the middle of its work, after so many answers.
        for _ in range(20 + 7 * turn):
            acknowledged.add(writer.stdout.readline().strip())
        writer.send_signal(signal.SIGKILL)
        acknowledged |= {line.strip() for line in writer.stdout if line.endswith("\n")}
        writer.wait()
        writer.stdout.close()
    log, _ = opened(tmp_path / "book.db", tmp_path)
    assert (log.backlog > 0) == away
    assert log.drain()
    asyncio.run(log.close())
    rows, counts = kept(tmp_path / "book.db")
    assert len(acknowledged) > 10
    assert acknowledged <= set(rows)
    assert counts["decisions"] == len(rows)
    assert counts["repeats"] == 0


ENVIRONMENT = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
WRITER = """
import asyncio, sys
from pathlib import Path
from tests.serve.test_durable_log import Away, decision, opened

folder, turn, away = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "1"

async def caller(log, name):
    for place in range(100_000):
        [kept] = await log.record([decision(f"{turn}-{name}-{place}")])
        print(kept.id, flush=True)

async def work():
    log, store = opened(folder / "book.db", folder, store=Away)
    store.away = away
    await asyncio.gather(*(caller(log, name) for name in range(8)))

asyncio.run(work())
"""
