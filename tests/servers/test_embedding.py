"""The sessions service inside other applications: mounted or included, it opens itself and asks for keys."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import Response
from starlette.routing import Host, Mount, Router
from starlette.types import Receive, Scope, Send

from mongostore import AsyncMongoStore, MongoStore
from mongostore.servers.sessions import create_app, sessions_router
from mongostore.servers.studio import create_app as create_studio
from mongostore.servers.threadmem import create_app as create_threadmem_app
from mongostore.testing.service.parts import ROOT, S1
from tests.servers.parts import client

SECRET = "secret words"
ADA = "ada"
Embed = Callable[[FastAPI, AsyncMongoStore | None], str]


def mount(whole: FastAPI, store: AsyncMongoStore | None) -> str:
    whole.mount("/chat", create_app(store))
    return "/chat"


def include(whole: FastAPI, store: AsyncMongoStore | None) -> str:
    whole.include_router(sessions_router)
    if store is not None:
        whole.state.store = store
    return ""


EMBEDDED = pytest.mark.parametrize("embed", [mount, include])


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch, database: str) -> str:
    """The token of a key in the store of the environment."""
    monkeypatch.setenv("MONGOSTORE_URI", f"mongomock://{database}")
    with MongoStore() as store:
        token = store.keys.create(name="k", namespaces=["acme"]).token
    assert token is not None
    return token


@EMBEDDED
def test_embedded_service_opens_the_store_of_the_environment(embed: Embed, token: str) -> None:
    whole = FastAPI()
    path = embed(whole, None)
    headers = {"Authorization": f"Bearer {token}"}
    # Without its lifespan, each request has an event loop of its own.
    outside = TestClient(whole, headers=headers)
    made = outside.post(f"{path}{ROOT}", json={"id": "s1"})
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"{path}{S1}"
    assert outside.get(made.headers["location"]).json() == made.json()
    for _ in range(2):
        with TestClient(whole, headers=headers) as inside:
            assert inside.get(f"{path}{S1}").json() == made.json()


def test_mounted_studio_opens_its_store_in_each_event_loop(database: str, token: str) -> None:
    whole = FastAPI()
    whole.mount("/studio", create_studio(AsyncMongoStore(f"mongomock://{database}")))
    headers = {"Authorization": f"Bearer {token}"}
    # Without its lifespan, each request has an event loop of its own.
    outside = TestClient(whole, headers=headers)
    for _ in range(2):
        assert outside.get("/studio/list").status_code == 200
    for _ in range(2):
        with TestClient(whole, headers=headers) as inside:
            assert inside.get("/studio/list").status_code == 200


@EMBEDDED
@pytest.mark.parametrize("has_store", [False, True])
async def test_embedded_service_refuses_strangers_by_default(
    monkeypatch: pytest.MonkeyPatch, embed: Embed, has_store: bool
) -> None:
    monkeypatch.setenv("MONGOSTORE_URI", "mongomock://")
    async with AsyncMongoStore("mongomock://") as store:
        whole = FastAPI()
        path = embed(whole, store if has_store else None)
        async with client(whole) as stranger:
            for answer in (
                await stranger.post(f"{path}{ROOT}", json={"id": "s1"}),
                await stranger.get(f"{path}{S1}"),
            ):
                assert answer.status_code == 401
                assert answer.headers["content-type"] == "application/problem+json"
        assert await store.sessions.in_namespace("acme").count() == 0


async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
    """Hand requests on as frameworks do that are not Starlette."""
    inner: FastAPI = scope["inner"]
    await inner({**scope, "root_path": "/chat"}, receive, send)


@pytest.mark.parametrize("how", ["host", "router", "dispatcher", "proxy"])
async def test_service_refuses_strangers_however_it_is_inside_of_something(how: str) -> None:
    async with AsyncMongoStore("mongomock://") as store:
        inner = create_app(store)
        address = f"http://127.0.0.1{'/chat' if how in ('router', 'dispatcher') else ''}{ROOT}"
        outer: Any = {
            "host": Starlette(routes=[Host("127.0.0.1", inner)]),
            "router": Router([Mount("/chat", inner)]),
            "dispatcher": lambda scope, *both: dispatch({**scope, "inner": inner}, *both),
            "proxy": inner,
        }[how]
        headers = {"X-Forwarded-For": "192.0.2.7"} if how == "proxy" else {}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(outer)) as stranger:
            assert (await stranger.post(address, json={}, headers=headers)).status_code == 401
            # By itself it is open to this machine.
            own = httpx.ASGITransport(inner)
            async with httpx.AsyncClient(transport=own) as local:
                assert (await local.post(f"http://127.0.0.1{ROOT}", json={})).status_code == 201


@pytest.mark.parametrize("mounts", ["sessions", "roles", "studio"])
async def test_who_goes_away_is_no_error_of_the_application_around(mounts: str) -> None:
    class Own(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
            return await call_next(request)

    with MongoStore("mongomock://") as blocking:
        async with AsyncMongoStore("mongomock://") as store:
            key = await store.keys.create(name="k", namespaces=["*"])
            role = blocking.keys.create(name="k", owner_id=ADA).token
            inner, path, token = {
                "sessions": (create_app(store), ROOT, key.token),
                "roles": (create_threadmem_app(store=blocking), "/v1/rolethreads", role),
                "studio": (create_studio(store), "/open", key.token),
            }[mounts]
            whole = FastAPI()
            whole.add_middleware(Own)
            whole.mount("/inner", inner)
            coming = iter(
                [
                    {"type": "http.request", "body": b'{"id":', "more_body": True},
                    {"type": "http.disconnect"},
                ]
            )

            async def receive() -> Any:
                return next(coming)

            sent: list[Any] = []

            async def send(message: Any) -> None:
                sent.append(message)

            headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {token}".encode())]
            scope = {"type": "http", "method": "POST", "path": f"/inner{path}", "query_string": b""}
            scope |= {"headers": headers, "client": ("127.0.0.1", 1), "server": None, "scheme": "http"}
            # An error would be raised to the server.
            await whole({**scope, "http_version": "1.1", "root_path": ""}, receive, send)
    assert sent[0]["status"] == 400


async def test_mounted_service_is_open_where_its_application_says_so() -> None:
    async with AsyncMongoStore("mongomock://") as store:
        whole = FastAPI()
        whole.mount("/chat", create_app(store, require_keys=False))
        async with client(whole) as anybody:
            assert (await anybody.post(f"/chat{ROOT}", json={"id": "s1"})).status_code == 201


def test_standalone_service_refuses_other_machines_without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGOSTORE_URI", "mongomock://")
    for address, status in (("127.0.0.1", 201), ("::1", 201), ("192.0.2.7", 401), ("nowhere", 401)):
        with TestClient(create_app(), client=(address, 1)) as caller:
            assert caller.post(ROOT, json={}).status_code == status


@EMBEDDED
def test_embedded_service_answers_errors_as_problems(embed: Embed, token: str) -> None:
    whole = FastAPI()
    path = embed(whole, None)
    asking = TestClient(whole, headers={"Authorization": f"Bearer {token}"})
    for answer, status in (
        (asking.get(f"{path}{ROOT}/none"), 404),
        (asking.get(f"{path}/v1/namespaces/other/sessions"), 404),
        (asking.post(f"{path}{ROOT}", json={"idd": "s1"}), 422),
        (asking.get(f"{path}{ROOT}", params={"cursor": "x"}), 400),
    ):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


@EMBEDDED
async def test_embedded_service_says_why_it_answers_500(
    embed: Embed, token: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = FastAPI()
    async with AsyncMongoStore("mongomock://") as store:
        path = embed(whole, store)

        async def fail(*arguments: object) -> None:
            raise PermissionError(SECRET)

        monkeypatch.setattr(store.keys, "verify", fail)
        async with client(whole, token) as asking:
            with caplog.at_level(logging.ERROR):
                answer = await asking.get(f"{path}{S1}")
    assert answer.status_code == 500
    if embed is mount:
        assert "PermissionError" in answer.json()["detail"]
        assert "PermissionError" in caplog.text
        assert SECRET not in caplog.text


def test_store_of_the_environment_is_closed_with_the_application(token: str) -> None:
    app = create_app()
    whole = FastAPI()
    whole.include_router(sessions_router)
    for one in (app, whole):
        with TestClient(one):
            service = one.state.sessions_service
            assert service.store.is_open
        assert not service.store.is_open
    studio = create_studio()
    with TestClient(studio, headers={"Authorization": f"Bearer {token}"}) as asking:
        assert asking.get("/").status_code == 200
        assert studio.state.studio.store.is_open
    assert not studio.state.studio.store.is_open


async def test_open_store_stays_its_owners_to_close() -> None:
    async with AsyncMongoStore("mongomock://") as store:
        app = create_app(store)
        async with app.router.lifespan_context(app):
            await asyncio.sleep(0)
        assert store.is_open
