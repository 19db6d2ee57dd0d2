"""A studio that a browser can open, in a thread of this process, with the store that it shows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

import uvicorn

from mongostore import AsyncMongoStore
from mongostore.servers.runner import bind_socket
from mongostore.servers.studio import create_app

R = TypeVar("R")
TOKEN = "the-token-of-a-test"
_PATIENCE = 60


class Studio:
    """Serves a store on a free port once it is entered.

    Args:
        target: What the store is opened with.
        database: Its database.
        options: Options of the application.
    """

    def __init__(self, target: str = "mongomock://", database: str | None = None, **options: Any) -> None:
        self._target, self._database = target, database
        self.database = database or "in memory"
        self._options = {"token": TOKEN} | options
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            async with AsyncMongoStore(self._target, self._database) as self.store:
                with bind_socket("127.0.0.1", 0) as listening:
                    self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
                    self.app = create_app(self.store, **self._options)
                    self.server = uvicorn.Server(
                        uvicorn.Config(self.app, log_config=None, timeout_graceful_shutdown=1)
                    )
                    self.server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
                    self._ready.set_result(None)
                    await self.server.serve(sockets=[listening])
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    def run(self, work: Callable[[AsyncMongoStore], Awaitable[R]]) -> R:
        """Do something to the store, and return what comes of it."""

        async def do() -> R:
            return await work(self.store)

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(_PATIENCE)

    @property
    def opening(self) -> str:
        """The address that opens it."""
        return f"{self.url}/open?token={TOKEN}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(_PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._thread.join(_PATIENCE)

    def end(self) -> None:
        """Ask the server to end, as a signal does."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self.app.state.end_streams)
            self.server.should_exit = True

    def is_over(self, seconds: float) -> bool:
        """Return whether the server has ended within a time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()
