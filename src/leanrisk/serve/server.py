"""Runs the service in this process: a socket, uvicorn, and an end that no caller notices."""

from __future__ import annotations

import asyncio
import functools
import signal
import socket
import ssl
from types import FrameType
from typing import Any

import uvicorn

from leanrisk.core.errors import ConfigError, OutputError
from leanrisk.serve.app import Application
from leanrisk.serve.connections import Connection
from leanrisk.serve.follower import stopped
from leanrisk.serve.service import Service
from leanrisk.serve.settings import ServeConfig

_BACKLOG = 2_048
_IDLE_S = 75
_LOOK_S = 1.0


class Server(uvicorn.Server):
    """Uvicorn, but on SIGTERM or SIGINT the service first says that it is not ready, and ends with exit code 0.

    Within `notice_s` it still answers, so that whoever balances the load can look elsewhere. A second signal ends the
    notice, a third the wait for requests at work.
    """

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self._service = application.service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the end."""
        if self._service.front.leaving:
            self.force_exit = self.should_exit
            self.should_exit = True
            return
        self._service.front.leaving = True
        self._service.lines.info("leaving", signal=signal.Signals(sig).name)
        loop = self._loop
        loop.call_soon_threadsafe(loop.call_later, self._service.config.notice_s, self._end)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal ends it."""
        self._loop = asyncio.get_running_loop()
        # Also while the service ends: a request that never becomes whole would hold it up for all of `drain_s`.
        looking = asyncio.create_task(self._look())
        try:
            await super().serve(sockets)
        finally:
            await stopped(looking)

    async def _look(self) -> None:
        while True:
            try:
                self._service.connections.look(self.server_state.connections, self._loop.time())
            except Exception as error:
                # One connection that fails in a way nobody thought of must not leave all others without a clock.
                self._service.lines.error("look-failed", error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(_LOOK_S)

    def _end(self) -> None:
        self.should_exit = True


def listening(config: ServeConfig) -> socket.socket:
    """Return a socket that listens where the settings say; raises `OutputError` where the system refuses."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((config.host, config.port))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise OutputError(
            f"A service needs its port: {config.host}:{config.port} cannot be had ({error.strerror or error}). Choose "
            "another one with --port, or end who holds it."
        ) from error
    bound.set_inheritable(True)
    return bound


def run(service: Service, bound: socket.socket) -> bool:
    """Serve on a listening socket until SIGTERM or SIGINT; return whether the service had started.

    Raises `ConfigError` where TLS cannot be set up.
    """
    config, application = service.config, Application(service)
    settings: dict[str, Any] = {}
    if config.tls is not None:
        settings = {"ssl_certfile": config.tls.certificate, "ssl_keyfile": config.tls.key}
    room = service.connections.make_room()
    if room < config.limits.connections:
        service.lines.warning("few-files", connections=room, asked=config.limits.connections)
    asked = uvicorn.Config(
        application,
        # Uvicorn bounds neither a request's head nor its time to arrive, nor the connections of one address.
        http=functools.partial(Connection, bounds=service.connections),  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        server_header=False,
        # Whoever calls could say in a header that somebody else does.
        proxy_headers=False,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=max(1, round(config.drain_s)),
        ws="none",
        lifespan="on",
        backlog=_BACKLOG,
        **settings,
    )
    try:
        asked.load()
        if config.tls is not None and asked.ssl is not None:
            asked.ssl.minimum_version = ssl.TLSVersion.TLSv1_3 if config.tls.oldest == "1.3" else ssl.TLSVersion.TLSv1_2
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"The certificate and key of [tls] must fit: they do not ({error}). Correct them.") from error
    service.lines.take_over()
    server = Server(asked, application)
    server.run(sockets=[bound])
    return server.started
