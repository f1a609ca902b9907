"""From the bytes of a body to plain values: strict JSON, bounded in size and depth, no key twice."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pydantic_core import from_json

from leanrisk.serve.refusal import Refusal

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
JSON = "application/json"


async def whole_body(receive: Receive, headers: MutableMapping[bytes, bytes], most: int) -> bytes:
    """Return a request's body; raises `Refusal` (413) as soon as it is longer than `most` bytes."""
    told = headers.get(b"content-length")
    if told is not None and (len(told) > 18 or int(told) > most):
        raise too_large(most)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise too_large(most)
        body = b"".join(parts)
    if message["type"] == "http.disconnect":
        raise Refusal(400, "gone", "The caller went away before the request was whole.")
    if len(body) > most:
        raise too_large(most)
    return body


def too_large(most: int) -> Refusal:
    """Return the refusal of a body over its limit; the connection ends, since the rest of the body is not read."""
    return Refusal(
        413, "too-large", f"A request has up to {most:,} bytes. Send fewer records.", headers={"connection": "close"}
    )


def check_json(headers: MutableMapping[bytes, bytes]) -> None:
    """Raise `Refusal` (415) unless the body is said to be JSON in UTF-8, uncompressed."""
    told = headers.get(b"content-type", b"")
    if told != b"application/json":
        kind, _, rest = told.decode("latin-1").partition(";")
        charset = rest.strip().lower().replace('"', "")
        if kind.strip().lower() != JSON or charset not in ("", "charset=utf-8", "charset=utf8"):
            raise Refusal(415, "wrong-content-type", f"The body must be {JSON} in UTF-8. Set Content-Type.")
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Refusal(415, "wrong-content-encoding", "The body must not be compressed. Leave Content-Encoding out.")


def parsed(body: bytes) -> Any:
    """Return the value of a JSON text; raises `Refusal` (400) for what is none, NaN and infinity, or a key twice."""
    try:
        value = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        # The parser's message quotes no value, only what it met and where.
        raise Refusal(400, "not-json", f"The body must be JSON: {error}.") from None
    if not _surely_unique(body, value):
        try:
            json.loads(body, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise Refusal(400, "not-json", f"The body must be JSON: {error}.") from None
    return value


def _surely_unique(body: bytes, value: Any) -> bool:
    """Return whether counting quotes proves that no key stands twice: each text that was kept took two of them.

    A key that stood twice, or a quote within a text, takes more; the slow look then decides.
    """
    records = value if type(value) is list else (value,)
    quotes = 0
    for record in records:
        if type(record) is not dict:
            return False
        quotes += len(record)
        for held in record.values():
            kind = type(held)
            if kind is str:
                quotes += 1
            elif kind is dict or kind is list:
                return False
    return body.count(b'"') == 2 * quotes


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {json.dumps(twice)[:80]} stands twice")
    return found
