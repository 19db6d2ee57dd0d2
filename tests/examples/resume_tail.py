"""Server-sent events: a browser that connects again, to any worker, misses nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Header, Request
from fastapi.responses import StreamingResponse

from mongostore import AsyncMongoStore, ChangeKind, TokenExpiredError


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
    async with AsyncMongoStore() as store:  # MONGOSTORE_URI
        yield {"store": store}


app = FastAPI(lifespan=lifespan)


async def tail(store: AsyncMongoStore, chat_id: str, seen: str | None) -> AsyncIterator[str]:
    messages = store.sessions.messages
    try:
        changes = messages.watch(chat_id, after=seen) if seen else messages.watch(chat_id, last=50)
        async for change in changes:
            if change.kind is ChangeKind.CLOSE:
                yield "event: close\ndata: {}\n\n"
                return
            message = "null" if change.message is None else change.message.model_dump_json()
            yield f"id: {change.token}\nevent: {change.kind}\ndata: {message}\n\n"
    except TokenExpiredError:
        # Away for longer than the server's history: the browser forgets its id.
        yield "id: \nevent: reload\ndata: {}\n\n"


@app.get("/chats/{chat_id}/stream")
async def stream(
    request: Request, chat_id: str, last_event_id: str | None = Header(None)
) -> StreamingResponse:
    store: AsyncMongoStore = request.state.store
    return StreamingResponse(tail(store, chat_id, last_event_id), media_type="text/event-stream")
