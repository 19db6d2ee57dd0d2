"""FastAPI endpoint functions for managing sessions; each is what its operation is called."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from starlette.responses import JSONResponse, Response

from mongostore.errors import AlreadyExistsError, ConflictError, InvalidValueError, NotFoundError
from mongostore.models import Session, SessionUpdate, Turn
from mongostore.repositories.sessions import AsyncSessions
from mongostore.servers.access import Caller
from mongostore.servers.error_responses import DEFAULT_HTTP_ERROR_RESPONSES, ProblemError, problem_responses
from mongostore.servers.rate_limits import count_request
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
from mongostore.servers.sessions.preconditions import NO_MATCH, etag_of, revision_from_if_match
from mongostore.store import AsyncMongoStore

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

_ETAG = {"ETag": {"description": "The session's revision, for `If-Match`.", "schema": {"type": "string"}}}
_LOCATION = {"Location": {"description": "Where it is.", "schema": {"type": "string"}}}


def format_path(resource: str) -> str:
    """Return where a resource of a namespace is."""
    return f"/v1/namespaces/{{namespace}}/{resource.lower()}"


async def job_pool_dependency(fastapi_request: Request) -> ThreadPoolExecutor:
    """Return the threads in which integrators run that block."""
    # A coroutine, as FastAPI would call a plain function in a thread, which takes longer than all it does.
    pool: ThreadPoolExecutor = fastapi_request.app.state.job_pool
    return pool


async def _check_namespace(
    fastapi_request: Request, caller: Caller, namespace: str = namespace_path_param
) -> None:
    """Answer a key as if there were nothing in the namespaces that it may not use."""
    if caller is not None and not caller.allows(namespace):
        session = fastapi_request.path_params.get("activity_session")
        raise NotFoundError("session", session) if session else NotFoundError("namespace", namespace)


sessions_router: Final = APIRouter(
    prefix=format_path(RESOURCE_SESSIONS),
    tags=[RESOURCE_SESSIONS],
    dependencies=[Depends(count_request), Depends(_check_namespace)],
    responses=DEFAULT_HTTP_ERROR_RESPONSES,
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
    path = fastapi_request.app.url_path_for("get_session", namespace=namespace, activity_session=session.id)
    root = fastapi_request.scope.get("root_path", "")
    return _answer(session, 201, {"Location": f"{root}{path}"})


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
    if_match: str | None = Header(None, description="The ETag of what is to be changed, and nothing else."),
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Update a session resource: what is left out stays, null clears, `data` is replaced whole."""
    sessions = _sessions(fastapi_request, namespace)
    members: SessionUpdate = request.model_dump(exclude_unset=True)  # type: ignore[assignment]
    if not members or if_match is not None:
        session = await sessions.get(activity_session)
        revision = revision_from_if_match(if_match, session)
        if not members:
            return _answer(session)
    else:
        revision = None
    try:
        return _answer(await sessions.update(activity_session, revision=revision, **members))
    except ConflictError:
        if revision is None:
            raise
        raise ProblemError(412, NO_MATCH) from None


@sessions_router.delete("/{activity_session}", status_code=204)
async def soft_delete_session(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Soft delete a session resource: it is found no more until it is undeleted."""
    if not await _sessions(fastapi_request, namespace).soft_delete(activity_session):
        raise NotFoundError("session", activity_session)
    return Response(status_code=204)


@sessions_router.post(
    "/{activity_session}/undelete",
    response_model=SessionV1,
    responses={200: {"headers": _ETAG}, **problem_responses(409)},
)
async def undelete_session(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Undelete a soft-deleted session resource, with all that it had."""
    return _answer(await _sessions(fastapi_request, namespace).undelete(activity_session))


@sessions_router.post(
    "/{activity_session}/truncate",
    response_model=SessionV1,
    responses={200: {"headers": _ETAG}, **problem_responses(409)},
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
    return _answer(await _sessions(fastapi_request, namespace).truncate(activity_session))


@sessions_router.post(
    "/{activity_session}/integrate",
    response_model=IntegrationResultV1,
    responses={200: {"headers": _ETAG}, **problem_responses(409)},
)
async def integrate_session(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Execute a memory integration operation for all agents participating in this session."""
    integration = await _sessions(fastapi_request, namespace).turns.integrate(
        activity_session, fastapi_request.app.state.integrator, executor=job_pool
    )
    return JSONResponse(to_integration_result_v1(integration), headers={"ETag": etag_of(integration.session)})


@sessions_router.put(
    "/{activity_session}/participants/{participant}",
    response_model=ParticipantV1,
    responses={
        200: {"description": "It was bound already, and keeps all it has"},
        201: {"model": ParticipantV1, "description": "It is bound now"},
        **problem_responses(409),
    },
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
    try:
        bound, status = await sessions.participants.create(activity_session, participant), 201
    except AlreadyExistsError:
        bound, status = await sessions.participants.get(activity_session, participant), 200
    return JSONResponse(to_participant_v1(bound), status)


@sessions_router.delete(
    "/{activity_session}/participants/{participant}", status_code=204, responses=problem_responses(409)
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
    if not await sessions.participants.delete(activity_session, participant):
        if not await sessions.exists(activity_session):
            raise NotFoundError("session", activity_session)
        raise NotFoundError("participant", participant)
    return Response(status_code=204)


@sessions_router.post(
    "/{activity_session}/participants/{participant}/chat_turns",
    status_code=201,
    response_model=ChatTurnsV1,
    responses=problem_responses(409),
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
    appended = await sessions.turns.append_many(activity_session, participant, turns)
    return JSONResponse({"chat_turn_count": appended[-1].number}, 201)


def _sessions(request: Request, namespace: str) -> AsyncSessions:
    store: AsyncMongoStore = request.app.state.store
    return store.sessions.in_namespace(namespace)


def _answer(session: Session, status: int = 200, headers: dict[str, Any] | None = None) -> Response:
    return JSONResponse(to_session_v1(session), status, headers={"ETag": etag_of(session), **(headers or {})})
