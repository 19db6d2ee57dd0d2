"""A webhook whose sender repeats until it gets a 200: each delivery is stored exactly once, in order."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response

from mongostore import AsyncMongoStore, ConflictError, DocumentTooLargeError, Message, UnavailableError


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
    async with AsyncMongoStore() as store:  # MONGOSTORE_URI
        yield {"store": store}


app = FastAPI(lifespan=lifespan)


@app.post("/hooks/whatsapp")
async def receive(request: Request) -> Response:
    store: AsyncMongoStore = request.state.store
    payload = await request.json()
    sender = payload["from"]
    # The sender's id makes a repetition harmless.
    message = Message(id=payload["message_id"], role="user", content=payload["text"])
    sessions = store.sessions.in_namespace("whatsapp")
    try:
        stored = await sessions.messages.append(sender, message, create={"user_id": sender})
    except UnavailableError:
        return Response(status_code=503)
    except (ConflictError, DocumentTooLargeError) as error:
        return Response(str(error), status_code=422)  # the same id with another text; or 16 MiB
    return Response(f"stored at {stored.position}", status_code=200)
