"""The sessions service inside other applications: mounted or included, it opens itself and asks for keys."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from mongostore import AsyncMongoStore, MongoStore
from mongostore.servers.sessions import create_app, sessions_router
from mongostore.testing.service.parts import ROOT, S1
from tests.servers.parts import client

SECRET = "secret words"
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


async def test_open_store_stays_its_owners_to_close() -> None:
    async with AsyncMongoStore("mongomock://") as store:
        app = create_app(store)
        async with app.router.lifespan_context(app):
            await asyncio.sleep(0)
        assert store.is_open
