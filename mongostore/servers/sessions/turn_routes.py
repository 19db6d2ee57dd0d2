"""The operations on chat turns."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from mongostore.models import Page, Turn
from mongostore.servers.error_responses import problem_responses
from mongostore.servers.sessions.idempotency import claim_key, idempotency_key_header
from mongostore.servers.sessions.models import (
    ChatTurnPageV1,
    ChatTurnsAppendRequestV1,
    ChatTurnsV1,
    to_chat_turn_v1,
)
from mongostore.servers.sessions.pages import page_response
from mongostore.servers.sessions.parameters import (
    backwards_query_param,
    cursor_query_param,
    job_pool_dependency,
    limit_query_param,
    namespace_path_param,
    participant_path_param,
    session_path_param,
    sessions_of,
)
from mongostore.servers.sessions.preconditions import bound_revision, if_match_header, matched
from mongostore.servers.sessions.route import SessionsRoute

turns_router: Final = APIRouter(route_class=SessionsRoute)


@turns_router.get("/{activity_session}/participants/{participant}/chat_turns", response_model=ChatTurnPageV1)
async def list_chat_turns(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    participant: str = participant_path_param,
    newest: bool = backwards_query_param,
    limit: int = limit_query_param,
    cursor: str | None = cursor_query_param,
) -> Response:
    """List the chat turns of a participant, each page in the order in which they were appended.

    A page ends before its limit when its chat turns are large.
    """
    turns = sessions_of(fastapi_request, namespace).turns

    async def read(size: int, start: str | None) -> Page[Turn]:
        return await turns.list(activity_session, participant, newest=newest, limit=size, cursor=start)

    return await page_response(read, to_chat_turn_v1, limit, cursor, is_backward=newest)


@turns_router.post(
    "/{activity_session}/participants/{participant}/chat_turns",
    status_code=201,
    response_model=ChatTurnsV1,
    responses=problem_responses(409, 412),
    dependencies=[Depends(if_match_header), Depends(idempotency_key_header)],
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
    sessions, claim = sessions_of(fastapi_request, namespace), await claim_key(fastapi_request)
    if claim.answer is not None:
        return JSONResponse(claim.answer, 201)
    turns = [
        Turn(**({"id": f"{claim.id}-{number}"} if claim.id else {}), role=turn.role, content=turn.content)
        for number, turn in enumerate(request.turns)
    ]
    revision = await bound_revision(fastapi_request, sessions, activity_session)
    appending = sessions.turns.append_many(activity_session, participant, turns, revision=revision)
    appended = await matched(fastapi_request, appending)
    answer = {"chat_turn_count": appended[-1].number}
    await claim.answered(answer)
    return JSONResponse(answer, 201)
