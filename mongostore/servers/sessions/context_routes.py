"""The operations on the context of a session: one JSON value."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from mongostore.errors import NotFoundError
from mongostore.servers.error_responses import problem_responses
from mongostore.servers.sessions.models import ContextV1, to_json_safe
from mongostore.servers.sessions.parameters import (
    ETAG,
    READ,
    namespace_path_param,
    session_path_param,
    sessions_of,
)
from mongostore.servers.sessions.preconditions import (
    check_match,
    etag_of_value,
    if_match_header,
    if_none_match_header,
    is_bound,
    matched,
)
from mongostore.servers.sessions.route import SessionsRoute

context_router: Final = APIRouter(route_class=SessionsRoute)


@context_router.get(
    "/{activity_session}/context",
    response_model=ContextV1,
    responses=READ,
    dependencies=[Depends(if_none_match_header)],
)
async def get_context(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
) -> Response:
    """Get the context of a session."""
    value = await sessions_of(fastapi_request, namespace).context.get(activity_session)
    return JSONResponse({"value": to_json_safe(value)}, headers={"ETag": etag_of_value(value)})


@context_router.put(
    "/{activity_session}/context",
    status_code=204,
    responses={204: {"headers": ETAG}, **problem_responses(409, 412)},
    dependencies=[Depends(if_match_header)],
)
async def set_context(
    fastapi_request: Request,
    request: ContextV1,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
) -> Response:
    """Store the context of a session in the place of the present one."""
    context = sessions_of(fastapi_request, namespace).context
    expected = await _expected(fastapi_request, namespace, activity_session)
    await matched(fastapi_request, context.set(activity_session, request.value, **expected))
    return Response(status_code=204, headers={"ETag": etag_of_value(request.value)})


@context_router.delete(
    "/{activity_session}/context",
    status_code=204,
    responses=problem_responses(409, 412),
    dependencies=[Depends(if_match_header)],
)
async def delete_context(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
) -> Response:
    """Delete the context of a session."""
    context = sessions_of(fastapi_request, namespace).context
    expected = await _expected(fastapi_request, namespace, activity_session)
    if not await matched(fastapi_request, context.delete(activity_session, **expected)):
        await sessions_of(fastapi_request, namespace).get(activity_session)
        raise NotFoundError("context of session", activity_session)
    return Response(status_code=204)


async def _expected(request: Request, namespace: str, session_id: str) -> dict[str, Any]:
    """Return the context to which an If-Match header binds a change, if it does."""
    if not is_bound(request):
        return {}
    value = await sessions_of(request, namespace).context.get(session_id)
    check_match(request, etag_of_value(value))
    return {"expected": value}
