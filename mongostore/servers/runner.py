"""The server process: its address, its signals and its end."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from mongostore.engines import Engine
from mongostore.errors import ConfigurationError
from mongostore.servers.access import is_loopback

LOOPBACK = "127.0.0.1"
_END_SECONDS = 10
_HEADER_SECONDS = 20.0
READING_SECONDS = 20.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def run_server(
    app: FastAPI, engine: Engine, *, has_keys: bool, host: str, port: int, print_line: Callable[[str], None]
) -> None:
    """Serve an application until SIGINT or SIGTERM, and let the requests under way end.

    Args:
        app: The application.
        engine: The engine of its store, open.
        has_keys: Whether every caller needs a key.
        host: The address to listen at.
        port: The port; 0 for any that is free.
        print_line: Prints a line about the address and the store.
    """
    if not is_loopback(host) and not has_keys:
        raise ConfigurationError(
            f"{host} can be reached from elsewhere and the store has no keys: "
            "make one with `mongostore keys create`, or listen on 127.0.0.1"
        )
    listening = bind_socket(host, port)
    server = _Server(
        app,
        uvicorn.Config(
            app,
            access_log=False,
            # The faster one takes headers without an end.
            http=TimedProtocol,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_END_SECONDS,
        ),
    )
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listening.getsockname()[1]}"
    print_line(f"listening at {address}")
    if app.openapi_url:
        print_line(f"the operations are shown at {address}/docs")
    print_line(f"data is stored in {engine.address}")
    if not engine.is_shared:
        print_line("this is the embedded engine: all data is lost when the server ends")
    with listening:
        await server.serve(sockets=[listening])


class TimedProtocol(H11Protocol):
    """HTTP where the headers of a request have a time; a connection without a request is closed after it.

    So is one whose client reads nothing for as long: what it has not read takes memory here.
    """

    _timer: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as above it
        """Wait for the first request."""
        super().connection_made(transport)
        self._expect_request()

    def on_response_complete(self) -> None:
        """Wait for the next request, which may be here already."""
        self._expect_request()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait until the client reads."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """Go on, as the client reads."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()

    def _expect_reading(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(READING_SECONDS, self._end_unless_read, left)

    def _end_unless_read(self, left: int) -> None:
        if self.transport.get_write_buffer_size() < left:
            self._expect_reading()
        else:
            self.transport.abort()

    def _expect_request(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(_HEADER_SECONDS, self._end_unless_asked, self.cycle)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _end_unless_asked(self, last: object) -> None:
        # Each request has a cycle of its own.
        if self.cycle is last and self in self.connections:
            self.transport.close()


class _Server(uvicorn.Server):
    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams of events, which would last as long as their clients listen, then the others."""
        end_streams = getattr(self._app.state, "end_streams", None)
        if end_streams is not None:
            end_streams()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals that end the server without raising them again, so that the store is closed."""
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address, without Nagle's delay of 40 ms for an answer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        # Python adds the address to the system's message.
        reason = (error.strerror or "").partition(" (")[0]
        remedy = ": name another port with --port" if error.errno == errno.EADDRINUSE else ""
        raise ConfigurationError(f"{host}:{port} cannot be bound: {reason}{remedy}") from None
    # A socket made of its number knows that it is TCP, for which asyncio switches the delay off.
    return socket.socket(fileno=listening.detach())
