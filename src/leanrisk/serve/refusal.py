"""A call that is not answered as asked: the status, a stable code and the reason, as every route tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_FAULTS = 1_000
"""Faults that one answer lists: more of them are no record with faults, but something else."""


class Refusal(Exception):  # noqa: N818 -- an answer like any other
    """Ends a call with an HTTP status from 400 on; `faults` lists everything wrong with what was sent."""

    def __init__(
        self,
        status: int,
        code: str,
        reason: str,
        *,
        faults: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason)
        self.status, self.code, self.reason = status, code, reason
        self.faults, self.headers = tuple(faults), dict(headers or {})

    def told(self, request: str) -> dict[str, Any]:
        """Return the answer's body; `error` is the key that the Open Inference Protocol asks for."""
        plain: dict[str, Any] = {"error": self.reason, "code": self.code, "request_id": request}
        return {**plain, "faults": list(self.faults[:MOST_FAULTS])} if self.faults else plain
