"""What stands around every server of ours: limits of what comes in, headers of what goes out, a log line."""

from __future__ import annotations

import json
import logging
import re
import time
from datetime import UTC, datetime
from itertools import accumulate, count
from operator import sub
from typing import Final

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mongostore.servers.error_responses import CatchAllMiddleware, problem

MAX_BODY_BYTES = 1024 * 1024
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


def add_middleware(
    app: FastAPI, *, max_body_bytes: int = MAX_BODY_BYTES, max_json_depth: int = MAX_JSON_DEPTH
) -> None:
    """Put every add_middleware around an application.

    Args:
        app: The application.
        max_body_bytes: The largest body that is read; a larger one is answered with 413.
        max_json_depth: The deepest JSON that is read; a deeper one is answered with 422.
    """
    # What is added last is asked first.
    app.add_middleware(BodyLimits, max_bytes=max_body_bytes, max_depth=max_json_depth)
    app.add_middleware(CatchAllMiddleware)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(AccessLog)


class BodyLimits:
    """Reads a request's body whole, unless it is too large; refuses JSON that is too deep or not in UTF-8.

    Args:
        app: The application that this is around.
        max_bytes: The largest body, whether it says its length or comes in pieces.
        max_depth: The deepest JSON.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, max_depth: int) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_depth = max_depth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        said = headers.get("content-length", "0")
        if not (said.isascii() and said.isdigit()):
            await problem(path, 400, "The length of the body is no number")(scope, receive, send)
            return
        try:
            # Told before the body, so that nobody sends it in vain.
            body = None if int(said[:20]) > self._max_bytes else await self._read(receive)
        except ClientDisconnect:
            return
        if body is None:
            largest = f"The body is larger than {self._max_bytes:,} bytes"
            await problem(path, 413, largest)(scope, receive, send)
            return
        if "json" in headers.get("content-type", "").lower() and (wrong := self._find_problem(body)):
            await problem(path, 422, errors=[{"loc": ["body"], "msg": wrong}])(scope, receive, send)
            return
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Message:
            return next(messages, None) or await receive()

        await self._app(scope, replay, send)

    def _find_problem(self, body: bytes) -> str | None:
        """Return what is wrong with JSON, None if its reader may see it."""
        # UTF-16 and UTF-32, which Python's reader takes, cannot do without, and would hide how deep it is.
        if b"\0" in body:
            return "JSON is in UTF-8 and has no plain NUL"
        if exceeds_depth(body, self._max_depth):
            return f"JSON is nested deeper than {self._max_depth} levels"
        return None

    async def _read(self, receive: Receive) -> bytes | None:
        """Return the body; None if it is too large."""
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_bytes:
                return None
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


def exceeds_depth(body: bytes, depth: int) -> bool:
    """Return whether JSON in UTF-8 is nested deeper than a number of levels."""
    signs = _TEXTS.sub(b"", body).translate(_SIGNS, _NO_BRACKETS)
    # Bytes have no sign: what opens counts 2 and what closes 0, which is one too many at each position.
    return max(map(sub, accumulate(signs), count(1)), default=0) > depth


class SecurityHeaders:
    """Adds to each answer what keeps browsers and caches from misusing it, unless it says otherwise itself.

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


class AccessLog:
    """Logs each request in one line of JSON: when, by which key, the route; never what was asked for or said.

    `ms` is the time in milliseconds until the answer was sent, `bytes` the length of its body.

    Args:
        app: The application that this is around.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, size, at, began = 0, 0, datetime.now(UTC), time.perf_counter()

        async def note(message: Message) -> None:
            nonlocal status, size
            status = message.get("status", status)
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            line = {
                "time": at.isoformat(timespec="milliseconds"),
                "key": scope.get("state", {}).get("key"),
                "method": scope["method"],
                "path": _path_of(scope),
                "status": status,
                "ms": round((time.perf_counter() - began) * 1000, 1),
                "bytes": size,
            }
            access_log.info("%s", json.dumps(line))


def _path_of(scope: Scope) -> str:
    """Return the template of the route that answered; the path itself, shortened, where none did."""
    template = getattr(scope.get("route"), "path_format", None)
    return template if isinstance(template, str) else str(scope["path"])[:_LOGGED_CHARACTERS]
