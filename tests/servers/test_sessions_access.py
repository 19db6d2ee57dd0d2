"""Who gets what from each route: every combination of the routes that there are and of those who ask."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from mongostore import AsyncMongoStore
from mongostore.models import Message, Turn
from mongostore.servers.sessions import create_app
from tests.servers.parts import client

# What each operation is asked, and what it answers to those who may; a new one has to be added here.
OPERATIONS: dict[str, tuple[dict[str, Any], int]] = {
    "create_session": ({"json": {"id": "s2"}}, 201),
    "list_sessions": ({}, 200),
    "get_session": ({}, 200),
    "update_session": ({"json": {"name": "n"}}, 200),
    "soft_delete_session": ({}, 204),
    "undelete_session": ({}, 200),
    "truncate_session": ({}, 200),
    "integrate_session": ({}, 200),
    "bind_participant": ({}, 200),
    "unbind_participant": ({}, 204),
    "list_chat_turns": ({}, 200),
    "append_chat_turns": ({"json": {"turns": [{"role": "user", "content": "hi"}]}}, 201),
    "list_messages": ({}, 200),
    "append_messages": ({"json": {"messages": [{"role": "user", "content": "hi"}]}}, 201),
    "stream_messages": ({"params": {"last": 1}}, 200),
    "get_message": ({}, 200),
    "update_message": ({"json": {"content": "hi"}}, 200),
    "delete_message": ({}, 204),
    "get_context": ({}, 200),
    "set_context": ({"json": {"value": "hi"}}, 204),
    "delete_context": ({}, 204),
}
OPEN = {"health", "ready"}
UNLISTED = {"/docs", "/docs/{name}", "/openapi.json"}
REFUSED = ["none", "forged", "expired", "revoked", "nonsense"]


@functools.cache
def routes() -> dict[str, tuple[str, str]]:
    """Return the method and the path of each operation."""
    return {
        operation["operationId"]: (method, path)
        for path, operations in create_app(AsyncMongoStore("mongomock://")).openapi()["paths"].items()
        for method, operation in operations.items()
    }


@dataclass
class Service:
    """The service with a session in the namespace `acme`, and the tokens of some callers."""

    app: FastAPI
    store: AsyncMongoStore
    tokens: dict[str, str | None]

    async def ask(self, name: str, caller: str, namespace: str) -> httpx.Response:
        method, path = routes()[name]
        names = {"namespace": namespace, "activity_session": "s1", "participant": "ada", "message": "m1"}
        async with client(self.app, self.tokens[caller]) as asking:
            return await asking.request(method, path.format(**names), **OPERATIONS.get(name, ({},))[0])

    async def contents(self) -> Any:
        sessions = self.store.sessions.in_namespace("acme")
        turns = [turn async for turn in sessions.turns.iter("s1", "ada")]
        messages = [message async for message in sessions.messages.iter("s1")]
        context = await sessions.context.get("s1")
        return (await sessions.list(deleted=None)).items, turns, messages, context


async def prepared(store: AsyncMongoStore) -> Service:
    sessions = store.sessions.in_namespace("acme")
    await sessions.create("s1", name="Refund", participants=["ada"])
    await sessions.turns.append_many("s1", "ada", [Turn(role="user", content="hello")])
    await sessions.messages.append("s1", Message(id="m1", role="user", content="hello"))
    await sessions.context.set("s1", "hello")
    past = datetime.now(UTC) - timedelta(seconds=1)
    key = await store.keys.create(name="own", namespaces=["umbrella", "acme"])
    own = key.token
    other_key = await store.keys.create(name="other", namespaces=["umbrella"])
    other = other_key.token
    nowhere = (await store.keys.create(name="nowhere")).token
    expired = (await store.keys.create(name="expired", namespaces=["acme"], expires_at=past)).token
    admin = (await store.keys.create(name="admin", namespaces=["*"])).token
    gone = await store.keys.create(name="revoked", namespaces=["acme"])
    revoked = gone.token
    await store.keys.delete(gone.id)
    # The id of the one, the secret of the other.
    forged = other.replace(other_key.id, key.id)
    tokens = {"own": own, "other": other, "nowhere": nowhere, "expired": expired, "admin": admin}
    tokens |= {"revoked": revoked, "forged": forged, "nonsense": "mgs_nonsense"}
    app = create_app(store)
    # So that a stream that is answered ends at once.
    app.state.end_streams()
    return Service(app, store, {**tokens, "none": None})


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with AsyncMongoStore("mongomock://") as store:
        yield await prepared(store)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unchanged() -> AsyncIterator[Service]:
    """The service for those who may change nothing, so that all of them can use the same one."""
    async with AsyncMongoStore("mongomock://") as store:
        yield await prepared(store)


async def test_every_route_is_listed_here(service: Service) -> None:
    assert routes().keys() == OPERATIONS.keys() | OPEN
    output = service.app.openapi()["paths"].keys()
    assert {route.path for route in iter_route_contexts(service.app.routes)} - output == UNLISTED


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("caller", ["own", "admin"])
async def test_who_may_is_answered(service: Service, name: str, caller: str) -> None:
    if name == "undelete_session":
        await service.store.sessions.in_namespace("acme").soft_delete("s1")
    answer = await service.ask(name, caller, "acme")
    assert answer.status_code == OPERATIONS[name][1], answer.text


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("caller", ["other", "nowhere"])
async def test_a_key_of_another_namespace_cannot_tell_whether_anything_is_there(
    service: Service, name: str, caller: str
) -> None:
    if name == "undelete_session":
        await service.store.sessions.in_namespace("acme").soft_delete("s1")
    before = await service.contents() if name != "undelete_session" else None
    used, unused = [await service.ask(name, caller, namespace) for namespace in ("acme", "nobodys")]
    assert used.status_code == 404
    assert used.headers["content-type"] == "application/problem+json"
    assert used.text.replace("acme", "nobodys") == unused.text
    assert {**used.headers, "content-length": ""} == {**unused.headers, "content-length": ""}
    if before is not None:
        assert await service.contents() == before
    assert (await service.store.sessions.in_namespace("nobodys").count(deleted=None)) == 0
    if name not in ("create_session", "list_sessions"):
        # Nor is it another answer than that about a session that is not there in a namespace of one's own.
        missing = await service.ask(name, "own", "umbrella")
        assert missing.text == used.text.replace("acme", "umbrella")


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("caller", REFUSED)
@pytest.mark.asyncio(loop_scope="module")
async def test_without_a_good_key_nothing_is_answered(unchanged: Service, name: str, caller: str) -> None:
    before = await unchanged.contents()
    answer = await unchanged.ask(name, caller, "acme")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    unused = await unchanged.ask(name, caller, "nobodys")
    assert answer.text.replace("acme", "nobodys") == unused.text
    assert await unchanged.contents() == before


@pytest.mark.server
async def test_on_a_server_each_is_answered_likewise(server_store: AsyncMongoStore) -> None:
    service = await prepared(server_store)
    statuses = dict.fromkeys(REFUSED, 401) | {"other": 404, "nowhere": 404}
    for name in OPERATIONS:
        for caller, status in statuses.items():
            assert (await service.ask(name, caller, "acme")).status_code == status, (name, caller)
    for caller in ("own", "admin"):
        assert (await service.ask("get_session", caller, "acme")).status_code == 200
        assert (await service.ask("stream_messages", caller, "acme")).status_code == 200


@pytest.mark.parametrize("name", sorted(OPEN))
@pytest.mark.parametrize("caller", ["none", "forged"])
async def test_health_needs_no_key_and_tells_nothing(service: Service, name: str, caller: str) -> None:
    answer = await service.ask(name, caller, "acme")
    assert answer.json() == {"status": "ok" if name == "health" else "ready"}


async def test_every_operation_of_the_service_says_that_it_takes_a_key(service: Service) -> None:
    for operations in service.app.openapi()["paths"].values():
        for operation in operations.values():
            assert ("security" in operation) == (operation["operationId"] in OPERATIONS)


async def test_without_keys_every_namespace_is_everybodys(store: AsyncMongoStore) -> None:
    async with client(create_app(store)) as anybody:
        assert (await anybody.post("/v1/namespaces/acme/sessions", json={})).status_code == 201
    async with client(create_app(store, require_keys=True)) as anybody:
        assert (await anybody.get("/v1/namespaces/acme/sessions")).status_code == 401


async def test_a_rate_is_kept_for_each_key_and_not_for_health(service: Service) -> None:
    service.app = create_app(service.store, rate_limit="2/hour")
    for caller in ("own", "admin"):
        answers = [await service.ask("list_sessions", caller, "acme") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[-1].headers["content-type"] == "application/problem+json"
        assert int(answers[-1].headers["retry-after"]) > 0
    for _ in range(5):
        assert (await service.ask("health", "none", "acme")).status_code == 200


async def test_what_is_public_shows_no_docs(store: AsyncMongoStore) -> None:
    async with client(create_app(store, docs=False)) as asking:
        for path in ("/docs", "/openapi.json", "/docs/start.js", "/redoc"):
            assert (await asking.get(path)).status_code == 404
