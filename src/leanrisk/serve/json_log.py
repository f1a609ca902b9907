"""Log lines as JSON objects, one a line, on stderr; no line holds a key or a value of a record."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from typing import Any, TextIO

_LEVELS = {"CRITICAL": "critical", "ERROR": "error", "WARNING": "warning", "INFO": "info", "DEBUG": "debug"}
_LONGEST = 2_000


class JsonLog:
    """Writes events with their facts; each line is one write, so that lines of several workers stay whole."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream

    def info(self, event: str, **facts: Any) -> None:
        """Tell what happened as it should."""
        self._line("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Tell what was refused or skipped."""
        self._line("warning", event, facts)

    def error(self, event: str, **facts: Any) -> None:
        """Tell what failed and wants a person."""
        self._line("error", event, facts)

    def take_over(self) -> None:
        """Let the standard library's loggers, uvicorn's among them, write lines of this kind."""
        root = logging.getLogger()
        root.handlers[:] = [_Handler(self)]
        root.setLevel(logging.INFO)
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
            logging.getLogger(name).handlers.clear()
            logging.getLogger(name).propagate = name != "uvicorn.access"

    def _line(self, level: str, event: str, facts: dict[str, Any]) -> None:
        moment = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        plain = {"time": moment, "level": level, "event": event, **facts}
        try:
            self._stream.write(json.dumps(plain, ensure_ascii=True, default=str) + "\n")
            self._stream.flush()
        except OSError:
            # Whoever read the log has gone; scoring goes on, and metrics still tell.
            pass


class _Handler(logging.Handler):
    def __init__(self, log: JsonLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        facts: dict[str, Any] = {"logger": record.name, "message": record.getMessage()[:_LONGEST]}
        if record.exc_info and record.exc_info[0] is not None:
            facts["exception"] = f"{record.exc_info[0].__name__}"
        self._log._line(_LEVELS.get(record.levelname, "info"), "log", facts)
