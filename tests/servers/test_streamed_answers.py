"""An endpoint that streams an answer keeps what was said when its client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from mongostore import AsyncMongoStore, Message


def chat(store: AsyncMongoStore, is_asked: asyncio.Event) -> FastAPI:
    """An application as others write it, whose model says its words until nobody listens, or four of them."""
    app = FastAPI()

    async def ask_model(words: int) -> AsyncIterator[str]:
        for number in range(words):
            is_asked.set()
            yield f"word{number} "
            await asyncio.sleep(0.01)

    @app.post("/chats/{chat_id}")
    async def answer(chat_id: str, question: str, words: int) -> StreamingResponse:
        messages = store.sessions.messages
        await messages.append(chat_id, Message(role="user", content=question), create=True)

        async def body() -> AsyncIterator[str]:
            async with messages.stream(chat_id, role="assistant") as out:
                async for token in ask_model(words):
                    await out.write(token)
                    yield token

        return StreamingResponse(body(), media_type="text/plain")

    return app


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """Serve an application at a port of this machine."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


async def newest(store: AsyncMongoStore) -> Message:
    return (await store.sessions.messages.list("c", newest=True, limit=1))[0]


@pytest.mark.smoke
async def test_a_client_that_disconnects_leaves_the_answer_so_far(store: AsyncMongoStore) -> None:
    async with serving(chat(store, asyncio.Event())) as url, httpx.AsyncClient() as client:
        received = ""
        params = {"question": "Why?", "words": 100_000}
        async with client.stream("POST", f"{url}/chats/c", params=params) as answer:
            async for text in answer.aiter_text():
                received += text
                if len(received) > 60:
                    break
        async with asyncio.timeout(20):
            while (stored := await newest(store)).status == "streaming":
                await asyncio.sleep(0.02)
    assert (stored.role, stored.status) == ("assistant", "interrupted")
    assert stored.content.startswith(received)
    assert stored.content == "".join(f"word{number} " for number in range(len(stored.content.split())))


async def test_a_client_that_stays_gets_the_whole_answer(store: AsyncMongoStore) -> None:
    async with serving(chat(store, asyncio.Event())) as url, httpx.AsyncClient() as client:
        answer = await client.post(f"{url}/chats/c", params={"question": "Why?", "words": 4})
    stored = await newest(store)
    assert answer.text == stored.content == "word0 word1 word2 word3 "
    assert stored.status == "complete"


async def test_a_server_that_ends_leaves_the_answer_so_far(store: AsyncMongoStore) -> None:
    is_asked = asyncio.Event()
    async with httpx.AsyncClient() as client:
        async with serving(chat(store, is_asked)) as url:
            params = {"question": "Why?", "words": 100_000}
            asking = asyncio.create_task(client.post(f"{url}/chats/c", params=params))
            await is_asked.wait()
            await asyncio.sleep(0.1)
            asking.cancel()
        async with asyncio.timeout(20):
            while (stored := await newest(store)).status == "streaming":
                await asyncio.sleep(0.02)
    assert stored.content.startswith("word0 ")
    assert stored.status == "interrupted"
