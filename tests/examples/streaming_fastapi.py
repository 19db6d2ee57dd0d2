"""A chat endpoint that streams an answer and keeps its beginning when the browser goes away."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse

from mongostore import AsyncMongoStore, AsyncSessions, Message, NotFoundError, Page


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
    async with AsyncMongoStore() as store:  # MONGOSTORE_URI
        yield {"store": store}


app = FastAPI(lifespan=lifespan)


def tenant_sessions(request: Request) -> AsyncSessions:
    store: AsyncMongoStore = request.state.store
    return store.sessions.in_namespace(request.headers.get("x-tenant", "default"))


Sessions = Annotated[AsyncSessions, Depends(tenant_sessions)]


async def ask_model(messages: list[dict[str, Any]]) -> AsyncIterator[str]:
    for word in f"You sent {len(messages)} messages.".split(" "):
        yield word + " "


@app.post("/chats/{chat_id}")
async def answer(chat_id: str, question: str, user: str, sessions: Sessions) -> StreamingResponse:
    await sessions.messages.append(
        chat_id, Message(role="user", content=question), create={"user_id": user, "name": question[:60]}
    )
    history = await sessions.messages.list(chat_id, limit=50, newest=True)

    async def body() -> AsyncIterator[str]:
        async with sessions.messages.stream(chat_id, role="assistant") as out:
            async for token in ask_model([message.to_openai() for message in history]):
                await out.write(token)
                yield token
            await out.update(metadata={"model": "demo-1"})

    return StreamingResponse(body(), media_type="text/plain")


@app.get("/chats/{chat_id}/messages")
async def history(chat_id: str, sessions: Sessions, cursor: str | None = None) -> Page[Message]:
    try:
        return await sessions.messages.list(chat_id, cursor=cursor, newest=True)
    except NotFoundError as error:
        raise HTTPException(404, str(error)) from None
