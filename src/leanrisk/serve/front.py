"""The one door: every call is named, admitted, bounded, answered, counted and, where refused, told to the audit."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from leanrisk.core.errors import LeanRiskError
from leanrisk.serve.call import Answer, Call, Handler, Send, sent, whole
from leanrisk.serve.json_log import JsonLog
from leanrisk.serve.keys import ANYBODY, Caller, KeyFile, Role
from leanrisk.serve.metrics import Metrics
from leanrisk.serve.rates import Rates
from leanrisk.serve.reading import Receive
from leanrisk.serve.refusal import Refusal
from leanrisk.serve.settings import Limits

_ONCE = (
    b"authorization",
    b"x-api-key",
    b"x-decision-id",
    b"x-batch-id",
    b"x-request-id",
    b"content-type",
    b"content-encoding",
)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
Scope = MutableMapping[str, Any]
TURNED_AWAY = "leanrisk.turned_away"
"""Stands in the scope of a call whose connection was ended, with an answer and its audit, before it was whole."""


@dataclass(frozen=True)
class Route:
    """A method and a path, the handler that answers, and the roles of which a caller needs one; none: for everybody.

    `bounded`: its calls are counted among those at work.
    """

    method: str
    path: str
    handler: Handler
    roles: frozenset[Role] = frozenset()
    bounded: bool = False


class Front:
    """Answers every call by its route, and never with a traceback.

    `keys`: None where everybody may do everything, which only a loopback address allows. `leaving`: whether the
    service is about to close, so that callers are told not to use their connection again.
    """

    def __init__(
        self,
        *,
        keys: KeyFile | None,
        limits: Limits,
        rates: Rates,
        metrics: Metrics,
        log: JsonLog,
        log_requests: bool = False,
    ) -> None:
        self._keys, self._limits, self._rates = keys, limits, rates
        self._metrics, self._log, self._log_requests = metrics, log, log_requests
        self.leaving = False
        self.at_work = 0
        self._prefix, self._count = secrets.token_hex(6), count()

    async def answer(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP call of this route."""
        began = time.perf_counter()
        headers = dict(scope["headers"])
        request, caller = self._named(headers), None
        try:
            if len(headers) < len(scope["headers"]):
                _check_once(scope["headers"])
            caller = self._admitted(route, headers)
            call = Call(receive, headers, caller, request, scope.get("path_params") or {})
            answer = await self._bounded(route, call)
        except Refusal as refusal:
            if TURNED_AWAY in scope:
                return
            answer = self._refused(refusal, request, scope, caller)
        except Exception as error:
            answer = self._failed(error, request, route)
        await sent(answer, send, request, closing=self.leaving)
        self._counted(route.path, answer, began, request, caller)

    async def refuse(self, refusal: Refusal, scope: Scope, send: Send) -> None:
        """Answer a call that has no route."""
        request = self._named(dict(scope["headers"]))
        answer = self._refused(refusal, request, scope, None)
        await sent(answer, send, request, closing=self.leaving)
        self._counted("none", answer, time.perf_counter(), request, None)

    def turned_away(self, refusal: Refusal, client: tuple[str, int] | None) -> bytes:
        """Return the whole answer to what came over a connection and never was a call, after telling the audit."""
        request = self._named({})
        answer = self._refused(refusal, request, {"method": "", "path": "", "client": client}, None)
        self._counted("none", answer, time.perf_counter(), request, None)
        return whole(answer, request)

    def _counted(self, path: str, answer: Answer, began: float, request: str, caller: Caller | None) -> None:
        took = time.perf_counter() - began
        status = str(answer.status)
        self._metrics.requests.labels(path, status).inc()
        self._metrics.seconds.labels(path).observe(took)
        if self._log_requests:
            name, took = caller.name if caller else None, round(took * 1e3, 3)
            self._log.info("request", request_id=request, route=path, status=answer.status, caller=name, took_ms=took)

    def _named(self, headers: Mapping[bytes, bytes]) -> str:
        told = headers.get(b"x-request-id")
        if told is not None and _REQUEST_ID.fullmatch(told):
            return told.decode("ascii")
        return f"{self._prefix}-{next(self._count):x}"

    def _admitted(self, route: Route, headers: Mapping[bytes, bytes]) -> Caller:
        if not route.roles or self._keys is None:
            return ANYBODY
        told = headers.get(b"authorization", b"")
        shown = told[7:].strip() if told[:7].lower() == b"bearer " else headers.get(b"x-api-key", b"")
        caller = self._keys.caller(shown.decode("latin-1"))
        if caller is None:
            way = "Send Authorization: Bearer KEY." if not shown else "The key is none of ours, or was removed."
            raise Refusal(401, "no-key", f"This path needs a key. {way}", headers={"www-authenticate": "Bearer"})
        wait = self._rates.wait(caller.name)
        if wait:
            seconds = str(int(wait) + 1)
            raise Refusal(429, "too-often", "This key asks too often.", headers={"retry-after": seconds})
        if not caller.roles & route.roles:
            needed = ", ".join(sorted(route.roles))
            raise Refusal(403, "wrong-role", f"This path is for keys with the role {needed}.")
        return caller

    async def _bounded(self, route: Route, call: Call) -> Answer:
        if not route.bounded:
            return await route.handler(call)
        if self.at_work >= self._limits.open_requests:
            raise Refusal(503, "too-busy", "Too many requests are at work.", headers={"retry-after": "1"})
        self.at_work += 1
        try:
            return await route.handler(call)
        finally:
            self.at_work -= 1

    def _refused(self, refusal: Refusal, request: str, scope: Scope, caller: Caller | None) -> Answer:
        self._metrics.refused.labels(refusal.code).inc()
        client = scope.get("client")
        self._log.warning(
            "refused",
            request_id=request,
            status=refusal.status,
            code=refusal.code,
            method=scope["method"][:20],
            path=scope["path"][:200],
            caller=caller.name if caller else None,
            client=client[0] if client else None,
            fields=[fault.get("field") for fault in refusal.faults[:20]],
        )
        headers = [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
        return Answer(json.dumps(refusal.told(request)).encode(), refusal.status, headers=headers)

    def _failed(self, error: Exception, request: str, route: Route) -> Answer:
        """Return the answer to a defect, or to what a model itself could not do; the log tells which."""
        known = isinstance(error, LeanRiskError)
        self._metrics.refused.labels("failed").inc()
        # A message may quote a value of the record: the kind and the place are enough to find the cause.
        frames, at = error.__traceback__, ""
        while frames is not None:
            at, frames = f"{frames.tb_frame.f_code.co_filename}:{frames.tb_lineno}", frames.tb_next
        self._log.error("failed", request_id=request, route=route.path, error=type(error).__name__, at=at, known=known)
        reason = "The service failed; its log tells why under the request id."
        return Answer(json.dumps(Refusal(500, "failed", reason).told(request)).encode(), 500)


def _check_once(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Raise `Refusal` (400) where a header that decides something stands twice: whose word would count?"""
    names = [name for name, _ in headers]
    for name in _ONCE:
        if names.count(name) > 1:
            raise Refusal(400, "repeated-header", f"The header {name.decode()} stands twice. Send it once.")


async def watched(keys: KeyFile, log: JsonLog, every_s: float) -> None:
    """Read the file of keys anew whenever it changes, until cancelled; a file that cannot be read changes nothing."""
    told = ""
    while True:
        await asyncio.sleep(every_s)
        try:
            if await asyncio.to_thread(keys.refresh):
                log.info("keys-read", keys=len(keys))
            told = ""
        except LeanRiskError as error:
            if str(error) != told:
                told = str(error)
                log.error("keys-unreadable", error=told)
