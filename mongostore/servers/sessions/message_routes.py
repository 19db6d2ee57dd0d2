"""The operations on messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import JSONResponse, Response

from mongostore.engines import Capability
from mongostore.errors import NotFoundError, UnsupportedError
from mongostore.models import Message, MessageUpdate, Page
from mongostore.repositories.sessions import AsyncSessionMessages
from mongostore.servers.access import caller_of
from mongostore.servers.error_responses import problem_responses
from mongostore.servers.sessions.event_streams import EVENTS, EventResponse, follow_messages
from mongostore.servers.sessions.idempotency import claim_key, gone, idempotency_key_header
from mongostore.servers.sessions.message_models import (
    MessagePageV1,
    MessagesAppendRequestV1,
    MessagesV1,
    MessageUpdateRequestV1,
    MessageV1,
    to_message,
    to_message_v1,
)
from mongostore.servers.sessions.models import ID_PATTERN
from mongostore.servers.sessions.pages import page_response
from mongostore.servers.sessions.parameters import (
    ETAG,
    READ,
    backwards_query_param,
    cursor_query_param,
    limit_query_param,
    message_path_param,
    namespace_path_param,
    session_path_param,
    sessions_of,
)
from mongostore.servers.sessions.preconditions import (
    bound_revision,
    check_match,
    etag_of_message,
    if_match_header,
    if_none_match_header,
    is_bound,
    matched,
)
from mongostore.servers.sessions.route import SessionsRoute
from mongostore.servers.sessions.service import service_of

messages_router: Final = APIRouter(route_class=SessionsRoute)


@messages_router.get("/{activity_session}/messages", response_model=MessagePageV1)
async def list_messages(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    newest: bool = backwards_query_param,
    conversation_id: str | None = Query(None, description="The conversation.", pattern=ID_PATTERN),
    before: int | None = Query(None, ge=0, le=2**62, description="The position before which they are."),
    after: int | None = Query(None, ge=0, le=2**62, description="The position behind which they are."),
    limit: int = limit_query_param,
    cursor: str | None = cursor_query_param,
) -> Response:
    """List the messages of a session, each page in the order in which they were appended.

    A page ends before its limit when its messages are large.
    """
    messages = _messages(fastapi_request, namespace)

    async def read(size: int, start: str | None) -> Page[Message]:
        return await messages.list(
            activity_session,
            newest=newest,
            conversation_id=conversation_id,
            before=before,
            after=after,
            limit=size,
            cursor=start,
        )

    return await page_response(read, to_message_v1, limit, cursor, is_backward=newest)


@messages_router.post(
    "/{activity_session}/messages",
    status_code=201,
    response_model=MessagesV1,
    responses=problem_responses(409, 412),
    dependencies=[Depends(if_match_header), Depends(idempotency_key_header)],
)
async def append_messages(
    fastapi_request: Request,
    request: MessagesAppendRequestV1,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
) -> Response:
    """Append messages to a session, all or none of them.

    A message whose id is there with the same content is left as it is. An `If-Match` names the session's
    ETag.
    """
    sessions, claim = sessions_of(fastapi_request, namespace), await claim_key(fastapi_request)
    messages = [
        to_message(message, claim.id and f"{claim.id}-{number}")
        for number, message in enumerate(request.messages)
    ]
    if claim.answer is not None:
        found = [await sessions.messages.find(activity_session, message.id) for message in messages]
        if None in found:
            raise gone()
        return _appended([message for message in found if message is not None])
    revision = await bound_revision(fastapi_request, sessions, activity_session)
    appending = sessions.messages.append_many(activity_session, messages, revision=revision)
    appended = await matched(fastapi_request, appending)
    await claim.answered({})
    return _appended(appended)


# Before the messages, one of which its path might name.
@messages_router.get(
    "/{activity_session}/messages/stream",
    response_class=EventResponse,
    responses={200: {"content": {"text/event-stream": {"schema": EVENTS}}}, **problem_responses(501)},
)
async def stream_messages(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    last: int = Query(0, ge=0, le=1000, description="How many of the newest messages come first."),
    last_event_id: str | None = Header(None, description="The id of the last event that was received."),
) -> Response:
    """Stream what happens to the messages of a session, as Server-Sent Events, until it is deleted.

    The events are `append`, `update` and `delete` of one message, and `truncate` of all. After `close` the
    session is gone. After `reload` the id is unknown or too old: list the messages again. Each event has an
    id, and a request with that as `Last-Event-ID`, as browsers send it by themselves, goes on behind it.
    """
    service, messages = service_of(fastapi_request.app), _messages(fastapi_request, namespace)
    if Capability.CHANGE_STREAMS not in service.store.capabilities:
        raise UnsupportedError("the deployment has no change streams")
    await messages.count(activity_session, limit=1)
    events = follow_messages(
        service, messages, activity_session, caller_of(fastapi_request.scope), last_event_id, last
    )
    # What is refused is refused before the answer begins.
    await anext(events)
    return EventResponse(events)


@messages_router.get(
    "/{activity_session}/messages/{message}",
    response_model=MessageV1,
    responses=READ,
    dependencies=[Depends(if_none_match_header)],
)
async def get_message(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    message: str = message_path_param,
) -> Response:
    """Get a message."""
    return _answer(await _messages(fastapi_request, namespace).get(activity_session, message))


@messages_router.patch(
    "/{activity_session}/messages/{message}",
    response_model=MessageV1,
    responses={200: {"headers": ETAG}, **problem_responses(409, 412)},
    dependencies=[Depends(if_match_header)],
)
async def update_message(
    fastapi_request: Request,
    request: MessageUpdateRequestV1,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    message: str = message_path_param,
) -> Response:
    """Update a message: members that are left out stay."""
    messages = _messages(fastapi_request, namespace)
    members: MessageUpdate = request.model_dump(exclude_unset=True)  # type: ignore[assignment]
    expected = await _expected(fastapi_request, messages, activity_session, message)
    if not members:
        return _answer(await messages.get(activity_session, message))
    updating = messages.update(activity_session, message, expected=expected, **members)
    return _answer(await matched(fastapi_request, updating))


@messages_router.delete(
    "/{activity_session}/messages/{message}",
    status_code=204,
    responses=problem_responses(409, 412),
    dependencies=[Depends(if_match_header)],
)
async def delete_message(
    fastapi_request: Request,
    namespace: str = namespace_path_param,
    activity_session: str = session_path_param,
    message: str = message_path_param,
) -> Response:
    """Delete a message; the others keep their positions."""
    messages = _messages(fastapi_request, namespace)
    expected = await _expected(fastapi_request, messages, activity_session, message)
    deleting = messages.delete(activity_session, message, expected=expected)
    if not await matched(fastapi_request, deleting):
        await messages.count(activity_session, limit=1)
        raise NotFoundError("message", message)
    return Response(status_code=204)


def _messages(request: Request, namespace: str) -> AsyncSessionMessages:
    return sessions_of(request, namespace).messages


async def _expected(
    request: Request, messages: AsyncSessionMessages, session_id: str, message_id: str
) -> Message | None:
    """Return the message to which an If-Match header binds a change; None if it does not."""
    if not is_bound(request):
        return None
    message = await messages.get(session_id, message_id)
    check_match(request, etag_of_message(message))
    return message


def _appended(messages: Sequence[Message]) -> Response:
    return JSONResponse({"messages": [*map(to_message_v1, messages)]}, 201)


def _answer(message: Message) -> Response:
    return JSONResponse(to_message_v1(message), headers={"ETag": etag_of_message(message)})
