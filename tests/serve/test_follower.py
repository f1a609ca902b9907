"""The follower goes on whatever fails: a glance, a look; and it lets go of its glances when it ends."""

from __future__ import annotations

import asyncio
import io
import json
import threading

import pytest

from leanrisk.serve.follower import Follower, stopped
from leanrisk.serve.json_log import JsonLog
from leanrisk.serve.lineup import Lineup
from leanrisk.serve.metrics import Metrics


class Journal:
    """Nothing leads; looks are counted, and the first one fails where that is asked."""

    def __init__(self, *, fails: bool) -> None:
        self.looks, self.fails, self.twice = 0, fails, threading.Event()

    def aliases(self) -> dict[str, str]:
        self.looks += 1
        if self.looks == 2:
            self.twice.set()
        if self.fails and self.looks == 1:
            raise MemoryError("no room")
        return {}


class Glances:
    """Another number each time, but for the glance that fails."""

    def __init__(self, *, fails_at: int) -> None:
        self.count, self.fails_at, self.closed = 0, fails_at, False

    def version(self) -> int:
        self.count += 1
        if self.count == self.fails_at:
            raise RuntimeError("can't start new thread")
        return self.count

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("fails_at", "look_fails"), [(1, False), (2, False), (0, True)])
def test_no_failure_ends_it(tmp_path, fails_at, look_fails):
    journal, glances, told = Journal(fails=look_fails), Glances(fails_at=fails_at), io.StringIO()

    async def followed() -> None:
        follower = Follower(
            Lineup(),
            journal,
            tmp_path,
            aliases=["champion"],
            metrics=Metrics(),
            log=JsonLog(told),
            commits=glances,
        )
        task = asyncio.create_task(follower.follow(0.01))
        assert await asyncio.to_thread(journal.twice.wait, 30)
        assert not task.done()
        await stopped(task)

    asyncio.run(followed())
    assert glances.closed
    lines = [json.loads(line) for line in told.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["follow-failed"]
