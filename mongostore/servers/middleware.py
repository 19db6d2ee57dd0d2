"""Middleware of every server: limits of bodies, security headers, HEAD, a line in the log."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from itertools import accumulate
from itertools import count as count_from
from operator import sub
from typing import Final

from anyio import CancelScope
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mongostore.servers.access import caller_of
from mongostore.servers.concurrency import CallerSlots
from mongostore.servers.error_responses import CatchAllMiddleware, ProblemError, problem

# A MongoDB document of the largest size, and the JSON around it.
MAX_BODY_BYTES = 17 * 1024 * 1024
MAX_JSON_DEPTH = 64

access_log: Final = logging.getLogger("mongostore.access")

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
# Possessive, and good without its end: linear whatever comes.
_TEXTS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_SIGNS = bytes.maketrans(b"[]{}", b"\2\0\2\0")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_LOGGED_CHARACTERS = 200
# Bodies up to this size need no slot: a thousand of them are 64 MiB.
_SMALL_BYTES = 64 * 1024
_LARGE_BODIES = 4
# A body has this time, and a second more for so many bytes of it.
BODY_SECONDS = 20.0
_BYTES_A_SECOND = 64 * 1024
_CLOSE = {"Connection": "close"}
_PLAIN = {"Accept-Encoding": "identity"}


def add_middleware(
    app: FastAPI, *, max_body_bytes: int = MAX_BODY_BYTES, max_json_depth: int = MAX_JSON_DEPTH
) -> None:
    """Put every add_middleware around an application.

    Args:
        app: The application.
        max_body_bytes: The largest body that is read; a larger one is answered with 413.
        max_json_depth: The deepest JSON that is read; a deeper one is answered with 422.
    """
    # The last one is called first.
    app.add_middleware(BodyLimits, max_bytes=max_body_bytes, max_depth=max_json_depth)
    app.add_middleware(CatchAllMiddleware)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(HeadRequests)
    app.add_middleware(AccessLog)


class BodyLimits:
    """Hands a body to the application whole, when it asks for it, within limits of size, time and number.

    A body that its headers show to be refused is not read. JSON that is too deep or not in UTF-8 is
    refused with 422.

    Args:
        app: The application that this is around.
        max_bytes: The largest body, whether its length is declared or it comes in pieces.
        max_depth: The deepest JSON.
        seconds: The time that a body has; each byte gives a little more.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, max_depth: int, seconds: float = BODY_SECONDS
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_depth = max_depth
        self._seconds = seconds
        self._slots = CallerSlots(total=_LARGE_BODIES, per_caller=_LARGE_BODIES // 2, waiting=_LARGE_BODIES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if refusal := self._refuse_by_headers(headers, scope["path"]):
            await refusal(scope, receive, send)
            return
        is_json = "json" in headers.get("content-type", "").lower()
        is_read = False

        async def receive_whole() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            is_read = True
            body = await self._read(scope, receive, stack)
            if is_json:
                is_small = len(body) <= _SMALL_BYTES
                find = self._find_problem
                if wrong := find(body) if is_small else await asyncio.to_thread(find, body):
                    raise ProblemError(422, errors=[{"loc": ["body"], "msg": wrong}])
            return {"type": "http.request", "body": body, "more_body": False}

        # A slot is held until the answer is sent, as long as the body is in memory.
        async with AsyncExitStack() as stack:
            await self._app(scope, receive_whole, send)

    def _refuse_by_headers(self, headers: Headers, path: str) -> Response | None:
        length = headers.get("content-length", "0")
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy may use the one and this server the other, and take what follows for a request.
            return problem(
                path, 400, "Two lengths of the body: send Content-Length or Transfer-Encoding", headers=_CLOSE
            )
        if not (length.isascii() and length.isdigit()):
            return problem(path, 400, "The length of the body is no number")
        if int(length[:20]) > self._max_bytes:
            return problem(path, 413, self._largest)
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            # Decoded, a small one may be of any size.
            return problem(path, 415, "Send the body without Content-Encoding", headers=_PLAIN)
        return None

    @property
    def _largest(self) -> str:
        return f"The body is larger than {self._max_bytes:,} bytes"

    def _find_problem(self, body: bytes) -> str | None:
        """Return the reason why JSON is refused; None if it may be parsed."""
        # UTF-16 and UTF-32, which Python's reader takes, cannot do without, and would hide how deep it is.
        if b"\0" in body:
            return "JSON is in UTF-8 and has no plain NUL"
        if exceeds_depth(body, self._max_depth):
            return f"JSON is nested deeper than {self._max_depth} levels"
        return None

    async def _read(self, scope: Scope, receive: Receive, stack: AsyncExitStack) -> bytes:
        """Return the body; a large one takes a slot, which the stack releases."""
        parts: list[bytes] = []
        size = 0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._seconds
        try:
            while True:
                # Each byte gives more time, so that a large body needs no fast line, and a trickle ends.
                async with asyncio.timeout_at(deadline + size / _BYTES_A_SECOND):
                    message = await receive()
                if message["type"] == "http.disconnect":
                    # The answer goes nowhere, but middleware around an application waits for it.
                    raise ProblemError(400, "The body broke off")
                part = message.get("body", b"")
                if size <= _SMALL_BYTES < size + len(part):
                    waiting = loop.time()
                    await stack.enter_async_context(self._slots.hold(caller_of(scope)))
                    deadline += loop.time() - waiting
                size += len(part)
                if size > self._max_bytes:
                    raise ProblemError(413, self._largest)
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
        except TimeoutError:
            raise ProblemError(408, headers=_CLOSE) from None


def exceeds_depth(body: bytes, depth: int) -> bool:
    """Return whether JSON in UTF-8 is nested deeper than a number of levels."""
    signs = _TEXTS.sub(b"", body).translate(_SIGNS, _NO_BRACKETS)
    # Bytes have no sign: opening brackets count 2 and closing ones 0, one too many at each position.
    return max(map(sub, accumulate(signs), count_from(1)), default=0) > depth


class SecurityHeaders:
    """Adds the headers to each answer that keep browsers and caches from misusing it, where it has none.

    Args:
        app: The application that this is around.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, add)


class HeadRequests:
    """Answers HEAD as GET without its body, of which a stream makes no more than the beginning.

    Args:
        app: The application that this is around.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope.get("method") != "HEAD":
            await self._app(scope, receive, send)
            return
        is_complete = False

        async def send_head(message: Message) -> None:
            nonlocal is_complete
            if message["type"] != "http.response.body":
                await send(message)
            elif not is_complete:
                is_complete = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                if message.get("more_body", False):
                    stream.cancel()

        asked = {**scope, "method": "GET"}
        with CancelScope() as stream:
            try:
                await self._app(asked, receive, send_head)
            finally:
                # The log names its route, and not its path.
                scope.update({**asked, "method": "HEAD"})


class AccessLog:
    """Logs each request in one line of JSON: time, key, route and status; never its path, query or body.

    `ms` is the time in milliseconds until the answer was sent, `bytes` the length of its body.

    Args:
        app: The application that this is around.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._templates: dict[int, str | None] = {}
        self._patterns: list[tuple[re.Pattern[str], str]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, size, at, began = 0, 0, datetime.now(UTC), time.perf_counter()

        async def count(message: Message) -> None:
            nonlocal status, size
            status = message.get("status", status)
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, count)
        finally:
            line = {
                "time": at.isoformat(timespec="milliseconds"),
                "key": scope.get("state", {}).get("key"),
                "method": scope["method"],
                "path": self._path_of(scope),
                "status": status,
                "ms": round((time.perf_counter() - began) * 1000, 1),
                "bytes": size,
            }
            access_log.info("%s", json.dumps(line))

    def _path_of(self, scope: Scope) -> str:
        """Return the template of the route that answered, or would have; the path itself where none would."""
        answered = scope.get("route")
        template = getattr(answered, "path_format", None)
        if not isinstance(template, str):
            return self._template_of(scope) or str(scope["path"])[:_LOGGED_CHARACTERS]
        # The route of an included router does not know the prefix, and to look for it takes long.
        if id(answered) not in self._templates:
            known = iter_route_contexts(scope["app"].routes)
            self._templates |= {id(one.original_route): one.path_format for one in known}
        return self._templates.get(id(answered)) or template

    def _template_of(self, scope: Scope) -> str | None:
        """Return the template of the route that a request was refused before it came to."""
        if self._patterns is None:
            known = [one.path for one in iter_route_contexts(scope["app"].routes) if one.path is not None]
            self._patterns = [(compile_path(path)[0], path) for path in dict.fromkeys(known)]
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        return next((template for pattern, template in self._patterns if pattern.match(path)), None)
