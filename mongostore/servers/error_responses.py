"""Error answers: problems of RFC 9457, which never quote the request."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mongostore.errors import (
    AlreadyExistsError,
    ConflictError,
    DocumentTooLargeError,
    InvalidValueError,
    MongoStoreError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1

log: Final = logging.getLogger("mongostore.servers")

_STATUSES: Mapping[type[MongoStoreError], int] = {
    NotFoundError: 404,
    AlreadyExistsError: 409,
    ConflictError: 409,
    DocumentTooLargeError: 413,
    InvalidValueError: 422,
    UnsupportedError: 501,
    UnavailableError: 503,
}
_SCHEMA = {
    "title": "Problem",
    "description": "An error, in the form of RFC 9457.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {
            "type": "string",
            "description": "A kind of problem; `about:blank` says no more than `title`.",
        },
        "title": {"type": "string", "description": "The meaning of the status."},
        "status": {"type": "integer", "description": "The status of the answer."},
        "detail": {"type": "string", "description": "The reason in this case, and the remedy."},
        "instance": {
            "type": "string",
            "format": "uri-reference",
            "description": "The path that was asked for.",
        },
        "errors": {
            "type": "array",
            "description": "The errors in the request, each with its location.",
            "items": {
                "type": "object",
                "required": ["loc", "msg"],
                "properties": {
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": {"type": "string"},
                },
            },
        },
    },
}
_WORDS = {
    400: "The request cannot be read",
    401: "A valid key is needed",
    403: "Requests from there are not allowed",
    404: "There is nothing of that kind with that id",
    408: "The body came too slowly",
    409: "The present state does not allow it",
    412: "It has changed since it was read",
    413: "The request is too large",
    415: "The body is not said to be JSON",
    422: "The request does not fit",
    429: "There were too many requests",
    500: "The server failed",
    501: "The deployment cannot do it",
    503: "The store does not answer",
}


_RETRY_AFTER = {
    "Retry-After": {"description": "In how many seconds to try again.", "schema": {"type": "integer"}}
}
_HEADERS = {
    401: {
        "WWW-Authenticate": {"description": "The scheme to authenticate with.", "schema": {"type": "string"}}
    },
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of an operation, as FastAPI takes them."""
    content = {MEDIA_TYPE: {"schema": _SCHEMA}}
    return {
        status: {"description": _WORDS[status], "headers": _HEADERS.get(status, {}), "content": content}
        for status in statuses
    }


DEFAULT_HTTP_ERROR_RESPONSES = problem_responses(400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503)


def problem(
    path: str,
    status: int,
    detail: str = "",
    *,
    errors: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an error answer.

    Args:
        path: The path of the request, without its query.
        status: The status of the answer.
        detail: The reason in this case; else the meaning of the status.
        errors: The errors in the request, as `loc` and `msg`.
        headers: Further headers.
    """
    title = HTTPStatus(status).phrase
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail or _WORDS.get(status, title),
        "instance": quote(path),
    }
    if errors:
        body["errors"] = errors
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def install_error_handlers(app: FastAPI) -> None:
    """Make an application answer every error as a problem, our own ones by their meaning."""
    for kind in (HTTPException, RequestValidationError, MongoStoreError):
        app.add_exception_handler(kind, to_problem)


def to_problem(request: Request, error: Exception) -> Response:
    """Return the answer to a request that failed."""
    if isinstance(error, HTTPException):
        return _http_problem(request, error)
    if isinstance(error, RequestValidationError):
        wrong = [{"loc": _location(detail), "msg": _detail(detail)} for detail in error.errors()]
        return problem(request.scope["path"], 422, errors=wrong)
    assert isinstance(error, MongoStoreError)
    return _store_problem(request, error)


class CatchAllMiddleware:
    """Answers uncaught exceptions with 500, and logs their class and location but not their text.

    A request that is cancelled, since the server ends, is answered with a 503.

    Args:
        app: The application that this is around.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        begun = False

        async def watch(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except asyncio.CancelledError:
            # The server ends, and waits no longer.
            if not begun and scope["type"] == "http":
                retry = {"Retry-After": str(RETRY_SECONDS)}
                await problem(scope["path"], 503, "The server ends", headers=retry)(scope, receive, send)
            raise
        # Its text may quote a message, and does not belong in the log of the server around.
        except Exception as error:
            if scope["type"] != "http":
                raise
            frames = traceback.extract_tb(error.__traceback__)
            where = ", ".join(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames[::-1])
            log.error("%s, raised at %s", type(error).__name__, where)
            if begun:
                raise RuntimeError("the answer broke off") from None
            await problem(scope["path"], 500, _failure(error))(scope, receive, send)


def _http_problem(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    if error.status_code == 405:
        first = {*headers.get("Allow", "").replace(",", " ").split()}
        headers["Allow"] = ", ".join(sorted(first | _allowed_methods(request)))
    path = request.scope["path"]
    if isinstance(error, ProblemError):
        return problem(path, error.status_code, error.detail, errors=error.errors, headers=headers)
    # Starlette's own words are the meaning of the status; FastAPI's may quote the body.
    return problem(path, error.status_code, headers=headers)


def _allowed_methods(request: Request) -> set[str]:
    """Return the methods of all routes of a path; Starlette names those of the first."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    routes = [one for one in iter_route_contexts(request.app.routes) if one.methods and one.path is not None]
    methods = {
        method
        for route in routes
        for method in route.methods or ()
        if compile_path(str(route.path))[0].match(path)
    }
    # HeadRequests answers it.
    return methods | {"HEAD"} if "GET" in methods else methods


class ProblemError(HTTPException):
    """An error answer with words of ours.

    Args:
        status: The status of the answer.
        detail: The reason and the remedy; else the meaning of the status.
        errors: The errors in the request, as `loc` and `msg`.
        headers: Further headers.
    """

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.errors = errors


def _location(detail: Mapping[str, Any]) -> list[str | int]:
    """Return the location of an error, without the name of an unknown member, which is a caller's text."""
    location = [*detail["loc"]]
    return location[:-1] if detail["type"] == "extra_forbidden" else location


def _detail(detail: Mapping[str, Any]) -> str:
    return "There is an unknown member" if detail["type"] == "extra_forbidden" else detail["msg"]


def _store_problem(request: Request, error: MongoStoreError) -> Response:
    path = request.scope["path"]
    if isinstance(error, InvalidValueError):
        # After the first dot or bracket come keys of the caller.
        name = error.path.partition("[")[0].partition(".")[0]
        return problem(path, 422, errors=[{"loc": [name], "msg": error.reason}])
    for kind, status in _STATUSES.items():
        if isinstance(error, kind):
            # Callers need not know which server does not answer.
            detail = "" if status >= 500 else str(error)
            headers = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else None
            return problem(path, status, detail, headers=headers)
    log.error("%s: %s", type(error).__name__, error)
    return problem(path, 500, _failure(error))


def _failure(error: Exception) -> str:
    return f"The server failed with {type(error).__name__}; its log has more"
