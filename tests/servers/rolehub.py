"""A server of role threads in this process, and the hub that it asks."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import httpx
import uvicorn

from mongostore import MongoStore
from mongostore.adapters.threadmem import RoleThread
from mongostore.adapters.threadmem.file_storage import FileStorage
from mongostore.servers.threadmem import create_app


class _Running:
    """Something that serves in a thread while it is entered."""

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Hub(_Running):
    """Says who has which token: `hub.NAME` is the one of NAME@hub; notes which ones it was shown."""

    def __init__(self) -> None:
        self.output: list[str | None] = []
        self.status = 200
        # What it says instead of a profile.
        self.content: bytes | None = None
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.output.append(self.headers["Authorization"])
                status, content = hub.answer(self.path, self.headers["Authorization"] or "")
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path: str, output: str) -> tuple[int, bytes]:
        if path != "/v1/users/me":
            return 404, b""
        if self.content is not None or self.status != 200:
            return self.status, self.content or b""
        if not output.startswith("Bearer hub."):
            return 401, b'{"detail": "no"}'
        name = output.removeprefix("Bearer hub.")
        return 200, json.dumps({"email": f"{name}@hub", "display_name": name}).encode()

    def start(self) -> None:
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


class RoleServer(_Running):
    """Serves the role threads of a store; `threads` are the same from inside."""

    def __init__(self, store: MongoStore, **options: Any) -> None:
        self.store = store
        self.app = create_app(store=store, **options)
        self.threads = RoleThread.at(FileStorage(store=store))

    def start(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(self.app, log_config=None, access_log=False, lifespan="off")
        )
        # By its number alone it knows that it is TCP, which sends answers at once.
        sockets = [socket.socket(fileno=listening.detach())]
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": sockets})
        self._thread.start()
        with httpx.Client(transport=httpx.HTTPTransport(retries=5, verify=False)) as client:
            client.get(f"{self.url}/health", timeout=30).raise_for_status()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def token(self, owner: str | None, **options: Any) -> str:
        """A token of somebody."""
        return self.store.keys.create(name=owner or "nobody", owner_id=owner, **options).token

    def client(self, token: str | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Nothing is encrypted here, and reading certificates takes its time.
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, verify=False)
