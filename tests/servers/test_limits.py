"""Limits of bodies and of work: refused by the headers, in time, and few at once of each caller."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.types import Message, Receive, Scope, Send

from mongostore import AsyncMongoStore, MongoStore
from mongostore.cli.serve import log_requests
from mongostore.integrators.keywords import KeywordIntegrator
from mongostore.models import Session, Turn
from mongostore.repositories.sessions import AsyncSessions
from mongostore.servers.concurrency import CallerSlots
from mongostore.servers.error_responses import ProblemError, install_error_handlers
from mongostore.servers.middleware import BodyLimits
from mongostore.servers.sessions import create_app
from mongostore.servers.threadmem import create_app as create_threadmem_app
from mongostore.testing.service.parts import ROOT, S1, make
from tests.servers.parts import client
from tests.servers.rolehub import Hub

MiB = 1024 * 1024
HOSTILE = ",, " * 6600


async def ask(
    app: Any, method: str, path: str, receive: Receive, *headers: tuple[bytes, bytes], address: str = "::1"
) -> tuple[int, dict[bytes, bytes]]:
    """Ask an application for something, and return its status and headers."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [*headers]}
    scope |= {"client": (address, 1), "server": None, "scheme": "http", "http_version": "1.1"}
    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])


async def unread() -> Message:
    raise AssertionError("the body was read")


JSON = b"content-type", b"application/json"


def operations(app: FastAPI) -> list[tuple[str, str]]:
    """The methods and paths of all operations that need a token."""
    return [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, found in app.openapi()["paths"].items()
        for method, operation in found.items()
        if "security" in operation
    ]


async def test_body_of_a_caller_without_a_key_is_not_read() -> None:
    async with AsyncMongoStore("mongomock://") as store:
        app = create_app(store, require_keys=True)
        for method, path in operations(app):
            for headers in ([], [(b"authorization", b"Bearer mgs_made_up")]):
                status, _ = await ask(app, method, path, unread, JSON, *headers)
                assert status == 401, path


async def test_body_of_role_threads_without_a_token_is_not_read() -> None:
    with MongoStore("mongomock://") as store:
        app = create_threadmem_app(store=store)
        for method, path in operations(app):
            assert (await ask(app, method, path, unread, JSON))[0] == 401, path


async def test_body_in_another_namespace_than_the_keys_is_not_read() -> None:
    async with AsyncMongoStore("mongomock://") as store:
        token = (await store.keys.create(name="k", namespaces=["other"])).token
        bearer = b"authorization", f"Bearer {token}".encode()
        app = create_app(store)
        for method, path in operations(app):
            assert (await ask(app, method, path, unread, JSON, bearer))[0] == 404, path


@pytest.mark.parametrize("path", [ROOT, "/health", "/none"])
async def test_two_lengths_close_the_connection(path: str) -> None:
    async with AsyncMongoStore("mongomock://") as store:
        lengths = (b"content-length", b"4"), (b"transfer-encoding", b"chunked")
        status, headers = await ask(create_app(store), "POST", path, unread, *lengths)
    assert (status, headers[b"connection"]) == (400, b"close")


async def test_body_that_comes_too_slowly_is_refused() -> None:
    came = 0

    async def trickle() -> Message:
        nonlocal came
        came += 1
        await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b"x", "more_body": True}

    app = FastAPI()
    install_error_handlers(app)
    app.add_middleware(BodyLimits, max_bytes=MiB, max_depth=9, seconds=0.1)

    @app.post("/")
    async def post(request: Request) -> None:
        await request.body()

    status, headers = await ask(app, "POST", "/", trickle)
    assert (status, headers[b"connection"]) == (408, b"close")
    assert came < 20


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


class Holder:
    """An application that reads a body and keeps it until it is released."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.release = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        self.held.append(scope["client"][0])
        await self.release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def test_few_large_bodies_are_in_memory_and_fewer_of_one_caller() -> None:
    holder = Holder()
    app = BodyLimits(holder, max_bytes=MiB, max_depth=9)

    async def large() -> Message:
        return {"type": "http.request", "body": b"x" * 100_000, "more_body": False}

    async def small() -> Message:
        return {"type": "http.request", "body": b"x", "more_body": False}

    asked = [asyncio.create_task(ask(app, "POST", "/", large, address=a)) for a in "aaaabbc"]
    await until(lambda: len(holder.held) >= 4)
    asked += [asyncio.create_task(ask(app, "POST", "/", small, address="a")) for _ in range(20)]
    await until(lambda: len(holder.held) >= 24)
    assert sorted(holder.held) == [*"a" * 22, *"bb"]
    with pytest.raises(ProblemError, match="429"):
        await ask(app, "POST", "/", large, address="a")
    holder.release.set()
    assert [status for status, _ in await asyncio.gather(*asked)] == [200] * 27


async def test_caller_with_many_requests_does_not_keep_others_waiting() -> None:
    slots, order = CallerSlots(total=2, per_caller=1, waiting=3), list[str]()

    async def work(caller: str) -> None:
        async with slots.hold(caller):
            order.append(caller)
            await asyncio.sleep(0.01)

    await asyncio.gather(*(work(caller) for caller in "aaab"))
    assert order[:2] == ["a", "b"]
    outcomes = await asyncio.gather(*(work("a") for _ in range(5)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, ProblemError)]
    assert [error.status_code for error in refused] == [429, 429]
    assert "Retry-After" in (refused[0].headers or {})


async def test_refused_tokens_count_towards_the_rate() -> None:
    async with AsyncMongoStore("mongomock://") as store:
        token = (await store.keys.create(name="k", namespaces=["acme"])).token
        app = create_app(store, rate_limit="3/hour")
        async with client(app, "mgs_made_up") as guessing, client(app, token) as known:
            statuses = [(await guessing.get(ROOT)).status_code for _ in range(5)]
            assert statuses == [401, 401, 401, 429, 429]
            assert (await known.get(ROOT)).status_code == 200


class SlowHub(Hub):
    """A hub that answers when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def answer(self, path: str, output: str) -> tuple[int, bytes]:
        self.release.wait(60)
        return super().answer(path, output)


async def test_slow_hub_delays_neither_keys_nor_health(monkeypatch: pytest.MonkeyPatch) -> None:
    with SlowHub() as hub, MongoStore("mongomock://") as store:
        monkeypatch.setenv("AGENTSEA_HUB_URL", hub.url)
        token = store.keys.create(name="k", owner_id="ada").token
        app = create_threadmem_app(store=store)
        async with client(app) as guessing, client(app, token) as known:
            path = "/v1/rolethreads"
            guesses = [
                asyncio.create_task(guessing.get(path, headers={"Authorization": f"Bearer made-up-{n}"}))
                for n in range(100)
            ]
            while len(hub.output) < 4:
                await asyncio.sleep(0.01)
            for _ in range(50):
                assert (await known.get(path)).status_code == 200
                assert (await guessing.get("/health")).status_code == 200
            assert len(hub.output) == 4
            hub.release.set()
            statuses = sorted([(await guess).status_code for guess in guesses])
    assert statuses == [401] * 64 + [429] * 36


async def test_body_may_be_as_large_as_a_document_of_the_store() -> None:
    async with AsyncMongoStore("mongomock://") as store:
        path = f"{S1}/participants/p/chat_turns"
        async with client(create_app(store)) as asking:
            await make(asking, participants=["p"])
            for size, status in ((15, 201), (16, 413), (18, 413)):
                turn = {"role": "user", "content": "x" * (size * MiB)}
                answer = await asking.post(path, json={"turns": [turn]})
                assert answer.status_code == status, size
        async with client(create_app(store, max_body_bytes=1000)) as asking:
            turn = {"role": "user", "content": "x" * 1000}
            assert (await asking.post(path, json={"turns": [turn]})).status_code == 413


def turns(*texts: str) -> list[Turn]:
    return [Turn(role="user", content=text, number=number) for number, text in enumerate(texts, 1)]


def test_hostile_text_has_no_keywords_and_others_have_theirs() -> None:
    integrator = KeywordIntegrator()
    prose = "I was charged twice for the premium plan. " * 400
    insights = integrator("ada", turns(prose, HOSTILE, prose))
    assert [bool(insight["keywords"]) for insight in insights] == [True, False, True]
    # As much as a body of 1 MiB has: it takes minutes where nothing bounds it.
    many = integrator("ada", turns(*[HOSTILE] * 52))
    assert [(one["first_turn"], one["keywords"]) for one in many] == [(n, []) for n in range(1, 53)]
    assert integrator("ada", turns(prose))[0]["keywords"]
    integrator.close()


def test_closed_integrator_ends_its_calls_and_can_go_on() -> None:
    integrator, started = KeywordIntegrator(), threading.Event()

    def integrate() -> list[dict[str, Any]]:
        started.set()
        return integrator("ada", turns(*[HOSTILE] * 52))

    with ThreadPoolExecutor() as pool:
        call = pool.submit(integrate)
        started.wait()
        while not call.done():
            integrator.close()
        with pytest.raises(TimeoutError):
            call.result()
    assert integrator("ada", turns("solar panels"))[0]["keywords"]
    integrator.close()


async def test_integrations_of_one_caller_leave_room_for_those_of_others() -> None:
    working, release = list[str](), asyncio.Event()

    async def integrate(participant: str, turns: Any) -> list[str]:
        working.append(participant)
        await release.wait()
        return []

    async with AsyncMongoStore("mongomock://") as store:
        app = create_app(store, integrator=integrate)
        for namespace in ("many", "few"):
            sessions = store.sessions.in_namespace(namespace)
            for number in range(20):
                await sessions.create(f"s{number}", participants=[namespace])
                await sessions.turns.append(f"s{number}", namespace, Turn(role="user", content="x"))
        async with client(app) as asking:
            path = "/v1/namespaces/{}/sessions/s{}/integrate"
            many = [asyncio.create_task(asking.post(path.format("many", n))) for n in range(20)]
            await until(lambda: len(working) >= 2 and sum(one.done() for one in many) >= 4)
            few = asyncio.create_task(asking.post(path.format("few", 0)))
            await until(lambda: "few" in working)
            assert sorted(working) == ["few", "many", "many"]
            release.set()
            assert (await few).status_code == 200
            statuses = sorted([(await answer).status_code for answer in many])
    assert statuses == [200] * 16 + [429] * 4


def test_record_of_a_server_is_one_line_without_control_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("mongostore"), "handlers", [])
    log_requests()
    forged = "x\n2026-01-01 CRITICAL paid\r\x1b[2J\x9b0m\u2028" + "z" * 10_000
    for name in ("mongostore.servers", "mongostore.adapters.chainlit", "mongostore"):
        logging.getLogger(name).error("element %s is not stored", forged)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() and len(line) <= 4000 for line in lines)


# The operations that change a session or what it has, each with a body and what its If-Match is about.
CHANGES: list[tuple[str, str, Any, str]] = [
    ("PATCH", "", {"name": "n"}, ""),
    ("DELETE", "", None, ""),
    ("POST", "/undelete", None, ""),
    ("POST", "/truncate", None, ""),
    ("POST", "/integrate", None, ""),
    ("PUT", "/participants/{participant}", None, ""),
    ("DELETE", "/participants/{participant}", None, ""),
    ("POST", "/participants/{participant}/chat_turns", {"turns": [{"role": "user", "content": "x"}]}, ""),
    ("POST", "/messages", {"messages": [{"role": "user", "content": "x"}]}, ""),
    ("PATCH", "/messages/{message}", {"content": "y"}, "/messages/m"),
    ("DELETE", "/messages/{message}", None, "/messages/m"),
    ("PUT", "/context", {"value": "y"}, "/context"),
    ("DELETE", "/context", None, "/context"),
]


@pytest.mark.parametrize(("method", "path", "body", "changed"), CHANGES)
async def test_change_that_is_bound_to_an_old_revision_is_not_made(
    method: str, path: str, body: Any, changed: str
) -> None:
    url = S1 + path.format(participant="p" if method != "PUT" else "q", message="m")
    async with AsyncMongoStore("mongomock://") as store, client(create_app(store)) as asking:
        await make(asking, participants=["p"])
        await asking.post(f"{S1}/messages", json={"messages": [{"id": "m", "role": "user", "content": "x"}]})
        await asking.put(f"{S1}/context", json={"value": "x"})
        before = await asking.get(S1 + changed)
        for stale in ('"0x"', '"999"', f"W/{before.headers['etag']}"):
            answer = await asking.request(method, url, json=body, headers={"If-Match": stale})
            assert answer.status_code == 412
        after = await asking.get(S1 + changed)
        assert (after.json(), after.headers["etag"]) == (before.json(), before.headers["etag"])
        if path == "/undelete":
            await asking.delete(S1)
        matching = {} if path == "/undelete" else {"If-Match": before.headers["etag"]}
        answer = await asking.request(method, url, json=body, headers=matching)
        assert answer.is_success, answer.text


@pytest.mark.parametrize(
    ("method", "path", "body"), [one[:3] for one in CHANGES if not one[3] and one[1] != "/undelete"]
)
async def test_change_that_is_bound_to_a_session_leaves_one_made_anew_meanwhile(
    method: str, path: str, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, get, anew = S1 + path.format(participant="p" if method != "PUT" else "q"), AsyncSessions.get, []

    async def get_and_renew(self: AsyncSessions, session_id: str) -> Session:
        session = await get(self, session_id)
        if not anew:
            await self.delete(session_id)
            anew.append(await self.create(session_id, participants=["p"]))
        return session

    async with AsyncMongoStore("mongomock://") as store, client(create_app(store)) as asking:
        await make(asking, participants=["p"])
        tag = (await asking.get(S1)).headers["etag"]
        monkeypatch.setattr(AsyncSessions, "get", get_and_renew)
        answer = await asking.request(method, url, json=body, headers={"If-Match": tag})
        assert answer.status_code == 412
        assert await store.sessions.in_namespace(anew[0].namespace).get(anew[0].id) == anew[0]


def test_every_operation_that_changes_a_session_declares_if_match() -> None:
    app = create_app(AsyncMongoStore("mongomock://"))
    changing = set()
    for path, found in app.openapi()["paths"].items():
        _, there, below = path.partition("{activity_session}")
        for method, operation in found.items():
            if method != "get" and there:
                changing.add((method.upper(), below))
                headers = {one["name"] for one in operation["parameters"] if one["in"] == "header"}
                # What an operation appends, it appends again unless it knows the request.
                keys = {"idempotency-key"} if operation["operationId"].startswith("append_") else set()
                assert headers == {"if-match", *keys}, (method, path)
                assert "412" in operation["responses"]
    assert changing == {(method, path) for method, path, *_ in CHANGES}
    assert json.dumps(app.openapi())
