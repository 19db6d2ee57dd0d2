"""Participants and their turns in a service."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from mongostore.testing.service.parts import ROOT, S1, TURNS, make, problem, say


class ParticipantSuite:
    """Participants are bound and unbound, and what they say is integrated once."""

    pytestmark: pytest.MarkDecorator = pytest.mark.asyncio

    async def test_truncate_clears_four_fields_and_keeps_the_rest(self, client: httpx.AsyncClient) -> None:
        made = await make(client, name="n", description="d", data={"k": 1}, participants=["p", "q"])
        await say(client, "p", "hello", "again")
        await client.post(f"{S1}/integrate")
        for _ in range(2):
            cleared = (await client.post(f"{S1}/truncate")).json()
            remaining = {**made, "data": {}, "updated_at": cleared["updated_at"]}
            assert cleared == remaining
        assert await say(client, "p", "anew") == 1
        [first, _] = (await client.post(f"{S1}/integrate")).json()["results"]
        assert (first["turns_integrated"], first["last_integration_turn"]) == (1, 1)

    async def test_binding_is_repeatable_and_unbinding_starts_anew(self, client: httpx.AsyncClient) -> None:
        await make(client)
        path = f"{S1}/participants/p"
        first = await client.put(path)
        assert first.status_code == 201
        assert first.json()["participant"] == "p"
        await say(client, "p", "hello")
        [bound] = (await client.post(f"{S1}/integrate")).json()["session"]["participants"]
        again = await client.put(path)
        assert (again.status_code, again.json()) == (200, bound)
        assert (bound["chat_turn_count"], bound["bound_at"]) == (1, first.json()["bound_at"])
        assert (await client.delete(path)).status_code == 204
        problem(await client.delete(path), 404)
        problem(await client.delete(f"{ROOT}/none/participants/p"), 404)
        problem(await client.post(f"{path}/chat_turns", json={"turns": TURNS}), 404)
        problem(await client.put(f"{ROOT}/none/participants/p"), 404)
        anew = (await client.put(path)).json()
        assert (anew["chat_turn_count"], anew["insights"], anew["last_integration_turn"]) == (0, [], None)

    async def test_integration_reads_what_is_new_of_each_participant(self, client: httpx.AsyncClient) -> None:
        await make(client, participants=["p", "q"])
        insights: list[Any] = []
        for contents, last in (
            (["Why is my premium bill so high?", "Is it a duplicate charge?"], 2),
            (["And my parcel?"], 3),
        ):
            assert await say(client, "p", *contents) == last
            answer = (await client.post(f"{S1}/integrate")).json()
            [p, q] = answer["results"]
            assert [p["participant"], q["participant"]] == ["p", "q"]
            assert [p["status"], q["status"]] == ["integrated", "nothing_new"]
            assert [p["turns_integrated"], q["turns_integrated"]] == [len(contents), 0]
            for one in (p, answer["session"]["participants"][0]):
                assert one["last_integration_turn"] == last
            for one in (q, answer["session"]["participants"][1]):
                assert one["last_integration_turn"] is None
            before, insights = insights, answer["session"]["participants"][0]["insights"]
            assert insights[: len(before)] == before
            assert len(insights) == len(before) + p["insights_added"]
        seen = (await client.get(S1)).json()
        assert seen == answer["session"]
        nothing = (await client.post(f"{S1}/integrate")).json()
        assert {result["status"] for result in nothing["results"]} == {"nothing_new"}
        assert nothing["session"] == seen

    async def test_of_parallel_callers_each_turn_is_counted_once(self, client: httpx.AsyncClient) -> None:
        await make(client, participants=["p", "q"])

        async def talk(participant: str) -> None:
            for n in range(10):
                await say(client, participant, f"turn {n}", f"answer {n}")

        async def integrate() -> list[dict[str, Any]]:
            found = []
            for _ in range(8):
                answer = await client.post(f"{S1}/integrate")
                # That of another may be in the way.
                if answer.status_code != 409:
                    assert answer.status_code == 200
                    found += answer.json()["results"]
            return found

        talks, calls = [talk(name) for name in "ppq"], [integrate() for _ in range(3)]
        outcomes = await asyncio.gather(*talks, *calls)
        results = [result for outcome in outcomes[3:] for result in outcome or []]
        results += (await client.post(f"{S1}/integrate")).json()["results"]
        for participant, turns in (("p", 40), ("q", 20)):
            own = [result for result in results if result["participant"] == participant]
            assert sum(result["turns_integrated"] for result in own) == turns
        for one in (await client.get(S1)).json()["participants"]:
            assert one["chat_turn_count"] == one["last_integration_turn"]
