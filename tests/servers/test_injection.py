"""Whatever a request says in its path, query, headers or body reaches nothing of anybody else's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from mongostore import AsyncMongoStore, Message, MongoStore, Turn
from mongostore.adapters.threadmem import RoleThread, V1Role
from mongostore.adapters.threadmem.file_storage import FileStorage
from mongostore.errors import ConflictError
from mongostore.servers.sessions import create_app as sessions_app
from mongostore.servers.threadmem import create_app as threads_app
from tests.contract.test_injection import FORGED, LITERAL, NEIGHBOUR, printed, stored
from tests.servers.parts import client

TEXTS = [*LITERAL, "neighbor", "{$ne:null}", '{"$ne": null}', "[$ne]", "..", "%00", "x" * 3000, "é\U0001f600"]
VALUES: list[Any] = [
    *TEXTS,
    *(
        {"$ne": None},
        {"$gt": ""},
        {"$where": "true"},
        {"$in": [None, ""]},
        {"$expr": True},
        {"k": {"$ne": 1}},
    ),
    *({"__json__": "1"}, {"a.b": 1}, {"$set": {"x": 1}}, ["x"], [{"$ne": None}], [["$_id"]], [], {}),
    *(True, None, 7, -1, 2**70, 1.5, float("nan"), "\ud800", "x" * 100_000),
]
QUERIES = [
    "{name}[$ne]=x",
    "{name}.$gt=",
    "{name}=1&{name}=2",
    "{name}",
    "$where=true&{name}=x",
    "%00={name}",
]
ROLE = {"name": "boss", "user_id": "u", "user_name": "U", "icon": "i"}
TURN = {"role": "user", "content": "x"}
METADATA = {"data": {"k": 1}, "metadata": {"k": 1}}
NAMED = {"name": "n", "description": "d", "user_id": "u"}
MESSAGE = {**TURN, **METADATA, "conversation_id": "c"}
# A good body of each operation that has one, with every member that it may have.
BODIES: dict[str, dict[str, Any]] = {
    "create_session": {**METADATA, "id": "new", **NAMED, "participants": ["p"]},
    "update_session": {**METADATA, **NAMED},
    "append_chat_turns": {"turns": [TURN]},
    "append_messages": {"messages": [{**MESSAGE, "id": None, "created_at": "2026-01-01T00:00:00Z"}]},
    "update_message": MESSAGE,
    "set_context": {"value": {"k": 1}},
    "create_role_thread": {"name": "new", "public": True, "metadata": {}, "id": "new"},
    "update_role_thread": {"name": "n", "public": False, "metadata": {}},
    "post_role_thread_msg": {"role": "user", "msg": "x", "images": [], "private": False, "metadata": {}},
    "add_role_to_thread": {**ROLE, "description": "d"},
    "remove_role_from_thread": {"name": "boss"},
}
# What is there of the caller's, by the names of the parameters of paths.
OWN = {"namespace": "caller", "activity_session": "s", "participant": "p", "message": "m", "id": "mine"}


@dataclass
class Service:
    """An application, a client of it with the caller's key, and the store that it keeps things in.

    Attributes:
        renew: Brings back what is there of the caller's, before each operation.
    """

    app: FastAPI
    asking: httpx.AsyncClient
    store: AsyncMongoStore
    renew: Callable[[dict[str, Any]], Awaitable[None]]

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield the method, the path and the description of all that can be asked with a key."""
        found = [
            (method, path, operation)
            for path, methods in self.app.openapi()["paths"].items()
            for method, operation in methods.items()
            if any(tag != "Health" for tag in operation.get("tags", ()))
        ]
        # What is deleted cannot be asked for: the whole is deleted after its parts, and both at the end.
        yield from sorted(found, key=lambda one: (one[0] == "delete") * (100 - one[1].count("/")))

    def members(self, operation: dict[str, Any]) -> dict[str, Any]:
        """Return the names of the members that a body may have, and those of the objects in its lists."""
        if "requestBody" not in operation:
            return {}
        return self._members(operation["requestBody"]["content"]["application/json"]["schema"])

    def _members(self, schema: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in schema:
            return {}
        named = self.app.openapi()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return {name: self._members(one.get("items", {})) for name, one in named["properties"].items()}


async def furnish_sessions(store: AsyncMongoStore, namespace: str) -> None:
    sessions = store.sessions.in_namespace(namespace)
    for session_id in ("s", f"s-{namespace}"):
        say = f"{namespace} said"
        await sessions.create(session_id, name=say, data={"k": say}, participants=["p"])
        await sessions.turns.append_many(session_id, "p", [Turn(role="user", content=say)])
        await sessions.messages.append(session_id, Message(id="m", role="user", content=say))
        await sessions.context.set(session_id, say)


async def leave(operation: dict[str, Any]) -> None:
    """Leave what is there as it is."""


async def renew_session(store: AsyncMongoStore, operation: dict[str, Any]) -> None:
    sessions, session_id = store.sessions.in_namespace(OWN["namespace"]), OWN["activity_session"]
    with suppress(ConflictError):
        await sessions.undelete(session_id)
    await sessions.participants.ensure(session_id, "p")
    await sessions.messages.upsert(session_id, Message(id="m", role="user", content="x"))
    await sessions.context.set(session_id, "x")
    if operation["operationId"] == "undelete_session":
        await sessions.soft_delete(session_id)


def furnish_threads(store: MongoStore, owner: str, thread_id: str) -> None:
    made = RoleThread.at(FileStorage(store=store)).create(thread_id, owner_id=owner, name=f"{owner} said")
    made.add_role(V1Role(**ROLE))
    made.post("user", f"{owner} said")


@pytest.fixture
async def sessions(store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """The sessions service, with sessions of the caller and of a neighbour, and streams that end soon."""
    for name in ("STREAM_SECONDS", "PING_SECONDS"):
        monkeypatch.setattr(f"mongostore.servers.served_store.{name}", 0.1)
    for namespace in (OWN["namespace"], NEIGHBOUR):
        await furnish_sessions(store, namespace)
    token = (await store.keys.create(name="k", namespaces=[OWN["namespace"]])).token
    app = sessions_app(store)
    async with client(app, token) as asking:
        yield Service(app, asking, store, partial(renew_session, store))


@pytest.fixture
async def threads(store_uri: str, store: AsyncMongoStore, database: str) -> AsyncIterator[Service]:
    """The server of role threads, with one of the caller and one of a neighbour."""
    with MongoStore(store_uri, database) as blocking:
        for owner, thread_id in (("caller", OWN["id"]), (NEIGHBOUR, "theirs")):
            furnish_threads(blocking, owner, thread_id)
        token = (await store.keys.create(name="k", owner_id="caller")).token
        app = threads_app(store=blocking)
        async with client(app, token) as asking:
            yield Service(app, asking, store, leave)


@pytest.fixture
def services(sessions: Service, threads: Service) -> list[Service]:
    """Every service, on one store."""
    return [sessions, threads]


def bodies_of(body: dict[str, Any]) -> Iterator[Any]:
    """Yield what is tried in the place of a body."""
    yield from VALUES
    for name, value in body.items():
        for payload in VALUES:
            for tried in (payload, [payload], {"k": payload}):
                yield {**body, name: tried}
            if isinstance(value, list) and value and isinstance(value[0], dict):
                yield from ({**body, name: [{**value[0], inner: payload}]} for inner in value[0])
    yield from ({**body, name: "x"} for name in ("$where", "$set", "_id", "namespace", "owner_id", "a.b"))


def requests_of(method: str, path: str, operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a good request, and then those that mean no good."""
    body = BODIES.get(operation["operationId"])
    own = path.format(**OWN)
    good: dict[str, Any] = {"method": method, "url": own}
    if body is not None:
        good["content"] = json.dumps(body)
        good["headers"] = {"Content-Type": "application/json"}
    yield good
    if body is not None:
        for tried in bodies_of(body):
            yield {**good, "content": json.dumps(tried)}
    for parameter in operation.get("parameters", ()):
        name, tried = parameter["name"], [text for text in FORGED if isinstance(text, str) and text.isascii()]
        match parameter["in"]:
            case "path":
                for text in TEXTS:
                    yield {**good, "url": path.format(**{**OWN, name: quote(text, safe="")})}
            case "query":
                for text in [*TEXTS, *(text for text in tried if len(text) < 4000)]:
                    yield {**good, "url": f"{own}?{name}={quote(text, safe='')}"}
                for query in QUERIES:
                    yield {**good, "url": f"{own}?{query.format(name=name)}"}
            case "header":
                for text in TEXTS:
                    if text.isascii() and text.isprintable():
                        yield {**good, "headers": {**good.get("headers", {}), name: text}}


def known(value: Any) -> dict[str, Any]:
    """Return the names of the members of the objects in a list."""
    objects = value if isinstance(value, list) else []
    return {name: {} for one in objects if isinstance(one, dict) for name in one}


async def test_every_member_of_every_body_is_known(services: list[Service]) -> None:
    for service in services:
        for _, path, operation in service.operations():
            tried = {name: known(value) for name, value in BODIES.get(operation["operationId"], {}).items()}
            assert service.members(operation) == tried, operation["operationId"]
            assert path.format(**OWN)


# The shapes of what is tried come in turns of three: each sixteenth request has all of them alike.
@pytest.mark.parametrize(
    ("store_uri", "every"),
    [
        pytest.param("server", 16, marks=pytest.mark.server),
        pytest.param("server", 1, marks=[pytest.mark.server, pytest.mark.long]),
        pytest.param("embedded", 5, marks=pytest.mark.long),
    ],
    indirect=["store_uri"],
)
async def test_no_request_reaches_what_is_anothers(services: list[Service], every: int) -> None:
    for service in services:
        assert not (wrong := await misdeeds(service, every)), "\n".join(wrong)


async def misdeeds(service: Service, every: int) -> list[str]:
    """Send requests that mean no good, each so-many-th, and return what is wrong with what became of them."""
    everything = await stored(service.store)
    theirs = [
        (name, key, row)
        for name, rows in everything.items()
        for key, row in rows.items()
        if NEIGHBOUR in repr(row)
    ]
    wrong, statuses, unanswered = list[str](), set[int](), set[str]()
    for method, path, operation in service.operations():
        await service.renew(operation)
        unanswered.add(operation["operationId"])
        for request in islice(requests_of(method, path, operation), 0, None, every):
            answer = await service.asking.request(**request)
            statuses.add(answer.status_code)
            if answer.is_success:
                unanswered.discard(operation["operationId"])
            if answer.status_code >= 500 or NEIGHBOUR in answer.text:
                asked = f"{method} {printed(request['url'])} {printed(request.get('content'))}"
                wrong.append(f"{asked} answers {answer.status_code} {printed(answer.text)}")
        now = await stored(service.store)
        wrong += [f"{method} {path} changes {key}" for name, key, row in theirs if now[name].get(key) != row]
    assert theirs
    assert statuses >= {200, 404, 422}
    assert not unanswered
    return wrong
