"""One of several workers: `python -m leanrisk.serve.worker SOCKET`, settings on stdin; started by `workers`."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

from leanrisk.core.errors import LeanRiskError
from leanrisk.serve.json_log import JsonLog
from leanrisk.serve.opening import opened_service
from leanrisk.serve.server import run
from leanrisk.serve.workers import read_settings


def main() -> int:
    """Serve on the socket that was handed over until the parent ends it, or is gone."""
    log = JsonLog()
    try:
        service = opened_service(read_settings(sys.stdin.readline()), lines=log)
        bound = socket.socket(fileno=int(sys.argv[1]))
        threading.Thread(target=_until_alone, daemon=True).start()
        return 0 if run(service, bound) else 1
    except LeanRiskError as error:
        log.error("worker-failed", error=str(error))
        return 2


def _until_alone() -> None:
    """End this process as a signal would once the parent's end of the pipe is closed."""
    while sys.stdin.read(1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
