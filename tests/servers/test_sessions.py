"""What the sessions service promises over HTTP, on every engine."""

from __future__ import annotations

import asyncio
import inspect
import math
from datetime import datetime
from threading import Event, current_thread
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi import FastAPI

from mongostore import AsyncMongoStore
from mongostore.models import ChatTurn
from mongostore.servers import sessions as service
from mongostore.servers.sessions import create_app
from tests.servers.parts import client

ROOT = "/v1/namespaces/acme/sessions"
S1 = f"{ROOT}/s1"
TURNS = [
    {"role": "user", "content": "Why is my bill so high?"},
    {"role": "assistant", "content": "Let me look."},
]


async def make(asking: httpx.AsyncClient, **members: Any) -> dict[str, Any]:
    answer = await asking.post(ROOT, json={"id": "s1", **members})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def say(asking: httpx.AsyncClient, participant: str, *contents: Any) -> int:
    turns = [{"role": "user", "content": content} for content in contents]
    answer = await asking.post(f"{S1}/participants/{participant}/chat_turns", json={"turns": turns})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["chat_turn_count"])


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    return found


async def test_a_session_is_created_and_found_where_it_is_said_to_be(asking: httpx.AsyncClient) -> None:
    given = {"id": "s1", "name": "Refund", "description": "…", "data": {"a.b": [1, {"$x": None}]}}
    answer = await asking.post(ROOT, json={**given, "participants": ["b", "a"]})
    assert answer.status_code == 201
    made = answer.json()
    assert {name: made[name] for name in given} == given
    assert made["namespace"] == "acme"
    assert [one["participant"] for one in made["participants"]] == ["b", "a"]
    assert made["created_at"] == made["updated_at"]
    assert datetime.fromisoformat(made["created_at"]).tzinfo is not None
    assert made["deleted_at"] is None
    found = await asking.get(answer.headers["location"])
    assert (found.status_code, found.json()) == (200, made)
    assert found.headers["etag"] == answer.headers["etag"]
    bare = (await asking.post(ROOT, json={})).json()
    assert (bare["name"], bare["data"], bare["participants"]) == (None, {}, [])


async def test_an_id_is_taken_once_in_its_namespace_also_by_a_deleted_session(
    asking: httpx.AsyncClient,
) -> None:
    await make(asking)
    problem(await asking.post(ROOT, json={"id": "s1"}), 409)
    assert (await asking.delete(S1)).status_code == 204
    problem(await asking.post(ROOT, json={"id": "s1"}), 409)
    assert (await asking.post("/v1/namespaces/other/sessions", json={"id": "s1"})).status_code == 201


async def test_only_given_members_change(asking: httpx.AsyncClient) -> None:
    made = await make(asking, name="n", description="d", data={"a": 1, "b": 2})
    changed = (await asking.patch(S1, json={"name": None, "data": {"c": 3}})).json()
    assert (changed["name"], changed["description"], changed["data"]) == (None, "d", {"c": 3})
    assert changed["created_at"] == made["created_at"]
    assert changed["updated_at"] > made["updated_at"]
    same = await asking.patch(S1, json={})
    assert same.json() == changed
    await asyncio.gather(asking.patch(S1, json={"name": "x"}), asking.patch(S1, json={"description": "y"}))
    both = (await asking.get(S1)).json()
    assert (both["name"], both["description"]) == ("x", "y")


async def test_a_change_may_be_bound_to_what_was_seen(asking: httpx.AsyncClient) -> None:
    await make(asking, participants=["p"])
    seen = (await asking.get(S1)).headers["etag"]
    changed = await asking.patch(S1, json={"name": "a"}, headers={"If-Match": seen})
    assert changed.status_code == 200
    for header in (seen, f"W/{changed.headers['etag']}", "", "nonsense", '"x", "y"'):
        problem(await asking.patch(S1, json={"name": "b"}, headers={"If-Match": header}), 412)
        problem(await asking.patch(S1, json={}, headers={"If-Match": header}), 412)
    now = changed.headers["etag"]
    assert (await asking.patch(S1, json={}, headers={"If-Match": now})).headers["etag"] == now
    for header in ("*", '"x", {}'):
        matching = {"If-Match": header.format(now)}
        answer = await asking.patch(S1, json={"name": "c"}, headers=matching)
        assert answer.status_code == 200
        now = answer.headers["etag"]
    problem(await asking.patch(f"{ROOT}/none", json={"name": "c"}, headers={"If-Match": "*"}), 404)
    # Whatever is shown changes the tag.
    for call in (
        say(asking, "p", "hello"),
        asking.post(f"{S1}/integrate"),
        asking.post(f"{S1}/truncate"),
        asking.put(f"{S1}/participants/q"),
        asking.delete(f"{S1}/participants/q"),
    ):
        await call
        later = (await asking.get(S1)).headers["etag"]
        assert later != now
        now = later


async def test_of_parallel_changes_bound_to_the_same_one_is_made(asking: httpx.AsyncClient) -> None:
    await make(asking)
    seen = (await asking.get(S1)).headers["etag"]
    changes = (asking.patch(S1, json={"name": str(n)}, headers={"If-Match": seen}) for n in range(8))
    answers = await asyncio.gather(*changes)
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


async def test_a_deleted_session_is_not_found_until_it_is_undeleted_whole(asking: httpx.AsyncClient) -> None:
    await make(asking, name="n", data={"k": 1}, participants=["p"])
    await say(asking, "p", "hello", "again")
    await asking.post(f"{S1}/integrate")
    await say(asking, "p", "more")
    before = (await asking.get(S1)).json()
    assert (await asking.delete(S1)).status_code == 204
    for answer in await asyncio.gather(
        asking.get(S1),
        asking.patch(S1, json={"name": "x"}),
        asking.patch(S1, json={}),
        asking.delete(S1),
        asking.post(f"{S1}/truncate"),
        asking.post(f"{S1}/integrate"),
        asking.put(f"{S1}/participants/q"),
        asking.delete(f"{S1}/participants/p"),
        asking.post(f"{S1}/participants/p/chat_turns", json={"turns": TURNS}),
    ):
        problem(answer, 404)
    assert (await asking.get(ROOT)).json()["items"] == []
    [listed] = (await asking.get(ROOT, params={"include_deleted": "true"})).json()["items"]
    assert listed["deleted_at"] is not None
    back = await asking.post(f"{S1}/undelete")
    assert back.status_code == 200
    assert {**back.json(), "updated_at": None} == {**before, "updated_at": None}
    problem(await asking.post(f"{S1}/undelete"), 409)
    problem(await asking.post(f"{ROOT}/none/undelete"), 404)
    assert (await asking.post(f"{S1}/integrate")).json()["results"][0]["turns_integrated"] == 1


async def test_truncate_clears_four_fields_and_keeps_the_rest(asking: httpx.AsyncClient) -> None:
    made = await make(asking, name="n", description="d", data={"k": 1}, participants=["p", "q"])
    await say(asking, "p", "hello", "again")
    await asking.post(f"{S1}/integrate")
    for _ in range(2):
        cleared = (await asking.post(f"{S1}/truncate")).json()
        kept = {**made, "data": {}, "updated_at": cleared["updated_at"]}
        assert cleared == kept
    assert await say(asking, "p", "anew") == 1
    [first, _] = (await asking.post(f"{S1}/integrate")).json()["results"]
    assert (first["turns_integrated"], first["last_integration_turn"]) == (1, 1)


async def test_binding_is_repeatable_and_unbinding_starts_anew(asking: httpx.AsyncClient) -> None:
    await make(asking)
    path = f"{S1}/participants/p"
    first = await asking.put(path)
    assert first.status_code == 201
    assert first.json()["participant"] == "p"
    await say(asking, "p", "hello")
    await asking.post(f"{S1}/integrate")
    again = await asking.put(path)
    assert again.status_code == 200
    assert (again.json()["chat_turn_count"], len(again.json()["insights"])) == (1, 1)
    assert again.json()["bound_at"] == first.json()["bound_at"]
    assert (await asking.delete(path)).status_code == 204
    problem(await asking.delete(path), 404)
    problem(await asking.delete(f"{ROOT}/none/participants/p"), 404)
    problem(await asking.post(f"{path}/chat_turns", json={"turns": TURNS}), 404)
    problem(await asking.put(f"{ROOT}/none/participants/p"), 404)
    anew = (await asking.put(path)).json()
    assert (anew["chat_turn_count"], anew["insights"], anew["last_integration_turn"]) == (0, [], None)


async def test_integration_reads_what_is_new_of_each_participant(asking: httpx.AsyncClient) -> None:
    await make(asking, participants=["p", "q"])
    assert await say(asking, "p", "Why is my premium bill so high?", "Is it a duplicate charge?") == 2
    answer = (await asking.post(f"{S1}/integrate")).json()
    assert [result["status"] for result in answer["results"]] == ["integrated", "nothing_new"]
    [p, q] = answer["session"]["participants"]
    [insight] = p["insights"]
    assert (insight["kind"], insight["first_turn"], insight["last_turn"]) == ("keywords", 1, 2)
    assert "duplicate charge" in insight["keywords"]
    assert (p["last_integration_turn"], q["last_integration_turn"]) == (2, None)
    assert await say(asking, "p", "And my parcel?") == 3
    [again, _] = (await asking.post(f"{S1}/integrate")).json()["results"]
    assert (again["turns_integrated"], again["insights_added"], again["last_integration_turn"]) == (1, 1, 3)
    before = (await asking.get(S1)).json()
    nothing = (await asking.post(f"{S1}/integrate")).json()
    assert {result["status"] for result in nothing["results"]} == {"nothing_new"}
    assert nothing["session"] == before


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


async def test_of_parallel_callers_each_turn_is_counted_once(asking: httpx.AsyncClient) -> None:
    await make(asking, participants=["p", "q"])

    async def talk(participant: str) -> None:
        for n in range(10):
            await say(asking, participant, f"turn {n}", f"answer {n}")

    async def integrate() -> list[dict[str, Any]]:
        found = []
        for _ in range(8):
            answer = await asking.post(f"{S1}/integrate")
            assert answer.status_code == 200
            found += answer.json()["results"]
        return found

    outcomes = await asyncio.gather(talk("p"), talk("p"), talk("q"), integrate(), integrate(), integrate())
    results = [result for outcome in outcomes[3:] for result in outcome or []]
    results += (await asking.post(f"{S1}/integrate")).json()["results"]
    for participant, turns in (("p", 40), ("q", 20)):
        counted = [result["turns_integrated"] for result in results if result["participant"] == participant]
        assert sum(counted) == turns
    for one in (await asking.get(S1)).json()["participants"]:
        assert one["chat_turn_count"] == one["last_integration_turn"]
        spans = [(insight["first_turn"], insight["last_turn"]) for insight in one["insights"]]
        assert [number for a, b in spans for number in range(a, b + 1)] == [
            *range(1, one["chat_turn_count"] + 1)
        ]


async def test_one_of_parallel_deletes_and_one_of_parallel_undeletes_is_the_one(
    asking: httpx.AsyncClient,
) -> None:
    await make(asking)
    for _ in range(3):
        deletes = await asyncio.gather(*(asking.delete(S1) for _ in range(8)))
        assert sorted(answer.status_code for answer in deletes) == [204] + [404] * 7
        undeletes = await asyncio.gather(*(asking.post(f"{S1}/undelete") for _ in range(8)))
        assert sorted(answer.status_code for answer in undeletes) == [200] + [409] * 7
    binds = await asyncio.gather(*(asking.put(f"{S1}/participants/p") for _ in range(8)))
    assert sorted(answer.status_code for answer in binds) == [200] * 7 + [201]
    creates = await asyncio.gather(*(asking.post(ROOT, json={"id": "s2"}) for _ in range(8)))
    assert sorted(answer.status_code for answer in creates) == [201] + [409] * 7


async def test_pages_stand_still_while_sessions_come_and_go(asking: httpx.AsyncClient) -> None:
    for n in range(7):
        assert (await asking.post(ROOT, json={"id": f"s{n}"})).status_code == 201
    assert (await asking.get("/v1/namespaces/unused/sessions")).json() == {"items": [], "next_cursor": None}
    found: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = (await asking.get(ROOT, params=query)).json()
        found += [session["id"] for session in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
        await asking.patch(f"{ROOT}/{found[-1]}", json={"name": "active"})
        await asking.delete(f"{ROOT}/{found[0]}")
        await asking.post(ROOT, json={"id": f"late-{len(found)}"})
    assert found == [*(f"s{n}" for n in range(7)), "late-3", "late-6"]
    for cursor in ("", "x", "WzFd"):
        problem(await asking.get(ROOT, params={"cursor": cursor}), 400)
    for limit in ("0", "1001", "x", "1.5"):
        problem(await asking.get(ROOT, params={"limit": limit}), 422)


async def test_a_wrong_method_is_told_all_that_are_right(asking: httpx.AsyncClient) -> None:
    assert problem(await asking.put(ROOT), 405)
    assert (await asking.put(ROOT)).headers["allow"] == "GET, POST"
    assert (await asking.post(S1)).headers["allow"] == "DELETE, GET, PATCH"


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


NO_IDS = ["", "a/b", "-a", ".", "é", "a b", "a" * 129, "a\n", "$where", "%00"]


@pytest.mark.parametrize("bad", NO_IDS, ids=lambda bad: repr(bad)[:12])
async def test_ids_fit_their_pattern(embedded: httpx.AsyncClient, bad: str) -> None:
    problem(await embedded.post(ROOT, json={"id": bad}), 422)
    problem(await embedded.post(ROOT, json={"participants": ["a", bad]}), 422)
    if bad and "/" not in bad and bad != ".":
        quoted = "/" + quote(bad)
        problem(await embedded.get(f"{ROOT}{quoted}"), 422)
        problem(await embedded.get(f"/v1/namespaces{quoted}/sessions"), 422)
        problem(await embedded.put(f"{S1}/participants{quoted}"), 422)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", ROOT, None),
        ("POST", ROOT, {"data": None}),
        ("POST", ROOT, {"data": []}),
        ("POST", ROOT, {"name": "x" * 257}),
        ("POST", ROOT, {"description": "x" * 4097}),
        ("POST", ROOT, {"namespace": "x"}),
        ("POST", ROOT, {"deleted_at": None}),
        ("POST", ROOT, {"participants": ["a", "a"]}),
        ("POST", ROOT, {"participants": None}),
        ("POST", ROOT, {"name": 1}),
        ("PATCH", S1, {"data": None}),
        ("PATCH", S1, {"id": "x"}),
        ("PATCH", S1, {"participants": []}),
        ("PATCH", S1, None),
        ("POST", f"{S1}/participants/p/chat_turns", {"turns": []}),
        ("POST", f"{S1}/participants/p/chat_turns", {"turns": [{"role": "user"}]}),
        ("POST", f"{S1}/participants/p/chat_turns", {"turns": [{"role": "", "content": 1}]}),
        ("POST", f"{S1}/participants/p/chat_turns", {"turns": [{"role": "u", "content": 1, "number": 1}]}),
        ("POST", f"{S1}/participants/p/chat_turns", {"turns": [{"role": "u", "content": 1}] * 1001}),
    ],
)
async def test_what_does_not_fit_is_refused_and_changes_nothing(
    embedded: httpx.AsyncClient, method: str, path: str, body: Any
) -> None:
    made = await make(embedded, participants=["p"])
    found = problem(await embedded.request(method, path, json=body), 422)
    assert found["errors"]
    assert (await embedded.get(ROOT)).json()["items"] == [made]


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


async def test_any_json_comes_back_equal(asking: httpx.AsyncClient) -> None:
    value: Any = [10**400, -(2**63) - 1, 0.1, True, None, "\0", "😀", {"": {"$ref": 1, "a.b": []}}]
    for _ in range(57):
        value = [value]
    data = {"k": value[0], "__json__": "1"}
    assert (await make(asking, data=data))["data"] == data
    assert (await asking.get(S1)).json()["data"] == data


async def test_what_others_have_stored_is_said_as_near_as_json_can(
    store: AsyncMongoStore, asking: httpx.AsyncClient
) -> None:
    deep: Any = 1
    for _ in range(300):
        deep = {"k": deep}
    sessions = store.sessions.in_namespace("acme")
    odd = {"a\ud800": ["\udfff", math.nan, math.inf], "deep": deep}
    await sessions.create("s1", data=odd, participants=["any / id"])
    await sessions.append_chat_turns("s1", "any / id", [ChatTurn(role="user", content="\ud800")])
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
OURS = {"list_sessions": ["limit", "cursor"], "update_session": ["if_match"]}


@pytest.mark.parametrize("name", SEED)
def test_the_functions_have_their_names_and_parameters(name: str) -> None:
    function = getattr(service, name)
    assert inspect.iscoroutinefunction(function)
    parameters = [*inspect.signature(function).parameters]
    assert parameters == ["fastapi_request", *SEED[name], *OURS.get(name, []), "job_pool"]


def test_a_change_made_of_the_schema_clears_nothing_that_was_left_out() -> None:
    schemas = create_app(AsyncMongoStore("mongomock://")).openapi()["components"]["schemas"]
    members = schemas["SessionUpdateRequestV1"]["properties"]
    assert [*members] == ["name", "description", "data"]
    assert not any("default" in member for member in members.values())


def test_each_operation_is_called_as_its_function() -> None:
    app = create_app(AsyncMongoStore("mongomock://"))
    operations = [one["operationId"] for path in app.openapi()["paths"].values() for one in path.values()]
    assert sorted(operations) == sorted([*SEED, "health", "ready"])
    assert service.RESOURCE_SESSIONS == "Sessions"
    assert service.sessions_router.tags == ["Sessions"]
    assert service.sessions_router.responses == service.DEFAULT_HTTP_ERROR_RESPONSES


async def test_the_service_may_be_a_part_of_another_application(store: AsyncMongoStore) -> None:
    whole = FastAPI()
    whole.mount("/chat", create_app(store))
    async with client(whole) as asking:
        made = await asking.post(f"/chat{ROOT}", json={"id": "s1"})
        assert made.headers["location"] == f"/chat{S1}"
        assert (await asking.get(made.headers["location"])).json() == made.json()
        assert problem(await asking.get("/chat/nowhere"), 404)["instance"] == "/chat/nowhere"
        assert (await asking.put(f"/chat{ROOT}")).headers["allow"] == "GET, POST"
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
