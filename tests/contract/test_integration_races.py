"""What integrations promise while turns come and go and others integrate, on every engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mongostore import AsyncMongoStore, NotFoundError, ParticipantIntegration
from tests.contract.integrating import FAILED, INTEGRATED, NOTHING_NEW, Integrator, insights_of
from tests.contract.turns import new_turns


class TestIntegrationRaces:
    async def test_a_turn_that_comes_meanwhile_waits_for_the_next_call(self, store: AsyncMongoStore) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a", "b"])
        await sessions.turns.append_many("s", "a", new_turns(1, 2))
        await sessions.turns.append_many("s", "b", new_turns(1))

        async def meanwhile() -> None:
            await sessions.turns.append_many("s", "a", new_turns(3))
            await sessions.turns.append_many("s", "b", new_turns(2, 3))

        integrator = Integrator(meanwhile)
        first = await sessions.turns.integrate("s", integrator)
        assert [one.integrated_until for one in first.results] == [2, 1]
        assert [one.turn_count for one in first.session.participants] == [3, 3]
        second = await sessions.turns.integrate("s", integrator)
        assert insights_of(second.session) == [[1, 2, 3], [1, 2, 3]]
        assert integrator.handed == [("a", [1, 2]), ("b", [1]), ("a", [3]), ("b", [2, 3])]

    async def test_what_another_integration_has_covered_meanwhile_is_left_to_it(
        self, store: AsyncMongoStore
    ) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a"])
        await sessions.turns.append_many("s", "a", new_turns(1, 2))

        async def faster() -> None:
            [result] = (await sessions.turns.integrate("s", lambda *_: ["faster"])).results
            assert result.status is INTEGRATED

        slower = Integrator(faster)
        [result] = (await sessions.turns.integrate("s", slower)).results
        assert result == ParticipantIntegration(participant_id="a", status=NOTHING_NEW, integrated_until=2)
        assert insights_of(await sessions.get("s")) == [["faster"]]
        assert slower.handed == [("a", [1, 2])]

    async def test_what_another_integration_has_left_is_gone_on_with(self, store: AsyncMongoStore) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a"])
        await sessions.turns.append_many("s", "a", new_turns(1))

        async def second_started() -> None:
            await sessions.turns.append_many("s", "a", new_turns(2, 3))

            async def first_ends() -> None:
                proceed.set()
                await first_done.wait()

            second = Integrator(first_ends)
            results.append((second, asyncio.create_task(sessions.turns.integrate("s", second))))
            await proceed.wait()

        results: list[Any] = []
        proceed, first_done = asyncio.Event(), asyncio.Event()
        [result] = (await sessions.turns.integrate("s", Integrator(second_started))).results
        assert (result.turns_integrated, result.integrated_until) == (1, 1)
        first_done.set()
        [(second, task)] = results
        [result] = (await task).results
        assert (result.status, result.turns_integrated, result.integrated_until) == (INTEGRATED, 2, 3)
        assert second.handed == [("a", [1, 2, 3]), ("a", [2, 3])]
        assert insights_of(await sessions.get("s")) == [[1, 2, 3]]

    async def test_parallel_integrations_count_each_turn_once(self, store: AsyncMongoStore) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a", "b"])
        covered = {"a": 0, "b": 0}

        async def integrate() -> None:
            for _ in range(5):
                for result in (await sessions.turns.integrate("s", Integrator())).results:
                    assert result.status is not FAILED
                    assert result.insights_added == result.turns_integrated
                    covered[result.participant_id] += result.turns_integrated

        async def append(caller: int) -> None:
            for n in range(20):
                await sessions.turns.append_many(
                    "s", "ab"[n % 2], new_turns(f"{caller}.{n}", f"{caller}.{n}'")
                )

        await asyncio.gather(*(append(caller) for caller in range(6)), *(integrate() for _ in range(6)))
        await integrate()
        for bound in await sessions.participants.list("s"):
            assert bound.turn_count == bound.integrated_until == covered[bound.id] == 120
            turns = sessions.turns.iter("s", bound.id)
            assert bound.insights == [turn.content async for turn in turns]

    @pytest.mark.parametrize("change", ["truncate", "unbind", "bind", "soft_delete", "delete"])
    async def test_insights_of_what_is_gone_meanwhile_are_dropped(
        self, store: AsyncMongoStore, change: str
    ) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a", "b"])
        for name in "ab":
            await sessions.turns.append_many("s", name, new_turns("old"))

        async def meanwhile() -> None:
            if change == "truncate":
                await sessions.truncate("s")
            elif change in ("soft_delete", "delete"):
                await getattr(sessions, change)("s")
            else:
                await sessions.participants.delete("s", "a")
            if change == "bind":
                await sessions.participants.ensure("s", "a")
            if change in ("truncate", "bind"):
                # As many as before: the numbers alone would not tell.
                await sessions.turns.append_many("s", "a", new_turns("new"))

        integrator = Integrator(meanwhile)
        if change in ("soft_delete", "delete"):
            with pytest.raises(NotFoundError) as caught:
                await sessions.turns.integrate("s", integrator)
            assert caught.value.kind == "session"
            if change == "soft_delete":
                assert insights_of(await sessions.undelete("s")) == [[], []]
            return
        integration = await sessions.turns.integrate("s", integrator)
        assert integration.results[0] == ParticipantIntegration(participant_id="a", status=NOTHING_NEW)
        found = {one.id: one.insights for one in integration.session.participants}
        assert (
            found
            == {
                "truncate": {"a": [], "b": []},
                "unbind": {"b": ["old"]},
                "bind": {"b": ["old"], "a": []},
            }[change]
        )
        assert ("b", [1]) in integrator.handed or change == "truncate"
        integration = await sessions.turns.integrate("s", Integrator())
        found = {one.id: one.insights for one in integration.session.participants}
        assert found.get("a") == (None if change == "unbind" else ["new"])
