"""FastAPI endpoint functions for managing sessions, named as their operations."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

from fastapi import APIRouter, Depends, Query, Request, Security
from pydantic import AwareDatetime
from starlette.responses import JSONResponse, Response

from mongostore.codec import is_same
from mongostore.errors import AlreadyExistsError, ConflictError, NotFoundError
from mongostore.models import ListOrder, Page, Session, SessionFilter, SessionUpdate
from mongostore.servers.access import bearer, caller_of
from mongostore.servers.error_responses import (
    DEFAULT_HTTP_ERROR_RESPONSES,
    RETRY_SECONDS,
    ProblemError,
    problem_responses,
)
from mongostore.servers.sessions.context_routes import context_router
from mongostore.servers.sessions.idempotency import claim_key, gone, idempotency_key_header
from mongostore.servers.sessions.message_routes import messages_router
from mongostore.servers.sessions.models import (
    ID_PATTERN,
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
from mongostore.servers.sessions.pages import page_response
from mongostore.servers.sessions.parameters import (
    ETAG,
    LOCATION,
    METADATA_PARAM,
    READ,
    cursor_query_param,
    job_pool_dependency,
    limit_query_param,
    metadata_of,
    namespace_path_param,
    order_query_param,
    participant_path_param,
    session_path_param,
    sessions_of,
    since_query_param,
    until_query_param,
)
from mongostore.servers.sessions.preconditions import (
    NO_MATCH,
    bound_revision,
    etag_of,
    if_match_header,
    if_none_match_header,
    is_bound,
    matched,
)
from mongostore.servers.sessions.route import SessionsRoute
from mongostore.servers.sessions.service import serve, service_of
from mongostore.servers.sessions.turn_routes import turns_router

RESOURCE_SESSIONS = "Sessions"

_INTEGRATION_SECONDS = 300.0


def format_path(resource: str) -> str:
    """Return where a resource of a namespace is."""
    return f"/v1/namespaces/{{namespace}}/{resource.lower()}"


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
    responses={201: {"headers": ETAG | LOCATION}, **problem_responses(409)},
    dependencies=[Depends(idempotency_key_header)],
)
async def create_session(
    fastapi_request: Request,
    request: SessionCreateRequestV1,
    namespace: str = namespace_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Create a new session."""
    sessions, claim = sessions_of(fastapi_request, namespace), await claim_key(fastapi_request)
    id = request.id or claim.id
    if claim.answer is not None:
        existing = await sessions.find(str(id))
        if existing is None or existing.created_at.isoformat() != claim.answer["created_at"]:
            raise gone()
        return _created(fastapi_request, existing)
    try:
        session = await sessions.create(id, **request.model_dump(exclude={"id"}))
    except AlreadyExistsError:
        existing = None if claim.id is None else await sessions.find(str(id))
        # One of an id that the caller has chosen may be another caller's.
        if existing is None or (request.id and not _is_as_asked_for(existing, request)):
            raise
        session = existing
    await claim.answered({"created_at": session.created_at.isoformat()})
    return _created(fastapi_request, session)


@sessions_router.get("", response_model=SessionPageV1, openapi_extra={"parameters": [METADATA_PARAM]})
async def list_sessions(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    include_deleted: bool = Query(False, description="Include deleted sessions in the response"),
    user_id: str | None = Query(None, description="The user of the sessions.", pattern=ID_PATTERN),
    participant_id: str | None = Query(
        None, description="A participant that is bound to the sessions.", pattern=ID_PATTERN
    ),
    text: str | None = Query(
        None, description="Words in the name or in one message, without regard to case.", max_length=1024
    ),
    since: AwareDatetime | None = since_query_param,
    until: AwareDatetime | None = until_query_param,
    order: ListOrder = order_query_param,
    newest: bool = Query(False, description="Whether the newest come first."),
    limit: int = limit_query_param,
    cursor: str | None = cursor_query_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """List the sessions of the namespace, by default all of them in the order in which they were created.

    A page ends before its limit when its sessions are large. With `text` it may be short, even empty, while
    others follow.
    """
    sessions = sessions_of(fastapi_request, namespace)
    where: SessionFilter = {
        "deleted": None if include_deleted else False,
        "user_id": user_id,
        "participant_id": participant_id,
        "text": text,
        "metadata": metadata_of(fastapi_request),
        "since": since,
        "until": until,
    }

    async def read(size: int, start: str | None) -> Page[Session]:
        return await sessions.list(order=order, newest=newest, limit=size, cursor=start, **where)

    return await page_response(read, to_session_v1, limit, cursor)


@sessions_router.get(
    "/{activity_session}",
    response_model=SessionV1,
    responses=READ,
    dependencies=[Depends(if_none_match_header)],
)
async def get_session(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Get a session resource."""
    return _answer(await sessions_of(fastapi_request, namespace).get(activity_session))


@sessions_router.patch(
    "/{activity_session}",
    response_model=SessionV1,
    responses={200: {"headers": ETAG}, **problem_responses(409, 412)},
    dependencies=[Depends(if_match_header)],
)
async def update_session(
    fastapi_request: Request,
    request: SessionUpdateRequestV1,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Update a session resource: members that are left out stay, null clears, `data` is replaced whole."""
    sessions = sessions_of(fastapi_request, namespace)
    members: SessionUpdate = request.model_dump(exclude_unset=True)  # type: ignore[assignment]
    revision = await bound_revision(fastapi_request, sessions, activity_session)
    if not members:
        return _answer(await sessions.get(activity_session))
    updating = sessions.update(activity_session, revision=revision, **members)
    return _answer(await matched(fastapi_request, updating))


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
    sessions = sessions_of(fastapi_request, namespace)
    revision = await bound_revision(fastapi_request, sessions, activity_session)
    if not await matched(fastapi_request, sessions.soft_delete(activity_session, revision=revision)):
        raise NotFoundError("session", activity_session)
    return Response(status_code=204)


@sessions_router.post(
    "/{activity_session}/undelete",
    response_model=SessionV1,
    responses={200: {"headers": ETAG}, **problem_responses(409, 412)},
    dependencies=[Depends(if_match_header)],
)
async def undelete_session(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Undelete a soft-deleted session resource, with all that it had."""
    sessions = sessions_of(fastapi_request, namespace)
    if is_bound(fastapi_request):
        try:
            await bound_revision(fastapi_request, sessions, activity_session)
        except NotFoundError:
            # A deleted session has no representation, and no ETag that could match.
            raise ProblemError(412, NO_MATCH) from None
        raise ConflictError(f"session {activity_session!r} is not deleted")
    return _answer(await sessions.undelete(activity_session))


@sessions_router.post(
    "/{activity_session}/truncate",
    response_model=SessionV1,
    responses={200: {"headers": ETAG}, **problem_responses(409, 412)},
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
    sessions = sessions_of(fastapi_request, namespace)
    revision = await bound_revision(fastapi_request, sessions, activity_session)
    return _answer(await matched(fastapi_request, sessions.truncate(activity_session, revision=revision)))


@sessions_router.post(
    "/{activity_session}/integrate",
    response_model=IntegrationResultV1,
    responses={200: {"headers": ETAG}, **problem_responses(409, 412)},
    dependencies=[Depends(if_match_header)],
)
async def integrate_session(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    job_pool: ThreadPoolExecutor = Depends(job_pool_dependency),
) -> Response:
    """Execute a memory integration operation for all agents participating in this session."""
    service, sessions = service_of(fastapi_request.app), sessions_of(fastapi_request, namespace)
    revision = await bound_revision(fastapi_request, sessions, activity_session)
    async with service.integrations.hold(f"{caller_of(fastapi_request.scope)} {namespace}"):
        try:
            async with asyncio.timeout(_INTEGRATION_SECONDS):
                integrating = sessions.turns.integrate(
                    activity_session, service.integrator, executor=job_pool, revision=revision
                )
                integration = await matched(fastapi_request, integrating)
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
    sessions = sessions_of(fastapi_request, namespace)
    revision = await bound_revision(fastapi_request, sessions, activity_session)
    while True:
        with suppress(AlreadyExistsError):
            binding = sessions.participants.create(activity_session, participant, revision=revision)
            return JSONResponse(to_participant_v1(await matched(fastapi_request, binding)), 201)
        # Unbound in between, it is bound again.
        if bound := await sessions.participants.find(activity_session, participant):
            return JSONResponse(to_participant_v1(bound))


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
    sessions = sessions_of(fastapi_request, namespace)
    revision = await bound_revision(fastapi_request, sessions, activity_session)
    unbinding = sessions.participants.delete(activity_session, participant, revision=revision)
    if not await matched(fastapi_request, unbinding):
        if not await sessions.exists(activity_session):
            raise NotFoundError("session", activity_session)
        raise NotFoundError("participant", participant)
    return Response(status_code=204)


def _created(request: Request, session: Session) -> Response:
    return _answer(session, 201, {"Location": f"{request.scope['path']}/{session.id}"})


def _answer(session: Session, status: int = 200, headers: dict[str, Any] | None = None) -> Response:
    return JSONResponse(to_session_v1(session), status, headers={"ETag": etag_of(session), **(headers or {})})


def _is_as_asked_for(session: Session, request: SessionCreateRequestV1) -> bool:
    """Return whether a session has all members that were asked for."""
    participants = [participant.id for participant in session.participants]
    members = request.model_dump(exclude={"id", "participants"})
    return participants == request.participants and all(
        is_same(getattr(session, name), value) for name, value in members.items()
    )


for _router in (turns_router, messages_router, context_router):
    sessions_router.include_router(_router)
