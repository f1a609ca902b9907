"""Several processes behind one socket: started, restarted when one dies, and ended together."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from leanrisk.core.config import configured
from leanrisk.serve.json_log import JsonLog
from leanrisk.serve.metrics import SHARED
from leanrisk.serve.settings import ServeConfig

_LOOK_S = 0.2
_CALM_S = 5.0
"""A worker that lived less is started again only after a pause, so that a fault at start does not burn a core."""


class Workers:
    """Keeps `config.workers` processes at work until SIGTERM or SIGINT; they end as the single process does."""

    def __init__(self, config: ServeConfig, bound: socket.socket, log: JsonLog) -> None:
        self._config, self._bound, self._log = config, bound, log
        self._ending = threading.Event()
        self._running: list[tuple[subprocess.Popen[bytes], float]] = []

    def run(self) -> bool:
        """Return after the last worker has ended, whether all ended well."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        well = True
        with tempfile.TemporaryDirectory(prefix="leanrisk-metrics-") as shared:
            while len(self._running) < self._config.workers:
                self._running.append((self._started(shared), time.monotonic()))
            while not self._ending.wait(_LOOK_S):
                self._running = [self._kept(worker, since, shared) for worker, since in self._running]
            for worker, _ in self._running:
                worker.send_signal(signal.SIGTERM)
            within = time.monotonic() + self._config.notice_s + self._config.drain_s + _CALM_S * 2
            for worker, _ in self._running:
                try:
                    well &= worker.wait(max(0.1, within - time.monotonic())) == 0
                except subprocess.TimeoutExpired:
                    self._log.error("worker-killed", pid=worker.pid)
                    worker.kill()
                    well = False
        return well

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ending.set()

    def _started(self, shared: str) -> subprocess.Popen[bytes]:
        worker = subprocess.Popen(
            [sys.executable, "-m", "leanrisk.serve.worker", str(self._bound.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=(self._bound.fileno(),),
            env={**os.environ, SHARED: shared},
        )
        assert worker.stdin is not None
        # Through the pipe, since settings may hold a database's password, which arguments would show to everybody.
        # The pipe stays open: its end tells a worker that this process is gone.
        worker.stdin.write(json.dumps(asdict(self._config)).encode() + b"\n")
        worker.stdin.flush()
        return worker

    def _kept(
        self, worker: subprocess.Popen[bytes], since: float, shared: str
    ) -> tuple[subprocess.Popen[bytes], float]:
        if worker.poll() is None:
            return worker, since
        self._log.error("worker-died", pid=worker.pid, code=worker.returncode)
        mark_process_dead(worker.pid, shared)  # type: ignore[no-untyped-call]
        if time.monotonic() - since < _CALM_S:
            self._ending.wait(1.0)
        return self._started(shared), time.monotonic()


def read_settings(text: str) -> ServeConfig:
    """Return the settings that `Workers` wrote."""
    told = {name: value for name, value in json.loads(text).items() if value is not None}
    return configured(ServeConfig, told, where="serve")
