"""The changes of messages as Server-Sent Events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.responses import StreamingResponse

from mongostore.errors import InvalidValueError, NotFoundError, TokenExpiredError
from mongostore.models import ChangeKind, MessageChange
from mongostore.repositories.sessions import AsyncSessionMessages
from mongostore.servers.sessions.message_models import to_message_v1
from mongostore.servers.sessions.service import SessionsService

EVENTS: Final = {
    "type": "string",
    "description": "Events, whose data are JSON objects with `position` and `message`, a MessageV1 or null.",
}
# The empty id takes the unusable one from the browser, which would come with it again and again.
_RELOAD = format_sse_event(event="reload", data_str="{}", id="")


class EventResponse(StreamingResponse):
    """An answer of events, which proxies are asked to hand on as they come."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], status_code: int = 200) -> None:
        super().__init__(events, status_code, headers={"X-Accel-Buffering": "no"})


async def follow_messages(
    service: SessionsService,
    messages: AsyncSessionMessages,
    session_id: str,
    caller: str,
    after: str | None,
    last: int,
) -> AsyncIterator[bytes]:
    """Yield the changes of a session's messages as events, an empty one when the stream is taken on.

    Args:
        service: The service, which bounds how many streams there are, and ends them with itself.
        messages: The messages of the namespace.
        session_id: The session.
        caller: The caller, as streams are counted.
        after: The id of the event behind which to go on.
        last: How many of the newest messages come first, if there is no such event.
    """
    async with service.streams.hold(caller):
        yield b""
        changes: Any = messages.watch(session_id, after=after, last=None if after else last or None)
        try:
            async with aclosing(service.follow(changes)) as following:
                async for change in following:
                    yield KEEPALIVE_COMMENT if change is None else _to_event(change)
        except (InvalidValueError, TokenExpiredError):
            yield _RELOAD
        except NotFoundError:
            # Deleted before it was watched.
            yield format_sse_event(event=ChangeKind.CLOSE, data_str="{}")


def _to_event(change: MessageChange) -> bytes:
    data: dict[str, Any] = {}
    if change.kind not in (ChangeKind.TRUNCATE, ChangeKind.CLOSE):
        data = {"position": change.position, "message": change.message and to_message_v1(change.message)}
    return format_sse_event(event=change.kind, data_str=json.dumps(data), id=change.token)
