"""Parameters and answers that the operations share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from fastapi import Path, Query, Request

from mongostore.repositories.sessions import AsyncSessions
from mongostore.servers.sessions.models import ID_PATTERN
from mongostore.servers.sessions.service import service_of

namespace_path_param: Final[Any] = Path(
    ..., description="The namespace; there is no need to make one.", pattern=ID_PATTERN
)
session_path_param: Final[Any] = Path(..., description="The session's id.", pattern=ID_PATTERN)
participant_path_param: Final[Any] = Path(..., description="The participant's id.", pattern=ID_PATTERN)
message_path_param: Final[Any] = Path(..., description="The message's id.", pattern=ID_PATTERN)
cursor_query_param: Final[Any] = Query(None, description="The `next_cursor` of the page before.")
backwards_query_param: Final[Any] = Query(
    False, description="Whether the first page has the newest, and each further one those before."
)
order_query_param: Final[Any] = Query("created", description="By creation, or by the newest activity.")
limit_query_param: Final[Any] = Query(100, ge=1, le=1000, description="How many at most.")

ETAG: Final[dict[str, Any]] = {
    "ETag": {"description": "The version, for `If-Match`.", "schema": {"type": "string"}}
}
LOCATION: Final[dict[str, Any]] = {"Location": {"description": "Where it is.", "schema": {"type": "string"}}}


def sessions_of(request: Request, namespace: str) -> AsyncSessions:
    """Return the sessions of a namespace."""
    return service_of(request.app).store.sessions.in_namespace(namespace)


async def job_pool_dependency(fastapi_request: Request) -> ThreadPoolExecutor:
    """Return the threads in which integrators run that block."""
    # A coroutine, as FastAPI would call a plain function in a thread, which takes longer than all it does.
    return service_of(fastapi_request.app).job_pool
