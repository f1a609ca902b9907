"""Connections within bounds: how many there are, how long a request may take to arrive, and how long its head may be.

The server's own parser knows no such bounds: whoever opens connections and says little would hold them for ever.
"""

from __future__ import annotations

import resource
import socket
import struct
from collections import Counter
from collections.abc import Collection
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from leanrisk.serve.front import TURNED_AWAY, Front
from leanrisk.serve.refusal import Refusal
from leanrisk.serve.settings import Limits

_OFFERS = (b"upgrade", b"http2-settings")
_LEAST_RATE = 10_000
"""Bytes a second with which a body may take longer to arrive than `arrive_s`."""
_LINGER_S = 1.0
"""How long a connection that was turned away is still read, so that its end does not overtake the reason."""
_NO_LINGERING = struct.pack("ii", 1, 0)
_LONGEST_STEP_S = 2.0
_FILES = 256
"""Open files that are not connections: databases, the spool, batches."""


class Connections:
    """Counts the connections of this process and ends those that are late; `Connection` is one of them."""

    def __init__(self, limits: Limits, front: Front) -> None:
        self.limits, self.front = limits, front
        self.most = limits.connections
        self._by_client: Counter[str] = Counter()
        self._looked: float | None = None

    def __len__(self) -> int:
        return self._by_client.total()

    def enter(self, client: str) -> Refusal | None:
        """Count a connection from an address, or return why it may not stay."""
        whose = "this address" if self._by_client[client] >= self.limits.client_connections else "all callers together"
        if len(self) < self.most and whose != "this address":
            self._by_client[client] += 1
            return None
        reason = f"Too many connections of {whose} are open. Use one for many requests."
        return Refusal(503, "too-many-connections", reason, headers={"retry-after": "1"})

    def leave(self, client: str) -> None:
        """Count a connection no longer."""
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    def look(self, every: Collection[Any], now: float) -> None:
        """End the connections among `every` that are late; to be called about once a second."""
        # A loop that was held up itself must not be counted against those who wait for it.
        step = min(now - (now if self._looked is None else self._looked), _LONGEST_STEP_S)
        self._looked = now
        for connection in list(every):
            connection.look(step)

    def make_room(self) -> int:
        """Let this process open a file for each connection, and return how many connections there is room for."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = self.limits.connections + _FILES
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        self.most = min(self.limits.connections, max(wanted - _FILES, 1))
        return self.most


class Connection(HttpToolsProtocol):
    """The server's protocol of one connection, with an eye on its clock.

    Seconds count only while the service is ready to read what is missing, or the caller should read its answer.
    """

    def __init__(self, *, bounds: Connections, **server: Any) -> None:
        super().__init__(**server)
        self._bounds, self._limits = bounds, bounds.limits
        self._address: str | None = None
        self._running: RequestResponseCycle | None = None
        self._arriving, self._turned_away, self._offered = True, False, False
        self._waited = self._stalled = 0.0
        self._received = self._silent = self._piece = 0

    def connection_made(self, transport: Any) -> None:
        """Count the connection, or turn it away."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        refusal = self._bounds.enter(address)
        if refusal is None:
            self._address = address
            return
        self._turned_away = True
        transport.write(self._told(refusal))
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no longer."""
        # The server's own parser would tell the newest of several requests alone.
        if self._running is not None:
            self._running.disconnected = True
        super().connection_lost(exc)
        if self._address is not None:
            self._bounds.leave(self._address)
            self._address = None

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless the connection was turned away or its head grows too long."""
        if self._turned_away:
            return
        self._piece = len(data)
        self._received += self._piece
        self._silent += self._piece
        self._arriving = True
        self._unset_keepalive_if_required()
        self._parse(data)
        # A head, or a trailer, without an end: the parser keeps it in memory, so it must not grow.
        if self._silent > self._limits.head_bytes and not self._turned_away:
            self._turn_away(self._too_long())

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_begin(self) -> None:
        """Begin a request's head."""
        super().on_message_begin()
        self._arriving = True

    def on_headers_complete(self) -> None:
        """Begin to answer, unless the head is too long."""
        if max(self._silent, self._piece) > self._limits.head_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self._limits.head_bytes:
                self._turn_away(self._too_long())
                raise ValueError("the head is too long")
        self._silent = 0
        # The parser stops before the body of a request that offers another protocol: `_parse` takes it up again.
        self._offered = self.parser.should_upgrade()
        if not self._offered:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand a piece of the body on."""
        self._silent = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the clock: the request is whole."""
        if self._offered:
            return
        self._arriving = False
        self._waited = 0.0
        self._received = self._silent = 0
        super().on_message_complete()

    def resume_writing(self) -> None:
        """Note that the caller reads."""
        self._stalled = 0.0
        super().resume_writing()

    def _parse(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while True:
                try:
                    self.parser.feed_data(rest)
                    return
                except httptools.HttpParserUpgrade as stopped:
                    # A tunnel is refused, and an offer is left out of account.
                    if self.parser.get_method() == b"CONNECT":
                        raise httptools.HttpParserError from stopped
                    rest = rest[stopped.args[0] :]
                    self._begin_anew(self._without_offer())
        except httptools.HttpParserError:
            if not self._turned_away:
                self._turn_away(Refusal(400, "not-http", "This is no request of HTTP/1.1."))

    def _begin_anew(self, head: bytes) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(head)

    def _without_offer(self) -> bytes:
        """Return the head at hand without its offer of another protocol, which a server may leave out of account.

        Java's own client makes one, HTTP/2 without TLS, in its first request.
        """
        head = [self.parser.get_method() + b" " + self.url + b" HTTP/" + self.parser.get_http_version().encode()]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                head += [b"connection: " + token for token in tokens if token.lower() not in _OFFERS]
            elif name not in _OFFERS:
                head.append(name + b": " + value)
        return b"\r\n".join([*head, b"", b""])

    def look(self, step: float) -> None:
        """Let `step` seconds pass, and end the connection where it is late."""
        if self._turned_away or self.flow.write_paused or self.transport.is_closing():
            # The first step may have begun before: it is given away, so that nobody is cut off early.
            self._stalled += step
            if self._stalled - step > (_LINGER_S if self._turned_away else self._limits.arrive_s):
                if not self._turned_away:
                    self._told(Refusal(408, "not-read", "The caller did not read its answer."))
                self._cut()
            return
        cycle = self.cycle
        at_work = cycle is not None and not cycle.response_complete
        if not self._arriving or self.flow.read_paused:
            return
        if at_work and (cycle.waiting_for_100_continue or not cycle.more_body):
            return
        self._waited += step
        # What is read after the answer went out is thrown away: more of it buys no more time.
        if self._waited - step <= self._limits.arrive_s + (self._received / _LEAST_RATE if at_work else 0):
            return
        if not self._received:
            self.transport.close()
            return
        self._turn_away(Refusal(408, "too-slow", "The request did not arrive in time. Send it whole, and at once."))

    def _turn_away(self, refusal: Refusal) -> None:
        """Say why, where no answer is on its way, and end the connection."""
        self._turned_away, cycle = True, self.cycle
        at_work = cycle is not None and not cycle.response_complete
        speaks = not at_work or not (cycle.response_started or self.pipeline)
        told = self._told(refusal)
        self.pipeline.clear()
        if at_work:
            cycle.scope[TURNED_AWAY] = True  # type: ignore[literal-required]
            cycle.disconnected = True
            cycle.message_event.set()
        if speaks:
            self.transport.write(told)
        if speaks and self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _cut(self) -> None:
        """End the connection now; what its caller did not read leaves the system's memory, too."""
        held = self.transport.get_extra_info("socket")
        if held is not None:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        self.transport.abort()

    def _told(self, refusal: Refusal) -> bytes:
        return self._bounds.front.turned_away(refusal, self.client)

    def _too_long(self) -> Refusal:
        most = self._limits.head_bytes
        return Refusal(
            431, "head-too-large", f"A request's head has up to {most:,} bytes. Send fewer or shorter headers."
        )
