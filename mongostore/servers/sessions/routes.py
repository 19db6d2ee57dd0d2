"""FastAPI endpoint functions for managing sessions, named as their operations."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Security
from starlette.responses import JSONResponse, Response

from mongostore.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidValueError,
    NotFoundError,
)
from mongostore.models import Session, SessionUpdate, Turn
from mongostore.repositories.sessions import AsyncSessions
from mongostore.servers.access import bearer, caller_of
from mongostore.servers.error_responses import (
    DEFAULT_HTTP_ERROR_RESPONSES,
    RETRY_SECONDS,
    ProblemError,
    problem_responses,
)
from mongostore.servers.sessions.models import (
    ID_PATTERN,
    ChatTurnsAppendRequestV1,
    ChatTurnsV1,
    IntegrationResultV1,
    ParticipantV1,
    SessionCreateRequestV1,
    SessionPageV1,
    SessionUpdateRequestV1,
    SessionV1,
    to_integration_result_v1,
    to_participant_v1,
    to_session_v1,
)
from mongostore.servers.sessions.preconditions import (
    NO_MATCH,
    etag_of,
    if_match_header,
    revision_from_if_match,
)
from mongostore.servers.sessions.route import SessionsRoute
from mongostore.servers.sessions.service import serve, service_of

R = TypeVar("R")

RESOURCE_SESSIONS = "Sessions"

log: Final = logging.getLogger("mongostore.servers")

namespace_path_param: Final[Any] = Path(
    ..., description="The namespace; there is no need to make one.", pattern=ID_PATTERN
)
session_path_param: Final[Any] = Path(..., description="The session's id.", pattern=ID_PATTERN)
participant_path_param: Final[Any] = Path(..., description="The participant's id.", pattern=ID_PATTERN)

# A session may have megabytes: few are read at first, more as long as those were small, and none once a page
# has so many bytes.
_FIRST_PART = 20
_LARGEST_PART = 100
_PAGE_BYTES = 8 * 1024 * 1024
_INTEGRATION_SECONDS = 300.0

_ETAG = {"ETag": {"description": "The session's revision, for `If-Match`.", "schema": {"type": "string"}}}
_LOCATION = {"Location": {"description": "Where it is.", "schema": {"type": "string"}}}


def format_path(resource: str) -> str:
    """Return where a resource of a namespace is."""
    return f"/v1/namespaces/{{namespace}}/{resource.lower()}"


async def job_pool_dependency(fastapi_request: Request) -> ThreadPoolExecutor:
    """Return the threads in which integrators run that block."""
    # A coroutine, as FastAPI would call a plain function in a thread, which takes longer than all it does.
    return service_of(fastapi_request.app).job_pool


sessions_router: Final = APIRouter(
    prefix=format_path(RESOURCE_SESSIONS),
    tags=[RESOURCE_SESSIONS],
    # For the schema; the route itself looks at the token.
    dependencies=[Security(bearer)],
    responses=DEFAULT_HTTP_ERROR_RESPONSES,
    route_class=SessionsRoute,
    lifespan=serve,
)


@sessions_router.post(
    "",
    status_code=201,
    response_model=SessionV1,
    responses={201: {"headers": _ETAG | _LOCATION}, **problem_responses(409)},
)
async def create_session(
    fastapi_request: Request,
    request: SessionCreateRequestV1,
    namespace: str = namespace_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Create a new session."""
    session = await _sessions(fastapi_request, namespace).create(
        request.id,
        name=request.name,
        description=request.description,
        data=request.data,
        participants=request.participants,
    )
    return _answer(session, 201, {"Location": f"{fastapi_request.scope['path']}/{session.id}"})


@sessions_router.get("", response_model=SessionPageV1)
async def list_sessions(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    include_deleted: bool = Query(False, description="Include deleted sessions in the response"),
    limit: int = Query(100, ge=1, le=1000, description="How many at most."),
    cursor: str | None = Query(None, description="The `next_cursor` of the page before."),
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """List all sessions in the namespace, in the order in which they were created.

    A page ends before its limit when its sessions are large.
    """
    sessions, deleted = _sessions(fastapi_request, namespace), None if include_deleted else False
    items: list[bytes] = []
    size = _FIRST_PART
    while limit > 0 and sum(map(len, items)) < _PAGE_BYTES:
        try:
            part = await sessions.list(
                deleted=deleted, order="created", newest=False, limit=min(limit, size), cursor=cursor
            )
        except InvalidValueError as error:
            if error.path == "cursor":
                raise ProblemError(400, "The cursor is not one that a page gave") from None
            raise
        for unreadable in part.errors:
            log.error("%s", unreadable)
        items += [json.dumps(to_session_v1(session)).encode() for session in part.items]
        limit, size, cursor = limit - size, min(2 * size, _LARGEST_PART), part.next_cursor
        if cursor is None:
            break
    body = b'{"items": [%b], "next_cursor": %b}' % (b", ".join(items), json.dumps(cursor).encode())
    return Response(body, media_type="application/json")


@sessions_router.get("/{activity_session}", response_model=SessionV1, responses={200: {"headers": _ETAG}})
async def get_session(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Get a session resource."""
    return _answer(await _sessions(fastapi_request, namespace).get(activity_session))


@sessions_router.patch(
    "/{activity_session}",
    response_model=SessionV1,
    responses={200: {"headers": _ETAG}, **problem_responses(409, 412)},
)
async def update_session(
    fastapi_request: Request,
    request: SessionUpdateRequestV1,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    if_match: str | None = Header(None, description="The ETag that the session must still have."),
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Update a session resource: members that are left out stay, null clears, `data` is replaced whole."""
    sessions = _sessions(fastapi_request, namespace)
    members: SessionUpdate = request.model_dump(exclude_unset=True)  # type: ignore[assignment]
    revision = await _revision(fastapi_request, sessions, activity_session)
    if not members:
        return _answer(await sessions.get(activity_session))
    updating = sessions.update(activity_session, revision=revision, **members)
    return _answer(await _if_matched(revision, updating))


@sessions_router.delete(
    "/{activity_session}",
    status_code=204,
    dependencies=[Depends(if_match_header)],
    responses=problem_responses(412),
)
async def soft_delete_session(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Soft delete a session resource: it is found no more until it is undeleted."""
    sessions = _sessions(fastapi_request, namespace)
    revision = await _revision(fastapi_request, sessions, activity_session)
    if not await _if_matched(revision, sessions.soft_delete(activity_session, revision=revision)):
        raise NotFoundError("session", activity_session)
    return Response(status_code=204)


@sessions_router.post(
    "/{activity_session}/undelete",
    response_model=SessionV1,
    responses={200: {"headers": _ETAG}, **problem_responses(409, 412)},
    dependencies=[Depends(if_match_header)],
)
async def undelete_session(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Undelete a soft-deleted session resource, with all that it had."""
    sessions = _sessions(fastapi_request, namespace)
    try:
        await _revision(fastapi_request, sessions, activity_session)
    except NotFoundError:
        # A deleted session has no representation, and no ETag that could match.
        raise ProblemError(412, NO_MATCH) from None
    return _answer(await sessions.undelete(activity_session))


@sessions_router.post(
    "/{activity_session}/truncate",
    response_model=SessionV1,
    responses={200: {"headers": _ETAG}, **problem_responses(409, 412)},
    dependencies=[Depends(if_match_header)],
)
async def truncate_session(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Perform a truncate operation on the session, which brings it back to a clean state.

    Cleared are its `data`, and of each participant the chat turns, the insights and `last_integration_turn`.
    """
    sessions = _sessions(fastapi_request, namespace)
    revision = await _revision(fastapi_request, sessions, activity_session)
    return _answer(await _if_matched(revision, sessions.truncate(activity_session, revision=revision)))


@sessions_router.post(
    "/{activity_session}/integrate",
    response_model=IntegrationResultV1,
    responses={200: {"headers": _ETAG}, **problem_responses(409, 412)},
    dependencies=[Depends(if_match_header)],
)
async def integrate_session(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Execute a memory integration operation for all agents participating in this session."""
    service, sessions = service_of(fastapi_request.app), _sessions(fastapi_request, namespace)
    await _revision(fastapi_request, sessions, activity_session)
    async with service.integrations.hold(f"{caller_of(fastapi_request.scope)} {namespace}"):
        try:
            async with asyncio.timeout(_INTEGRATION_SECONDS):
                integration = await sessions.turns.integrate(
                    activity_session, service.integrator, executor=job_pool
                )
        except TimeoutError:
            reason = f"The integration took longer than {_INTEGRATION_SECONDS:.0f} s: ask again for the rest"
            raise ProblemError(503, reason, headers={"Retry-After": str(RETRY_SECONDS)}) from None
    return JSONResponse(to_integration_result_v1(integration), headers={"ETag": etag_of(integration.session)})


@sessions_router.put(
    "/{activity_session}/participants/{participant}",
    response_model=ParticipantV1,
    responses={
        200: {"description": "It was bound already, and keeps all it has"},
        201: {"model": ParticipantV1, "description": "It is bound now"},
        **problem_responses(409, 412),
    },
    dependencies=[Depends(if_match_header)],
)
async def bind_participant(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    participant: str = participant_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Bind a participant to a session."""
    sessions = _sessions(fastapi_request, namespace)
    revision = await _revision(fastapi_request, sessions, activity_session)
    try:
        binding = sessions.participants.create(activity_session, participant, revision=revision)
        bound, status = await _if_matched(revision, binding), 201
    except AlreadyExistsError:
        bound, status = await sessions.participants.get(activity_session, participant), 200
    return JSONResponse(to_participant_v1(bound), status)


@sessions_router.delete(
    "/{activity_session}/participants/{participant}",
    status_code=204,
    responses=problem_responses(409, 412),
    dependencies=[Depends(if_match_header)],
)
async def unbind_participant(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    participant: str = participant_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Unbind a participant from a session, with its chat turns and insights."""
    sessions = _sessions(fastapi_request, namespace)
    revision = await _revision(fastapi_request, sessions, activity_session)
    unbinding = sessions.participants.delete(activity_session, participant, revision=revision)
    if not await _if_matched(revision, unbinding):
        if not await sessions.exists(activity_session):
            raise NotFoundError("session", activity_session)
        raise NotFoundError("participant", participant)
    return Response(status_code=204)


@sessions_router.post(
    "/{activity_session}/participants/{participant}/chat_turns",
    status_code=201,
    response_model=ChatTurnsV1,
    responses=problem_responses(409, 412),
    dependencies=[Depends(if_match_header)],
)
async def append_chat_turns(
    fastapi_request: Request,
    request: ChatTurnsAppendRequestV1,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    participant: str = participant_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Append chat turns of a participant, all or none; the next integration reads them."""
    turns = [Turn(role=turn.role, content=turn.content) for turn in request.turns]
    sessions = _sessions(fastapi_request, namespace)
    await _revision(fastapi_request, sessions, activity_session)
    appended = await sessions.turns.append_many(activity_session, participant, turns)
    return JSONResponse({"chat_turn_count": appended[-1].number}, 201)


def _sessions(request: Request, namespace: str) -> AsyncSessions:
    return service_of(request.app).store.sessions.in_namespace(namespace)


async def _if_matched(revision: int | None, change: Awaitable[R]) -> R:
    """Return the result of a change that is bound to a revision.

    Raises:
        ProblemError: If the session has another one by now (412).
    """
    try:
        return await change
    except ConflictError:
        if revision is None:
            raise
        raise ProblemError(412, NO_MATCH) from None


async def _revision(request: Request, sessions: AsyncSessions, session_id: str) -> int | None:
    """Return the revision that the session must still have; None if the request names none.

    Raises:
        ProblemError: If it has another one already (412).
        NotFoundError: If there is no such session.
    """
    if_match = ",".join(request.headers.getlist("if-match"))
    if "if-match" not in request.headers or if_match.strip() == "*":
        return None
    return revision_from_if_match(if_match, await sessions.get(session_id))


def _answer(session: Session, status: int = 200, headers: dict[str, Any] | None = None) -> Response:
    return JSONResponse(to_session_v1(session), status, headers={"ETag": etag_of(session), **(headers or {})})
