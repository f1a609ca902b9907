"""One HTTP call and its answer, as thin as the interface to the server (ASGI) allows: scoring takes no longer way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from leanrisk.serve.keys import Caller
from leanrisk.serve.reading import Receive

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
JSON_BYTES = b"application/json"


@dataclass(slots=True)
class Call:
    """What was asked: by whom, under which request id, with which headers (lower case) and parts of the path."""

    receive: Receive
    headers: MutableMapping[bytes, bytes]
    caller: Caller
    request: str
    parts: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: bytes) -> str:
        """Return a header's text, empty where it is not there."""
        return self.headers.get(name, b"").decode("latin-1")


@dataclass(slots=True)
class Answer:
    """What goes back: a body at once, or blocks of one as they come."""

    body: bytes = b""
    status: int = 200
    kind: bytes = JSON_BYTES
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    blocks: AsyncIterator[bytes] | None = None


Handler = Callable[[Call], Awaitable[Answer]]


async def sent(answer: Answer, send: Send, request: str, *, closing: bool) -> None:
    """Send an answer; `closing` tells the caller not to use the connection again."""
    headers = _headers(answer, request, closing=closing)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.blocks is None:
        await send({"type": "http.response.body", "body": answer.body})
        return
    async for block in answer.blocks:
        await send({"type": "http.response.body", "body": block, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def whole(answer: Answer, request: str) -> bytes:
    """Return an answer with its status and headers as the bytes of HTTP/1.1, after which the connection ends."""
    status = HTTPStatus(answer.status)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    lines += [name + b": " + value for name, value in _headers(answer, request, closing=True)]
    return b"\r\n".join([*lines, b"", answer.body])


def _headers(answer: Answer, request: str, *, closing: bool) -> list[tuple[bytes, bytes]]:
    headers = [(b"content-type", answer.kind), (b"x-request-id", request.encode("latin-1")), *answer.headers]
    headers.append((b"cache-control", b"no-store"))
    headers.append((b"x-content-type-options", b"nosniff"))
    if answer.blocks is None:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    if closing:
        headers.append((b"connection", b"close"))
    return headers
