"""What the sessions service promises over HTTP, on every engine."""

from __future__ import annotations

import asyncio
import inspect
import math
import re
from contextvars import Context
from threading import Event, current_thread
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from mongostore import AsyncMongoStore
from mongostore.models import SessionParticipant, Turn
from mongostore.repositories.sessions import AsyncSessionParticipants
from mongostore.servers import sessions as service
from mongostore.servers.sessions import create_app
from mongostore.testing.service import SessionsServiceSuite
from mongostore.testing.service.parts import ROOT, S1, make, problem, say
from tests.servers.parts import client


class TestSessionsService(SessionsServiceSuite):
    """What clients ask of any such service."""

    @pytest.fixture
    def client(self, asking: httpx.AsyncClient) -> httpx.AsyncClient:
        return asking

    async def test_integration_reads_what_is_new_of_each_participant(self, client: httpx.AsyncClient) -> None:
        await super().test_integration_reads_what_is_new_of_each_participant(client)
        [first, second] = (await client.get(S1)).json()["participants"][0]["insights"]
        assert (first["kind"], first["first_turn"], first["last_turn"]) == ("keywords", 1, 2)
        assert "duplicate charge" in first["keywords"]
        assert (second["first_turn"], second["last_turn"]) == (3, 3)

    async def test_of_parallel_callers_each_turn_is_counted_once(self, client: httpx.AsyncClient) -> None:
        async def check(answer: httpx.Response) -> None:
            # No integration is in the way of another.
            assert answer.status_code != 409

        client.event_hooks["response"].append(check)
        await super().test_of_parallel_callers_each_turn_is_counted_once(client)
        for one in (await client.get(S1)).json()["participants"]:
            spans = [(insight["first_turn"], insight["last_turn"]) for insight in one["insights"]]
            assert [number for a, b in spans for number in range(a, b + 1)] == [
                *range(1, one["chat_turn_count"] + 1)
            ]

    async def test_a_wrong_method_is_told_all_that_are_right(self, client: httpx.AsyncClient) -> None:
        await super().test_a_wrong_method_is_told_all_that_are_right(client)
        assert (await client.put(ROOT)).headers["allow"] == "GET, HEAD, POST"
        assert (await client.post(S1)).headers["allow"] == "DELETE, GET, HEAD, PATCH"


async def test_each_path_names_its_methods_where_one_is_wrong(asking: httpx.AsyncClient) -> None:
    paths = (await asking.get("/openapi.json")).json()["paths"]
    assert len(paths) > 10
    for template, operations in paths.items():
        path = re.sub(r"\{\w+\}", "x", template)
        named = {*(await asking.options(path)).headers["allow"].split(", ")}
        # A message may have the id `stream`.
        assert named - {"HEAD"} == {*map(str.upper, operations)} | (
            {"DELETE", "PATCH"} if path.endswith("/stream") else set()
        ), path


async def test_what_a_reader_knows_is_not_sent_again(asking: httpx.AsyncClient) -> None:
    await make(asking)
    await asking.post(f"{S1}/messages", json={"messages": [{"id": "m", "role": "user", "content": "hay"}]})
    await asking.put(f"{S1}/context", json={"value": [1]})
    for path in (S1, f"{S1}/messages/m", f"{S1}/context"):
        etag = (await asking.get(path)).headers["etag"]
        for header in (etag, f'"x", W/{etag}', "*"):
            answer = await asking.get(path, headers={"If-None-Match": header})
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag), path
        assert (await asking.get(path, headers={"If-None-Match": '"x"'})).status_code == 200
        # What would be done only if nothing is there is not done in any case.
        changing = {"json": {"value": 2}} if path.endswith("context") else {"json": {}}
        method = "PUT" if path.endswith("context") else "PATCH"
        problem(await asking.request(method, path, headers={"If-None-Match": "*"}, **changing), 400)  # type: ignore[arg-type]
    assert (await asking.get(f"{S1}/context")).json() == {"value": [1]}


async def test_what_is_no_tag_matches_nothing(asking: httpx.AsyncClient) -> None:
    await make(asking)
    for header in ("", "nonsense"):
        problem(await asking.patch(S1, json={"name": "b"}, headers={"If-Match": header}), 412)
        problem(await asking.patch(S1, json={}, headers={"If-Match": header}), 412)


async def test_a_list_is_filtered_by_words_notes_times_and_participants(asking: httpx.AsyncClient) -> None:
    bodies = [
        {
            "id": "s0",
            "name": "The Duchess' fan",
            "metadata": {"topic": "fan", "n": 1},
            "participants": ["ada"],
        },
        {"id": "s1", "metadata": {"topic": "tea", "a.b": {"deep": [1]}}, "participants": ["ada", "bo"]},
        {"id": "s2", "metadata": {}},
    ]
    created = [(await asking.post(ROOT, json=body)).json()["created_at"] for body in bodies]
    texts = {"messages": [{"role": "user", "content": "Where is my FÁN?"}]}
    assert (await asking.post(f"{ROOT}/s2/messages", json=texts)).status_code == 201

    async def listed(**query: object) -> list[str]:
        answer = await asking.get(ROOT, params=query)
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["items"]]

    assert await listed(text="fan") == ["s0", "s2"]
    assert await listed(text="duchess fan") == ["s0"]
    assert await listed(text="") == ["s0", "s1", "s2"]
    assert await listed(participant_id="ada") == ["s0", "s1"]
    assert await listed(participant_id="ada", text="fan") == ["s0"]
    assert await listed(metadata='{"topic": "tea"}') == ["s1"]
    assert await listed(metadata='{"a.b": {"deep": [1]}}') == ["s1"]
    assert await listed(metadata='{"n": 1.0}') == ["s0"]
    assert await listed(metadata='{"n": {"$gt": 0}}') == []
    assert await listed(since=created[1]) == ["s1", "s2"]
    assert await listed(since=created[1], until=created[2]) == ["s1"]
    assert await listed(order="active", newest=True, since=created[1]) == ["s2", "s1"]


@pytest.mark.parametrize(
    "query",
    [
        *({"metadata": text} for text in ("", "x", "[]", "1", '{"a": NaN}', '{"a": "\\ud800"}')),
        {"metadata": '{"a":' + "[" * 2000 + "]" * 2000 + "}"},
        {"metadata": '{"a": "%s"}' % ("x" * 5000)},
        *({"since": text} for text in ("x", "2030-01-01T00:00:00")),
        *({"participant_id": "/"}, {"text": "x" * 1025}),
    ],
    ids=lambda query: ascii(query)[:40],
)
async def test_what_is_no_filter_is_refused(embedded: httpx.AsyncClient, query: dict[str, str]) -> None:
    [error] = problem(await embedded.get(ROOT, params=query), 422)["errors"]
    assert error["loc"] == ["query", *query]


async def test_a_participant_who_is_unbound_meanwhile_is_bound_again(
    store: AsyncMongoStore, asking: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, others = AsyncSessionParticipants.get, ["ada"]

    async def get_late(self: AsyncSessionParticipants, *arguments: str) -> SessionParticipant:
        while others:
            unbind = asking.delete(f"{S1}/participants/{others.pop()}")
            assert (await asyncio.create_task(unbind, context=Context())).status_code == 204
        return await get(self, *arguments)

    await make(asking, participants=["ada"])
    monkeypatch.setattr(AsyncSessionParticipants, "get", get_late)
    assert [(await asking.put(f"{S1}/participants/ada")).status_code for _ in range(2)] == [201, 200]


async def test_one_participants_failure_is_its_own_and_says_no_words(store: AsyncMongoStore) -> None:
    def integrator(participant: str, turns: Any) -> list[Any]:
        if participant == "bad":
            raise LookupError(f"secret {turns}")
        return [len(turns), "\ud800", math.inf]

    async with client(create_app(store, integrator=integrator)) as asking:
        await make(asking, participants=["bad", "good"])
        await say(asking, "bad", "a")
        await say(asking, "good", "a", "b")
        answer = await asking.post(f"{S1}/integrate")
        [bad, good] = answer.json()["results"]
        assert (bad["status"], bad["error"], bad["last_integration_turn"]) == ("failed", "LookupError", None)
        assert "secret" not in answer.text
        assert (good["status"], good["turns_integrated"]) == ("integrated", 2)
        # What no JSON can say is said as near as it can.
        assert answer.json()["session"]["participants"][1]["insights"] == [2, "?", None]


async def test_an_integrator_that_blocks_holds_up_nobody_else(store: AsyncMongoStore) -> None:
    begun, go_on, threads = Event(), Event(), []

    def integrator(participant: str, turns: Any) -> list[Any]:
        threads.append(current_thread().name)
        begun.set()
        assert go_on.wait(60)
        return ["done"]

    async with client(create_app(store, integrator=integrator)) as asking:
        await make(asking, participants=["p"])
        await say(asking, "p", "hello")
        integrating = asyncio.create_task(asking.post(f"{S1}/integrate"))
        assert await asyncio.to_thread(begun.wait, 60)
        # A turn that comes meanwhile waits for the next integration.
        assert await say(asking, "p", "more") == 2
        assert (await asking.get("/health")).status_code == 200
        go_on.set()
        [result] = (await integrating).json()["results"]
        assert (result["turns_integrated"], result["last_integration_turn"]) == (1, 1)
        [later] = (await asking.post(f"{S1}/integrate")).json()["results"]
        assert (later["turns_integrated"], later["last_integration_turn"]) == (1, 2)
    assert all(name.startswith("mongostore-job") for name in threads)


async def test_a_page_of_large_sessions_ends_early(store: AsyncMongoStore, asking: httpx.AsyncClient) -> None:
    sessions = store.sessions.in_namespace("acme")
    for n in range(205):
        await sessions.create(f"s{n:03}", data={"k": "x" * (200_000 if n < 100 else 10)})
    first = (await asking.get(ROOT, params={"limit": 1000})).json()
    assert [session["id"] for session in first["items"]] == [f"s{n:03}" for n in range(60)]
    second = (await asking.get(ROOT, params={"limit": 45, "cursor": first["next_cursor"]})).json()
    assert [session["id"] for session in second["items"]] == [f"s{n:03}" for n in range(60, 105)]
    rest = (await asking.get(ROOT, params={"limit": 1000, "cursor": second["next_cursor"]})).json()
    assert [session["id"] for session in rest["items"]] == [f"s{n:03}" for n in range(105, 205)]
    assert rest["next_cursor"] is None


ODD_JSON = ['"\\ud800"', "NaN", "Infinity", "-Infinity", "1e999", '{"\\udfff": 1}', '[["\\ud800"]]']


@pytest.mark.parametrize("odd", ODD_JSON)
async def test_what_not_every_reader_of_json_takes_is_refused(embedded: httpx.AsyncClient, odd: str) -> None:
    await make(embedded, participants=["p"])
    headers = {"Content-Type": "application/json"}
    for method, path, body in (
        ("POST", ROOT, f'{{"data": {{"k": {odd}}}}}'),
        ("PATCH", S1, f'{{"data": {{"k": {odd}}}}}'),
        ("POST", f"{S1}/participants/p/chat_turns", f'{{"turns": [{{"role": "u", "content": {odd}}}]}}'),
    ):
        problem(await embedded.request(method, path, content=body, headers=headers), 422)
    problem(await embedded.post(ROOT, content='{"name": "\\ud800"}', headers=headers), 422)


async def test_what_others_have_stored_is_said_as_near_as_json_can(
    store: AsyncMongoStore, asking: httpx.AsyncClient
) -> None:
    deep: Any = 1
    for _ in range(300):
        deep = {"k": deep}
    sessions = store.sessions.in_namespace("acme")
    odd = {"a\ud800": ["\udfff", math.nan, math.inf], "deep": deep}
    await sessions.create("s1", data=odd, participants=["any / id"])
    await sessions.turns.append_many("s1", "any / id", [Turn(role="user", content="\ud800")])
    answer = await asking.get(S1)
    assert answer.status_code == 200
    assert answer.json()["data"] == {"a?": ["?", None, None], "deep": deep}
    assert (await asking.post(f"{S1}/integrate")).status_code == 200
    assert (await asking.get(ROOT)).status_code == 200


async def test_too_much_at_once_is_a_problem(store: AsyncMongoStore) -> None:
    async with client(create_app(store, max_body_bytes=20_000_000)) as asking:
        await make(asking, participants=["p"])
        problem(await asking.patch(S1, json={"data": {"k": "x" * 5_000_000}}), 413)
        turns = [{"role": "user", "content": "x" * 17_000_000}]
        problem(await asking.post(f"{S1}/participants/p/chat_turns", json={"turns": turns}), 413)


SEED = {
    "bind_participant": ["namespace", "activity_session", "participant"],
    "create_session": ["request", "namespace"],
    "get_session": ["namespace", "activity_session"],
    "integrate_session": ["namespace", "activity_session"],
    "list_sessions": ["namespace", "include_deleted"],
    "soft_delete_session": ["namespace", "activity_session"],
    "truncate_session": ["namespace", "activity_session"],
    "unbind_participant": ["namespace", "activity_session", "participant"],
    "undelete_session": ["namespace", "activity_session"],
    "update_session": ["request", "namespace", "activity_session"],
    "append_chat_turns": ["request", "namespace", "activity_session", "participant"],
}
OURS = {
    "list_sessions": [
        *("user_id", "participant_id", "text", "since", "until"),
        *("order", "newest", "limit", "cursor"),
    ]
}
ADDED = {
    *("list_chat_turns", "list_messages", "append_messages", "stream_messages", "get_message"),
    *("update_message", "delete_message", "get_context", "set_context", "delete_context"),
}


@pytest.mark.parametrize("name", SEED)
def test_the_functions_have_their_names_and_parameters(name: str) -> None:
    function = getattr(service, name)
    assert inspect.iscoroutinefunction(function)
    parameters = [*inspect.signature(function).parameters]
    assert parameters == ["fastapi_request", *SEED[name], *OURS.get(name, []), "job_pool"]


def test_each_operation_is_called_as_its_function() -> None:
    app = create_app(AsyncMongoStore("mongomock://"))
    operations = [one["operationId"] for path in app.openapi()["paths"].values() for one in path.values()]
    assert sorted(operations) == sorted([*SEED, *ADDED, "health", "ready"])
    assert service.RESOURCE_SESSIONS == "Sessions"
    assert service.sessions_router.tags == ["Sessions"]
    assert service.sessions_router.responses == service.DEFAULT_HTTP_ERROR_RESPONSES


async def test_the_service_may_be_a_part_of_another_application(store: AsyncMongoStore) -> None:
    whole = FastAPI()
    whole.mount("/chat", create_app(store, require_keys=False))
    async with client(whole) as asking:
        made = await asking.post(f"/chat{ROOT}", json={"id": "s1"})
        assert made.headers["location"] == f"/chat{S1}"
        assert (await asking.get(made.headers["location"])).json() == made.json()
        assert problem(await asking.get("/chat/nowhere"), 404)["instance"] == "/chat/nowhere"
        assert (await asking.put(f"/chat{ROOT}")).headers["allow"] == "GET, HEAD, POST"
        assert [(await asking.get(f"/chat/{path}")).status_code for path in ("ready", "docs")] == [200, 200]


async def test_the_service_opens_the_store_of_the_environment_and_closes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MONGOSTORE_URI", "mongomock://")
    app = create_app()
    async with client(app) as asking:
        async with app.router.lifespan_context(app):
            assert (await asking.post(ROOT, json={"id": "s1"})).status_code == 201
            assert (await asking.get("/ready")).json() == {"status": "ready"}
        problem(await asking.get("/ready"), 503)
        assert [(await asking.head(path)).status_code for path in ("/health", "/ready")] == [200, 503]
        assert (await asking.get("/health")).json() == {"status": "ok"}
