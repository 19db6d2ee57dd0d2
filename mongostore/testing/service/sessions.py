"""The sessions of a service."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import httpx
import pytest

from mongostore.testing.service.parts import ROOT, S1, TURNS, make, problem, say


class SessionSuite:
    """Sessions are made, found, changed, deleted, undeleted and listed."""

    pytestmark: pytest.MarkDecorator = pytest.mark.asyncio

    async def test_a_session_is_created_and_found_where_it_is_said_to_be(
        self, client: httpx.AsyncClient
    ) -> None:
        sent = {"id": "s1", "name": "Refund", "description": "…", "data": {"a.b": [1, {"$x": None}]}}
        answer = await client.post(ROOT, json={**sent, "participants": ["b", "a"]})
        assert answer.status_code == 201
        made = answer.json()
        assert {name: made[name] for name in sent} == sent
        assert made["namespace"] == "acme"
        assert [one["participant"] for one in made["participants"]] == ["b", "a"]
        assert made["created_at"] == made["updated_at"]
        assert datetime.fromisoformat(made["created_at"]).tzinfo is not None
        assert made["deleted_at"] is None
        found = await client.get(answer.url.join(answer.headers["location"]))
        assert (found.status_code, found.json()) == (200, made)
        assert found.headers["etag"] == answer.headers["etag"]
        bare = (await client.post(ROOT, json={})).json()
        assert (bare["name"], bare["data"], bare["participants"]) == (None, {}, [])

    async def test_an_id_is_taken_once_in_its_namespace_also_by_a_deleted_session(
        self, client: httpx.AsyncClient
    ) -> None:
        await make(client)
        problem(await client.post(ROOT, json={"id": "s1"}), 409)
        assert (await client.delete(S1)).status_code == 204
        problem(await client.post(ROOT, json={"id": "s1"}), 409)
        assert (await client.post("/v1/namespaces/other/sessions", json={"id": "s1"})).status_code == 201

    async def test_only_given_members_change(self, client: httpx.AsyncClient) -> None:
        made = await make(client, name="n", description="d", data={"a": 1, "b": 2})
        changed = (await client.patch(S1, json={"name": None, "data": {"c": 3}})).json()
        assert (changed["name"], changed["description"], changed["data"]) == (None, "d", {"c": 3})
        assert changed["created_at"] == made["created_at"]
        assert changed["updated_at"] > made["updated_at"]
        same = await client.patch(S1, json={})
        assert same.json() == changed
        await asyncio.gather(
            client.patch(S1, json={"name": "x"}), client.patch(S1, json={"description": "y"})
        )
        both = (await client.get(S1)).json()
        assert (both["name"], both["description"]) == ("x", "y")

    async def test_a_change_may_be_bound_to_what_was_seen(self, client: httpx.AsyncClient) -> None:
        await make(client, participants=["p"])
        seen = (await client.get(S1)).headers["etag"]
        changed = await client.patch(S1, json={"name": "a"}, headers={"If-Match": seen})
        assert changed.status_code == 200
        for header in (seen, f"W/{changed.headers['etag']}", '"x", "y"'):
            problem(await client.patch(S1, json={"name": "b"}, headers={"If-Match": header}), 412)
            problem(await client.patch(S1, json={}, headers={"If-Match": header}), 412)
        now = changed.headers["etag"]
        assert (await client.patch(S1, json={}, headers={"If-Match": now})).headers["etag"] == now
        for header in ("*", '"x", {}'):
            matching = {"If-Match": header.format(now)}
            answer = await client.patch(S1, json={"name": "c"}, headers=matching)
            assert answer.status_code == 200
            now = answer.headers["etag"]
        problem(await client.patch(f"{ROOT}/none", json={"name": "c"}, headers={"If-Match": "*"}), 404)
        # Whatever is shown changes the tag.
        for call in (
            say(client, "p", "hello"),
            client.post(f"{S1}/integrate"),
            client.post(f"{S1}/truncate"),
            client.put(f"{S1}/participants/q"),
            client.delete(f"{S1}/participants/q"),
        ):
            await call
            later = (await client.get(S1)).headers["etag"]
            assert later != now
            now = later

    async def test_of_parallel_changes_bound_to_the_same_one_is_made(self, client: httpx.AsyncClient) -> None:
        await make(client)
        seen = (await client.get(S1)).headers["etag"]
        changes = (client.patch(S1, json={"name": str(n)}, headers={"If-Match": seen}) for n in range(8))
        answers = await asyncio.gather(*changes)
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7

    async def test_a_deleted_session_is_not_found_until_it_is_undeleted_whole(
        self, client: httpx.AsyncClient
    ) -> None:
        await make(client, name="n", data={"k": 1}, participants=["p"])
        await say(client, "p", "hello", "again")
        await client.post(f"{S1}/integrate")
        await say(client, "p", "more")
        before = (await client.get(S1)).json()
        assert (await client.delete(S1)).status_code == 204
        for answer in await asyncio.gather(
            client.get(S1),
            client.patch(S1, json={"name": "x"}),
            client.patch(S1, json={}),
            client.delete(S1),
            client.post(f"{S1}/truncate"),
            client.post(f"{S1}/integrate"),
            client.put(f"{S1}/participants/q"),
            client.delete(f"{S1}/participants/p"),
            client.post(f"{S1}/participants/p/chat_turns", json={"turns": TURNS}),
        ):
            problem(answer, 404)
        assert (await client.get(ROOT)).json()["items"] == []
        [listed] = (await client.get(ROOT, params={"include_deleted": "true"})).json()["items"]
        assert listed["deleted_at"] is not None
        back = await client.post(f"{S1}/undelete")
        assert back.status_code == 200
        assert {**back.json(), "updated_at": None} == {**before, "updated_at": None}
        problem(await client.post(f"{S1}/undelete"), 409)
        problem(await client.post(f"{ROOT}/none/undelete"), 404)
        assert (await client.post(f"{S1}/integrate")).json()["results"][0]["turns_integrated"] == 1

    async def test_one_of_parallel_deletes_and_one_of_parallel_undeletes_is_the_one(
        self, client: httpx.AsyncClient
    ) -> None:
        await make(client)
        for _ in range(3):
            deletes = await asyncio.gather(*(client.delete(S1) for _ in range(8)))
            assert sorted(answer.status_code for answer in deletes) == [204] + [404] * 7
            undeletes = await asyncio.gather(*(client.post(f"{S1}/undelete") for _ in range(8)))
            assert sorted(answer.status_code for answer in undeletes) == [200] + [409] * 7
        binds = await asyncio.gather(*(client.put(f"{S1}/participants/p") for _ in range(8)))
        assert sorted(answer.status_code for answer in binds) == [200] * 7 + [201]
        creates = await asyncio.gather(*(client.post(ROOT, json={"id": "s2"}) for _ in range(8)))
        assert sorted(answer.status_code for answer in creates) == [201] + [409] * 7

    async def test_pages_stand_still_while_sessions_come_and_go(self, client: httpx.AsyncClient) -> None:
        for n in range(7):
            assert (await client.post(ROOT, json={"id": f"s{n}"})).status_code == 201
        assert (await client.get("/v1/namespaces/unused/sessions")).json() == {
            "items": [],
            "next_cursor": None,
        }
        found: list[str] = []
        query: dict[str, Any] = {"limit": 3}
        while True:
            page = (await client.get(ROOT, params=query)).json()
            found += [session["id"] for session in page["items"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
            await client.patch(f"{ROOT}/{found[-1]}", json={"name": "active"})
            await client.delete(f"{ROOT}/{found[0]}")
            await client.post(ROOT, json={"id": f"late-{len(found)}"})
        assert found == [*(f"s{n}" for n in range(7)), "late-3", "late-6"]
        for cursor in ("", "x", "WzFd"):
            problem(await client.get(ROOT, params={"cursor": cursor}), 400)
        for limit in ("0", "1001", "x", "1.5"):
            problem(await client.get(ROOT, params={"limit": limit}), 422)

    async def test_any_json_comes_back_equal(self, client: httpx.AsyncClient) -> None:
        value: Any = [10**400, -(2**63) - 1, 0.1, True, None, "\0", "😀", {"": {"$ref": 1, "a.b": []}}]
        for _ in range(57):
            value = [value]
        data = {"k": value[0], "__json__": "1"}
        assert (await make(client, data=data))["data"] == data
        assert (await client.get(S1)).json()["data"] == data
