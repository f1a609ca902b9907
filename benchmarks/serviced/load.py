"""Load on loopback from a process of its own: `python -m benchmarks.serviced.load` with what to ask, as JSON, on stdin.

It writes one line of what it found. Requests stay on their connections (HTTP/1.1), are built once, and their answers
are read no further than they must be, so that it is the service that is measured. With a rate, requests are due at even
intervals whatever the service does, and a latency counts from when its request was due; without one, each connection
asks again as soon as it is answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop


@dataclass
class Asked:
    """What to ask, of whom, for how long: a file of bodies, one a line; `rate` 0 for as fast as answers come."""

    port: int
    path: str
    bodies: str
    seconds: float
    connections: int
    rate: float = 0.0
    count: int = 0
    """End after so many answers; 0 for after `seconds`."""
    kind: str = "application/json"
    answers: str = ""
    """File that takes a line for each answer: moment, status, decision id, snapshot."""


@dataclass
class Found:
    """Answers by status, connections lost, latencies in ms of every answer with status 200, and how long it took."""

    statuses: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    taken: list[float] = field(default_factory=list)
    began: float = 0.0
    ended: float = 0.0


class Connection(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(self, load: Load) -> None:
        self._load, self._rest = load, b""
        self._due = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready to ask."""
        # uvloop's transports do not say that they are asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self._load.free(self)

    def ask(self, request: bytes, due: float) -> None:
        """Send a request that was due then."""
        assert self.transport is not None
        self._due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take part of an answer; a whole one is told, and the connection is free again."""
        self._rest += data
        end = self._rest.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._rest[:end].lower()
        place = head.find(b"content-length:")
        length = int(head[place + 15 :].split(b"\r\n", 1)[0])
        if len(self._rest) < end + 4 + length:
            return
        body, self._rest = self._rest[end + 4 : end + 4 + length], b""
        self._load.answered(head[9:12].decode(), body, self._due)
        due, self._due = self._due, 0.0
        if b"connection: close" in head and self.transport is not None and due:
            self.transport.close()
        else:
            self._load.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell that a request on its way got no answer."""
        self._load.gone(unanswered=self._due > 0)


class Load:
    """Asks, and counts what comes back."""

    def __init__(self, asked: Asked, requests: Sequence[bytes]) -> None:
        self._asked, self._requests = asked, requests
        self._idle: deque[Connection] = deque()
        self._due: deque[float] = deque()
        self._sent, self._ending = 0, asyncio.Event()
        self.found = Found()
        self.lines: list[str] = []

    async def run(self) -> Found:
        """Return what was found."""
        asked, loop = self._asked, asyncio.get_running_loop()
        self.found.began = time.perf_counter()
        for _ in range(asked.connections):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", asked.port)
        ticking = asyncio.create_task(self._ticked()) if asked.rate else None
        try:
            await asyncio.wait_for(self._ending.wait(), asked.seconds)
        except TimeoutError:
            self._ending.set()
        if ticking is not None:
            await ticking
        self.found.ended = time.perf_counter()
        return self.found

    def free(self, one: Connection) -> None:
        """Let a connection ask what is due, or wait."""
        if self._ending.is_set():
            return
        if not self._asked.rate:
            self._send(one, time.perf_counter())
        elif self._due:
            self._send(one, self._due.popleft())
        else:
            self._idle.append(one)

    def answered(self, status: str, body: bytes, due: float) -> None:
        """Count an answer."""
        now, found = time.perf_counter(), self.found
        found.statuses[status] += 1
        if status == "200":
            found.taken.append(1e3 * (now - due))
        if self._asked.answers:
            told = json.loads(body)
            self.lines.append(f"{time.time():.6f} {status} {told.get('decision_id')} {told.get('snapshot')}")
        if self._asked.count and sum(found.statuses.values()) >= self._asked.count:
            self._ending.set()

    def gone(self, *, unanswered: bool) -> None:
        """Count a lost connection with a request on its way; all of them gone ends the load."""
        if unanswered and not self._ending.is_set():
            self.found.lost += 1
            if self.found.lost >= self._asked.connections:
                self._ending.set()

    def _send(self, one: Connection, due: float) -> None:
        one.ask(self._requests[self._sent % len(self._requests)], due)
        self._sent += 1

    async def _ticked(self) -> None:
        began, made = time.perf_counter(), 0
        while not self._ending.is_set():
            now = time.perf_counter()
            while began + made / self._asked.rate <= now:
                due = began + made / self._asked.rate
                made += 1
                if self._idle:
                    self._send(self._idle.popleft(), due)
                else:
                    self._due.append(due)
            await asyncio.sleep(0.0005)


def request(path: str, body: bytes, kind: str = "application/json") -> bytes:
    """Return a whole request."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def main() -> None:
    """Read what to ask, ask it, and tell what was found."""
    told: dict[str, Any] = json.loads(sys.stdin.read())
    asked = Asked(**told)
    with open(asked.bodies, "rb") as file:
        requests = [request(asked.path, line.rstrip(b"\n"), asked.kind) for line in file]
    load = Load(asked, requests)
    found = uvloop.run(load.run())
    if asked.answers:
        with open(asked.answers, "w", encoding="ascii") as file:
            file.writelines(f"{line}\n" for line in load.lines)
    # Not `print`: under PYTHONUNBUFFERED a long line may be written in part.
    with open(sys.stdout.fileno(), "w", encoding="ascii", closefd=False) as out:
        json.dump(vars(found), out)


if __name__ == "__main__":
    main()
