"""Whoever opens connections and says little, too much or nothing cannot hold the service: raw sockets."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import socket
import time
from typing import Any

import pytest

from leanrisk.serve.connections import Connections
from leanrisk.serve.settings import Limits
from tests.registry.bundles import bundle_copy
from tests.serve.services import served

LIMITS = "[limits]\nhead_bytes = 4096\narrive_s = 0.3\nclient_connections = 12\n"
SCORE = b"POST /score HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
WHOLE = SCORE + b"Content-Length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    place = bundle_copy(tmp_path_factory.mktemp("connections"))
    with served(place.parent, f'bundle = "{place}"\n{LIMITS}') as one:
        yield one
        client = one.client()
        assert client.score({}).status == 200
        client.close()
        assert not one.events("failed")
        # A request that never becomes whole does not hold up the end for the 30 s of drain_s.
        with talking(one, SCORE + b"Content-Length: 100\r\n\r\n{"):
            one.process.send_signal(signal.SIGTERM)
            assert one.process.wait(15) == 0


@contextlib.contextmanager
def talking(one, *said):
    with socket.create_connection(("127.0.0.1", one.port), timeout=20) as talk:
        for text in said:
            talk.sendall(text)
        yield talk


def heard(talk):
    """Return everything until the other side closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := talk.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def scored(talk):
    """Return whether the next answer is a score, read whole."""
    with talk.makefile("rb") as stream:
        status = stream.readline().split()[1]
        length = 0
        while (line := stream.readline().rstrip()) != b"":
            name, _, value = line.partition(b": ")
            length = int(value) if name == b"content-length" else length
        return status == b"200" and b"probability" in stream.read(length)


def answer(talk):
    """Return status and code of the one answer before the end."""
    head, _, body = heard(talk).partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["code"]


SLOW = {
    "half a line": (b"POST /sco", b""),
    "half a head": (SCORE + b"X-Slow: ", b"a"),
    "half a body": (SCORE + b"Content-Length: 100\r\n\r\n{", b" "),
    "half a chunk": (SCORE + b"Transfer-Encoding: chunked\r\n\r\n64\r\n{", b" "),
    "half a batch": (
        b"POST /score/batch HTTP/1.1\r\nHost: a\r\nContent-Type: application/vnd.apache.arrow.stream\r\n"
        b"Content-Length: 100\r\n\r\n",
        b"\0",
    ),
}


def test_who_is_slow_is_told_so_and_ends(running):
    with contextlib.ExitStack() as stack:
        talks = {name: stack.enter_context(talking(running, first)) for name, (first, _) in SLOW.items()}
        silent = stack.enter_context(talking(running))
        idle = stack.enter_context(talking(running, WHOLE))
        blank = stack.enter_context(talking(running, WHOLE))
        assert scored(idle)
        assert scored(blank)
        # A line's end before a request is no request, and ends the server's own patience with idle connections.
        blank.sendall(b"\r\n")
        until = time.monotonic() + 10
        waiting = dict(talks)
        while waiting and time.monotonic() < until:
            # Bytes that trickle buy no time.
            for name, talk in list(waiting.items()):
                with contextlib.suppress(OSError):
                    talk.sendall(SLOW[name][1])
                talk.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    assert talk.recv(1, socket.MSG_PEEK) == b"H"
                    del waiting[name]
        assert not waiting
        for name, talk in talks.items():
            talk.settimeout(20)
            assert answer(talk) == (408, "too-slow"), name
        assert heard(silent) == b""
        assert answer(blank) == (408, "too-slow")
        # Between requests a connection may rest longer.
        idle.sendall(WHOLE)
        assert scored(idle)
    assert len(running.events("refused")) >= len(SLOW) + 1


@pytest.mark.parametrize(
    "said",
    [
        (SCORE + b"X-Long: " + b"a" * 5_000 + b"\r\n\r\n",),
        (SCORE, *[b"X-%d: %s\r\n" % (place, b"a" * 90) for place in range(50)], b"\r\n"),
        (b"GET /" + b"a" * 5_000, b" HTTP/1.1\r\n\r\n"),
        (SCORE + b"X-Endless: ", *[b"a" * 1_000] * 5),
        (WHOLE + SCORE + b"X-Long: " + b"a" * 5_000 + b"\r\n\r\n",),
        (SCORE + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Trailer: ", b"a" * 600_000),
    ],
    ids=["header", "many", "path", "endless", "after another", "trailer"],
)
def test_a_head_without_an_end_is_refused(running, said):
    with talking(running, *said) as talk:
        assert answer(talk) == (431, "head-too-large")


def test_a_head_and_a_body_as_long_as_they_may_be_are_taken(running):
    body = b'{"sector": "' + b"x" * 200_000 + b'"}'
    head = SCORE + b"X-Long: " + b"a" * 3_900 + b"\r\n" + b"Content-Length: %d\r\n\r\n" % len(body)
    with talking(running, head + body) as talk:
        assert scored(talk)
        talk.sendall(head + body)
        assert scored(talk)


@pytest.mark.parametrize("pieces", [1, 7, 10_000])
def test_an_offer_of_another_protocol_is_left_out_of_account(running, pieces):
    # As Java's own client makes it in the first request of a connection.
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    body = b'{"decision_id": "java-%d"}' % pieces
    asked = SCORE + offer + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with talking(running) as talk:
        for start in range(0, len(asked), pieces):
            talk.sendall(asked[start : start + pieces])
        assert scored(talk)
        talk.sendall(WHOLE)
        assert scored(talk)
        # Many at once, among others, each is answered; the last ends the connection.
        talk.sendall(
            (asked + WHOLE) * 20 + SCORE + b"Connection: close, Upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\n{}"
        )
        assert heard(talk).count(b"HTTP/1.1 200 OK") == 41


def test_a_header_that_decides_stands_once(running):
    for name in (b"X-Decision-Id", b"X-Request-Id", b"Content-Type"):
        twice = b"".join(b"%s: %s\r\n" % (name, value) for value in (b"application/json", b"a"))
        with talking(running, SCORE + twice + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}") as talk:
            assert answer(talk) == (400, "repeated-header")


@pytest.mark.parametrize(
    "said",
    [
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50,
        b"HELLO\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        SCORE + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        SCORE + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        SCORE + b"Content-Length: -2\r\n\r\n{}",
        SCORE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ],
    ids=["tunnel", "tls", "no http", "http 2", "two lengths", "length and chunks", "negative", "no chunk"],
)
def test_what_is_no_request_is_refused(running, said):
    with talking(running, said) as talk:
        assert answer(talk) == (400, "not-http")


def test_one_address_cannot_hold_all_connections(running):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(talking(running, WHOLE)) for _ in range(12)]
        assert all(scored(talk) for talk in held)
        assert answer(stack.enter_context(talking(running))) == (503, "too-many-connections")
        # Others are answered, and a connection that ends makes room.
        elsewhere = stack.enter_context(socket.create_connection(("127.0.0.1", running.port), 20, ("127.0.0.2", 0)))
        elsewhere.sendall(WHOLE)
        assert scored(elsewhere)
        held[0].close()
        until = time.monotonic() + 10
        while time.monotonic() < until:
            again = stack.enter_context(talking(running, WHOLE))
            if scored(again):
                return
        raise AssertionError("no room was made")


def test_who_does_not_read_its_answers_ends(running):
    with talking(running) as talk:
        talk.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        asked = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while True:
                talk.sendall(asked * 1_000)
    running.wait_for("refused", code="not-read")


def test_there_is_a_file_for_each_connection(monkeypatch):
    front: Any = None
    given = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 8_192))
    assert Connections(Limits(connections=4_000), front).make_room() == 4_000
    assert given == [(4_256, 8_192)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 1_024))
    assert Connections(Limits(connections=4_000), front).make_room() == 768
    assert len(given) == 1
