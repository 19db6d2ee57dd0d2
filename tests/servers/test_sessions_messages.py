"""Messages, chat turns and contexts over HTTP, and the stream of what happens to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest
import uvicorn

from mongostore import AsyncMongoStore
from mongostore.models import MessageChange
from mongostore.repositories.sessions import AsyncSessionMessages
from mongostore.servers.sessions import create_app
from mongostore.testing.service.parts import ROOT, S1, TURNS, make, problem, say
from tests.servers.parts import client

MESSAGES = f"{S1}/messages"
CONTEXT = f"{S1}/context"
KEY = {"Idempotency-Key": "k1"}


async def append(
    asking: httpx.AsyncClient, *messages: dict[str, Any], **options: Any
) -> list[dict[str, Any]]:
    answer = await asking.post(MESSAGES, json={"messages": messages}, **options)
    assert answer.status_code == 201, answer.text
    appended: list[dict[str, Any]] = answer.json()["messages"]
    return appended


def new_message(number: int, **members: Any) -> dict[str, Any]:
    return {"id": f"m{number}", "role": "user", "content": number, **members}


async def walk(asking: httpx.AsyncClient, path: str, **params: Any) -> list[list[Any]]:
    """All pages of a list."""
    pages, cursor = [], None
    while True:
        page = (await asking.get(path, params={**params, **({"cursor": cursor} if cursor else {})})).json()
        pages.append(page["items"])
        cursor = page["next_cursor"]
        if cursor is None:
            return pages


class TestMessages:
    @pytest.mark.smoke
    async def test_a_message_is_appended_read_changed_and_deleted(self, asking: httpx.AsyncClient) -> None:
        await make(asking)
        data, metadata = {"tool_calls": [1]}, {"a.b": 1, "c": 2}
        [first, second] = await append(
            asking, new_message(0, data=data, metadata=metadata, conversation_id="c1"), {"role": "assistant"}
        )
        assert (first["data"], first["metadata"], first["conversation_id"]) == (data, metadata, "c1")
        assert (first["position"], first["status"], second["content"]) == (0, "complete", None)
        got = await asking.get(f"{MESSAGES}/m0")
        assert got.json() == first
        assert (await asking.get(MESSAGES)).json() == {"items": [first, second], "next_cursor": None}
        changed = await asking.patch(
            f"{MESSAGES}/m0", json={"content": [None], "metadata": {"c": None, "d": 3}}
        )
        assert (changed.json()["content"], changed.json()["metadata"]) == ([None], {"a.b": 1, "d": 3})
        assert changed.headers["etag"] != got.headers["etag"]
        assert (await asking.patch(f"{MESSAGES}/m0", json={})).json() == changed.json()
        assert (await asking.delete(f"{MESSAGES}/m0")).status_code == 204
        for answer in (
            await asking.get(f"{MESSAGES}/m0"),
            await asking.patch(f"{MESSAGES}/m0", json={"role": "x"}),
            await asking.delete(f"{MESSAGES}/m0"),
        ):
            problem(answer, 404)
        assert (await asking.get(S1)).json()["message_count"] == 1

    async def test_lists_have_both_directions_and_all_bounds(self, asking: httpx.AsyncClient) -> None:
        await make(asking)
        await append(asking, *[new_message(n, conversation_id=f"c{n % 2}") for n in range(150)])

        def numbers(pages: list[list[Any]]) -> list[list[int]]:
            return [[message["content"] for message in page] for page in pages]

        assert numbers(await walk(asking, MESSAGES)) == [[*range(100)], [*range(100, 150)]]
        backwards = numbers(await walk(asking, MESSAGES, newest=True, limit=60))
        assert backwards == [[*range(90, 150)], [*range(30, 90)], [*range(30)]]
        within = await walk(asking, MESSAGES, after=10, before=20, conversation_id="c1")
        assert numbers(within) == [[11, 13, 15, 17, 19]]
        problem(await asking.get(MESSAGES, params={"limit": 0}), 422)
        problem(await asking.get(f"{ROOT}/none/messages"), 404)

    async def test_a_page_of_large_messages_ends_early(self, asking: httpx.AsyncClient) -> None:
        await make(asking)
        for number in range(21):
            await append(asking, new_message(number, content="x" * 500_000))
        pages = await walk(asking, MESSAGES, newest=True)
        assert [len(page) for page in pages] == [20, 1]
        assert [page[0]["id"] for page in pages] == ["m1", "m0"]

    async def test_a_guard_binds_a_change_to_a_version(self, asking: httpx.AsyncClient) -> None:
        made = await asking.post(ROOT, json={"id": "s1"})
        old = {"If-Match": made.headers["etag"]}
        await append(asking, new_message(0), headers=old)
        await asking.patch(S1, json={"name": "other"})
        problem(await asking.post(MESSAGES, json={"messages": [new_message(1)]}, headers=old), 412)
        seen = {"If-Match": (await asking.get(f"{MESSAGES}/m0")).headers["etag"]}
        changed = await asking.patch(f"{MESSAGES}/m0", json={"content": 1}, headers=seen)
        assert changed.status_code == 200
        for answer in (
            await asking.patch(f"{MESSAGES}/m0", json={"content": 2}, headers=seen),
            await asking.patch(f"{MESSAGES}/m0", json={}, headers=seen),
            await asking.delete(f"{MESSAGES}/m0", headers=seen),
        ):
            problem(answer, 412)
        new = {"If-Match": changed.headers["etag"]}
        assert (await asking.delete(f"{MESSAGES}/m0", headers=new)).status_code == 204

    @pytest.mark.parametrize(
        "message",
        [
            {"content": 1},
            {"role": ""},
            {"role": "user", "id": "stream"},
            {"role": "user", "id": "a b"},
            {"role": "user", "contnet": 1},
            {"role": "user", "created_at": "2026-01-01T00:00:00"},
            {"role": "user", "data": []},
        ],
        ids=str,
    )
    async def test_bad_ones_are_refused(self, embedded: httpx.AsyncClient, message: Any) -> None:
        await make(embedded)
        problem(await embedded.post(MESSAGES, json={"messages": [new_message(0), message]}), 422)
        assert (await embedded.get(MESSAGES)).json()["items"] == []

    async def test_other_content_of_an_id_is_a_conflict(self, embedded: httpx.AsyncClient) -> None:
        await make(embedded)
        first = await append(embedded, new_message(0))
        assert await append(embedded, new_message(0)) == first
        problem(await embedded.post(MESSAGES, json={"messages": [new_message(0, content="other")]}), 409)


class TestKeys:
    async def test_a_request_sent_again_does_nothing_more(self, asking: httpx.AsyncClient) -> None:
        """Each operation that makes something, twice: equal answers, and one of each made."""
        made = [await asking.post(ROOT, json={"name": "n"}, headers=KEY) for _ in range(2)]
        assert made[0].status_code == made[1].status_code == 201
        assert made[0].json() == made[1].json()
        path = f"{ROOT}/{made[0].json()['id']}"
        bodies = [
            (f"{path}/messages", {"messages": [{"role": "user"}, {"role": "assistant"}]}),
            (f"{path}/participants/ada/chat_turns", {"turns": TURNS}),
        ]
        await asking.put(f"{path}/participants/ada")
        for url, body in bodies:
            answers = [await asking.post(url, json=body, headers=KEY) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [201] * 3
            assert answers[0].json() == answers[1].json() == answers[2].json()
            problem(await asking.post(url, json={**body, "more": 1}, headers=KEY), 422)
        found = (await asking.get(path)).json()
        assert (found["message_count"], found["participants"][0]["chat_turn_count"]) == (2, 2)
        assert len((await asking.get(ROOT)).json()["items"]) == 1
        other = await asking.post(bodies[0][0], json={"messages": [{"role": "user"}]}, headers=KEY)
        assert "another body" in problem(other, 422)["detail"]

    async def test_a_key_is_of_its_own_path(self, asking: httpx.AsyncClient) -> None:
        for name in ("s1", "s2"):
            await asking.post(ROOT, json={"id": name})
            answer = await asking.post(
                f"{ROOT}/{name}/messages", json={"messages": [new_message(0)]}, headers=KEY
            )
            assert answer.status_code == 201

    async def test_a_session_of_others_is_no_answer(self, asking: httpx.AsyncClient) -> None:
        await make(asking, name="theirs")
        problem(await asking.post(ROOT, json={"id": "s1", "name": "mine"}, headers=KEY), 409)
        again = {"Idempotency-Key": "k2"}
        assert (
            await asking.post(ROOT, json={"id": "s1", "name": "theirs"}, headers=again)
        ).status_code == 201

    async def test_a_request_that_failed_may_be_sent_again(self, asking: httpx.AsyncClient) -> None:
        await make(asking)
        url = f"{S1}/participants/ada/chat_turns"
        problem(await asking.post(url, json={"turns": TURNS}, headers=KEY), 404)
        await asking.put(f"{S1}/participants/ada")
        assert (await asking.post(url, json={"turns": TURNS}, headers=KEY)).json() == {"chat_turn_count": 2}

    async def test_what_others_do_since_is_not_undone_by_a_repetition(
        self, asking: httpx.AsyncClient
    ) -> None:
        await make(asking, participants=["ada"])
        turns, message = f"{S1}/participants/ada/chat_turns", {"messages": [{"role": "user"}]}
        [first] = await append(asking, message["messages"][0], headers=KEY)
        assert (await asking.post(turns, json={"turns": TURNS}, headers=KEY)).status_code == 201
        await asking.patch(f"{MESSAGES}/{first['id']}", json={"content": "changed"})
        [changed] = await append(asking, message["messages"][0], headers=KEY)
        assert changed["content"] == "changed"
        await asking.delete(f"{MESSAGES}/{first['id']}")
        await asking.post(f"{S1}/truncate")
        assert (
            "deleted since" in problem(await asking.post(MESSAGES, json=message, headers=KEY), 409)["detail"]
        )
        again = await asking.post(turns, json={"turns": TURNS}, headers=KEY)
        assert (again.status_code, again.json()) == (201, {"chat_turn_count": 2})
        left = (await asking.get(S1)).json()
        assert (left["message_count"], left["participants"][0]["chat_turn_count"]) == (0, 0)

    async def test_a_session_that_was_deleted_since_does_not_come_back(
        self, store: AsyncMongoStore, asking: httpx.AsyncClient
    ) -> None:
        sessions = store.sessions.in_namespace("acme")
        for body in ({}, {"id": "s1"}):
            key = {"Idempotency-Key": f"k{len(body)}"}
            made = await asking.post(ROOT, json=body, headers=key)
            assert (await asking.post(ROOT, json=body, headers=key)).json() == made.json()
            await sessions.delete(made.json()["id"])
            problem(await asking.post(ROOT, json=body, headers=key), 409)
            assert not await sessions.exists(made.json()["id"])
            # One that others have made since is no answer.
            await sessions.create(made.json()["id"])
            problem(await asking.post(ROOT, json=body, headers=key), 409)

    async def test_a_guard_holds_for_the_first_request_alone(self, asking: httpx.AsyncClient) -> None:
        guard = {"If-Match": (await asking.post(ROOT, json={"id": "s1"})).headers["etag"]}
        [first] = await append(asking, {"role": "user"}, headers=KEY | guard)
        await asking.patch(S1, json={"name": "other"})
        assert await append(asking, {"role": "user"}, headers=KEY | guard) == [first]

    async def test_keys_of_two_callers_are_two(self, store: AsyncMongoStore) -> None:
        tokens = [(await store.keys.create(name="k", namespaces=["*"])).token for _ in range(2)]
        async with client(create_app(store), tokens[0]) as one, client(create_app(store), tokens[1]) as two:
            await make(one)
            for asking, content in ((one, "a"), (two, "a"), (two, "a")):
                await append(asking, {"role": "user", "content": content}, headers=KEY)
            assert (await one.get(S1)).json()["message_count"] == 2

    async def test_of_parallel_requests_one_does_it(self, asking: httpx.AsyncClient) -> None:
        await make(asking, participants=["ada"])
        url = f"{S1}/participants/ada/chat_turns"
        answers = await asyncio.gather(
            *(asking.post(url, json={"turns": TURNS}, headers=KEY) for _ in range(8))
        )
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert (await asking.get(S1)).json()["participants"][0]["chat_turn_count"] == 2

    async def test_bad_keys_are_refused(self, embedded: httpx.AsyncClient) -> None:
        for key in ("", "x" * 256, "with space"):
            problem(await embedded.post(ROOT, json={}, headers={"Idempotency-Key": key}), 422)


class TestTurnsAndContexts:
    async def test_chat_turns_are_read(self, asking: httpx.AsyncClient) -> None:
        await make(asking, participants=["ada", "bo"])
        await say(asking, "ada", *range(5))
        await say(asking, "bo", "other")
        url = f"{S1}/participants/ada/chat_turns"
        pages = await walk(asking, url, limit=2)
        assert [[turn["number"] for turn in page] for page in pages] == [[1, 2], [3, 4], [5]]
        assert pages[0][1].keys() == {"number", "role", "content", "created_at"}
        backwards = await walk(asking, url, limit=2, newest=True)
        assert [[turn["content"] for turn in page] for page in backwards] == [[3, 4], [1, 2], [0]]
        problem(await asking.get(f"{S1}/participants/none/chat_turns"), 404)

    @pytest.mark.parametrize("value", [None, 0, "text", [], {"messages": [{"role": "system"}]}], ids=repr)
    async def test_a_context_is_any_json_value(self, asking: httpx.AsyncClient, value: Any) -> None:
        await make(asking)
        problem(await asking.get(CONTEXT), 404)
        stored = await asking.put(CONTEXT, json={"value": value})
        assert stored.status_code == 204
        got = await asking.get(CONTEXT)
        assert (got.json(), got.headers["etag"]) == ({"value": value}, stored.headers["etag"])
        other = await asking.put(CONTEXT, json={"value": "other"}, headers={"If-Match": got.headers["etag"]})
        assert other.status_code == 204
        old = {"If-Match": got.headers["etag"]}
        problem(await asking.put(CONTEXT, json={"value": 1}, headers=old), 412)
        problem(await asking.delete(CONTEXT, headers=old), 412)
        assert (await asking.delete(CONTEXT, headers={"If-Match": other.headers["etag"]})).status_code == 204
        problem(await asking.delete(CONTEXT), 404)

    async def test_sessions_are_of_users_and_have_notes(self, asking: httpx.AsyncClient) -> None:
        await make(asking, user_id="ada", metadata={"k": 1, "l": 2})
        await asking.post(ROOT, json={"id": "s2", "user_id": "bo"})
        assert [one["id"] for one in (await asking.get(ROOT, params={"user_id": "ada"})).json()["items"]] == [
            "s1"
        ]
        await asking.patch(S1, json={"metadata": {"k": None}, "user_id": "bo"})
        found = (await asking.get(S1)).json()
        assert (found["metadata"], found["user_id"]) == ({"l": 2}, "bo")
        newest = (await asking.get(ROOT, params={"order": "active", "newest": True})).json()
        assert [one["id"] for one in newest["items"]] == ["s1", "s2"]


class ServerSentEvent(NamedTuple):
    event: str
    data: str
    id: str | None


@asynccontextmanager
async def serving(store: AsyncMongoStore, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service at a port of this machine, whose answers come as they are sent."""
    config = uvicorn.Config(create_app(store), port=0, log_level="error", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=60, **options) as asking:
            yield asking
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def listening(
    asking: httpx.AsyncClient, after: str | None = None, **params: Any
) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
    headers = {} if after is None else {"Last-Event-ID": after}
    async with asking.stream("GET", f"{MESSAGES}/stream", headers=headers, params=params) as answer:
        answer.raise_for_status()
        yield events_of(answer)


async def events_of(answer: httpx.Response) -> AsyncIterator[ServerSentEvent]:
    members: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            members[name] = value
        elif "event" in members:
            yield ServerSentEvent(members["event"], members["data"], members.get("id"))
            members = {}


async def take(events: AsyncIterator[ServerSentEvent], count: int) -> list[ServerSentEvent]:
    async with asyncio.timeout(20):
        return [await anext(events) for _ in range(count)]


def summaries_of(events: list[ServerSentEvent]) -> list[tuple[str, Any]]:
    found = []
    for event in events:
        message = json.loads(event.data).get("message")
        found.append((event.event, message and message["content"]))
    return found


class TestStream:
    @pytest.mark.smoke
    async def test_a_browser_that_reloads_goes_on_where_it_was(self, store: AsyncMongoStore) -> None:
        messages = store.sessions.in_namespace("acme").messages
        async with serving(store) as asking:
            await make(asking)
            await append(asking, new_message(0), new_message(1), new_message(2))
            async with listening(asking, last=2) as events:
                assert summaries_of(await take(events, 2)) == [("append", 1), ("append", 2)]
                await append(asking, new_message(3))
                [third] = await take(events, 1)
                assert summaries_of([third]) == [("append", 3)]
                assert json.loads(third.data)["position"] == 3
            await append(asking, new_message(4))
            await messages.update("s1", "m0", content="changed")
            # Whichever process answers: the id is all that is remembered.
            async with serving(store) as other, listening(other, after=third.id) as events:
                assert summaries_of(await take(events, 2)) == [("append", 4), ("update", "changed")]
                async with messages.stream("s1", id="a", flush_every=5) as out:
                    await out.write("Hel")
                    await out.flush()
                    await out.write("lo")
                [begun, grown, whole] = await take(events, 3)
                assert [kind for kind, _ in summaries_of([begun, grown, whole])] == [
                    "append",
                    "update",
                    "update",
                ]
                assert json.loads(begun.data)["message"]["status"] == "streaming"
                assert json.loads(whole.data)["message"]["content"] == "Hello"
                assert json.loads(whole.data)["message"]["status"] == "complete"
                await messages.delete("s1", "m0")
                await messages.truncate("s1")
                await other.delete(S1)
                assert summaries_of(await take(events, 3)) == [
                    *(("delete", None), ("truncate", None), ("close", None))
                ]
                with pytest.raises(StopAsyncIteration):
                    await anext(events)

    async def test_an_unknown_id_asks_for_a_reload(self, store: AsyncMongoStore) -> None:
        async with serving(store) as asking:
            await make(asking)
            for after in ("nonsense", "e30="):
                async with listening(asking, after=after) as events:
                    [event] = await take(events, 1)
                    assert (event.event, event.data) == ("reload", "{}")
                    with pytest.raises(StopAsyncIteration):
                        await anext(events)

    async def test_an_unknown_id_is_taken_from_the_browser(self, store: AsyncMongoStore) -> None:
        async with serving(store) as asking:
            await make(asking)
            answer = await asking.get(f"{S1}/messages/stream", headers={"Last-Event-ID": "nonsense"})
        assert answer.text.splitlines() == ["event: reload", "data: {}", "id: ", ""]

    async def test_a_session_that_is_deleted_before_it_is_watched_is_gone(
        self, store: AsyncMongoStore, asking: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch = AsyncSessionMessages.watch

        async def watch_late(
            self: AsyncSessionMessages, session_id: str, **options: Any
        ) -> AsyncIterator[MessageChange]:
            await asking.delete(S1)
            async for change in watch(self, session_id, **options):
                yield change

        monkeypatch.setattr(AsyncSessionMessages, "watch", watch_late)
        await make(asking)
        answer = await asking.get(f"{MESSAGES}/stream")
        assert answer.text.splitlines() == ["event: close", "data: {}", ""]

    async def test_a_silent_stream_is_kept_alive(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mongostore.servers.served_store.PING_SECONDS", 0.05)
        async with serving(store) as asking:
            await make(asking)
            async with asking.stream("GET", f"{MESSAGES}/stream") as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                assert answer.headers["cache-control"] == "no-store"
                lines = answer.aiter_lines()
                assert await anext(lines) == ": ping"

    async def test_what_is_not_there_is_refused_before_it_begins(self, asking: httpx.AsyncClient) -> None:
        problem(await asking.get(f"{MESSAGES}/stream"), 404)
        problem(await asking.get(f"{MESSAGES}/stream", params={"last": 1001}), 422)

    async def test_a_caller_has_so_many_streams(
        self, store: AsyncMongoStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mongostore.servers.sessions.service.STREAMS_A_CALLER", 2)
        async with serving(store) as asking:
            await make(asking)
            async with listening(asking), listening(asking):
                problem(await asking.get(f"{MESSAGES}/stream"), 429)
            async with asyncio.timeout(20):
                while (
                    await asking.send(asking.build_request("GET", f"{MESSAGES}/stream"), stream=True)
                ).is_error:
                    await asyncio.sleep(0.05)
