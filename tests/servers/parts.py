"""What tests of servers share: an application asked in this process, and a small one to try its parts on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import StreamingResponse

from mongostore import AsyncMongoStore, MongoStoreError, NotFoundError
from mongostore.servers.access import Access
from mongostore.servers.docs import add_docs_route
from mongostore.servers.error_responses import install_error_handlers
from mongostore.servers.middleware import add_middleware

BASE = "http://testserver"


def client(app: FastAPI, token: str | None = None) -> httpx.AsyncClient:
    """A client of an application in this process, which is spared nothing that it answers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers)


class Thing(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    data: Any = None


def small_app(store: AsyncMongoStore, **options: Any) -> FastAPI:
    """An application of all parts that our servers share, and little else."""
    app = FastAPI(title="Small", docs_url=None, redoc_url=None)
    install_error_handlers(app)
    add_middleware(app, **options)
    app.state.access = Access(store)
    add_docs_route(app)

    @app.get("/whoami")
    async def whoami(request: Request) -> str | None:
        caller = await request.app.state.access.authenticate(request)
        return caller and caller.name

    @app.post("/things/{thing}")
    async def post_thing(thing: str, body: Thing, number: int = Query(0)) -> Thing:
        return body

    @app.get("/raise/{kind}")
    async def fail(kind: str) -> None:
        raise ERRORS[kind]

    @app.get("/breaks")
    async def break_off() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"begun"
            raise ERRORS["other"]

        return StreamingResponse(parts())

    @app.get("/quiet")
    async def quiet() -> None:
        return None

    return app


ERRORS: dict[str, Exception] = {
    "missing": NotFoundError("session", "s1"),
    "own": MongoStoreError("secret words"),
    "other": ValueError("secret words"),
}
