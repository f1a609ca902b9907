"""Running services for tests: a real process on a free loopback port, and a client that keeps its connection."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass
class Reply:
    """A status, lower-case headers and a body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Sends requests over one connection."""

    def __init__(self, port: int, key: str | None = None) -> None:
        self._port, self._key = port, key
        self._open = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        told = {} if self._key is None else {"Authorization": f"Bearer {self._key}"}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            told["Content-Type"] = "application/json"
        self._open.request(method, path, body, {**told, **(headers or {})})
        answer = self._open.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, headers=headers)

    def score(self, record: Any, **headers: str) -> Reply:
        return self.ask("POST", "/score", record, {name.replace("_", "-"): text for name, text in headers.items()})

    def close(self) -> None:
        self._open.close()


@dataclass
class Served:
    """A process that serves, its port, and the lines that it logged so far."""

    process: subprocess.Popen[str]
    port: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)
    told: threading.Condition = field(default_factory=threading.Condition)

    def client(self, key: str | None = None) -> Client:
        return Client(self.port, key)

    def wait_for(self, event: str, **facts: Any) -> dict[str, Any]:
        """Return the first line that tells of this, as soon as it is there."""

        def found() -> dict[str, Any] | None:
            for line in self.lines:
                if line.get("event") == event and all(line.get(name) == value for name, value in facts.items()):
                    return line
            return None

        with self.told:
            assert self.told.wait_for(lambda: found() is not None or self.process.poll() is not None, timeout=60)
        line = found()
        assert line is not None, self.lines
        return line

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("event") == event]

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            line = json.loads(text) if text.startswith("{") else {"event": "text", "text": text}
            with self.told:
                self.lines.append(line)
                self.told.notify_all()
        with self.told:
            self.told.notify_all()


@contextmanager
def served(folder: Path, settings: str, *, program: tuple[str, ...] = ("-m", "leanrisk")) -> Iterator[Served]:
    """Start `leanrisk serve` with these settings (TOML) in `folder`; it listens on a free port and is ready."""
    file = folder / "serve.toml"
    poll = "" if "poll_s" in settings else "poll_s = 0.1\n"
    file.write_text(f"port = 0\nnotice_s = 0.1\n{poll}{settings}")
    process = subprocess.Popen(
        [sys.executable, *program, "serve", "--config", str(file)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    one = Served(process)
    reader = threading.Thread(target=one._read)
    reader.start()
    try:
        one.port = one.wait_for("listening")["port"]
        one.wait_for("started")
        yield one
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        reader.join()
        assert process.stderr is not None
        process.stderr.close()
