"""Parameters and answers that the operations share."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

from fastapi import Path, Query, Request

from mongostore.repositories.sessions import AsyncSessions
from mongostore.servers.error_responses import ProblemError
from mongostore.servers.middleware import MAX_JSON_DEPTH, exceeds_depth
from mongostore.servers.sessions.models import ID_PATTERN, check_json
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
since_query_param: Final[Any] = Query(
    None, description="Created at this time or later; active, if the order is `active`."
)
until_query_param: Final[Any] = Query(None, description="Created, or active, before this time.")
limit_query_param: Final[Any] = Query(100, ge=1, le=1000, description="How many at most.")

# FastAPI knows no parameter that is JSON.
METADATA_PARAM: Final[dict[str, Any]] = {
    "name": "metadata",
    "in": "query",
    "required": False,
    "description": "A JSON object: each of its keys has this value in the metadata of the sessions.",
    "content": {"application/json": {"schema": {"type": "object", "title": "Metadata"}}},
}
_MAX_METADATA = 4096

ETAG: Final[dict[str, Any]] = {
    "ETag": {"description": "The version, for `If-Match`.", "schema": {"type": "string"}}
}
# The answers with an entity that has a version.
READ: Final[dict[int | str, dict[str, Any]]] = {
    200: {"headers": ETAG},
    304: {"headers": ETAG, "description": "It still has the version that `If-None-Match` names"},
}
LOCATION: Final[dict[str, Any]] = {"Location": {"description": "Where it is.", "schema": {"type": "string"}}}


def sessions_of(request: Request, namespace: str) -> AsyncSessions:
    """Return the sessions of a namespace."""
    return service_of(request.app).store.sessions.in_namespace(namespace)


def metadata_of(request: Request) -> dict[str, Any] | None:
    """Return the metadata by which a list is filtered; None if there are none."""
    text = request.query_params.get("metadata")
    if text is None:
        return None
    found = None
    if len(text) <= _MAX_METADATA and not exceeds_depth(text.encode(errors="replace"), MAX_JSON_DEPTH):
        with suppress(ValueError):
            found = check_json(json.loads(text))
    if not isinstance(found, dict):
        reason = f"must be a JSON object of {_MAX_METADATA:,} characters at most"
        raise ProblemError(422, errors=[{"loc": ["query", "metadata"], "msg": reason}])
    return found


async def job_pool_dependency(fastapi_request: Request) -> ThreadPoolExecutor:
    """Return the threads in which integrators run that block."""
    # A coroutine, as FastAPI would call a plain function in a thread, which takes longer than all it does.
    return service_of(fastapi_request.app).job_pool
