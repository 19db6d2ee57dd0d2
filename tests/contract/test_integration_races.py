"""What integrations promise while turns come and go and others integrate, on every engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mongostore import AsyncMongoStore, NotFoundError, ParticipantIntegration
from tests.contract.integrating import FAILED, INTEGRATED, NOTHING_NEW, Integrator, insights_of
from tests.contract.turns import said


class TestIntegrationRaces:
    async def test_a_turn_that_comes_meanwhile_waits_for_the_next_call(self, store: AsyncMongoStore) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a", "b"])
        await sessions.append_chat_turns("s", "a", said(1, 2))
        await sessions.append_chat_turns("s", "b", said(1))

        async def meanwhile() -> None:
            await sessions.append_chat_turns("s", "a", said(3))
            await sessions.append_chat_turns("s", "b", said(2, 3))

        integrator = Integrator(meanwhile)
        first = await sessions.integrate("s", integrator)
        assert [one.last_integration_turn for one in first.results] == [2, 1]
        assert [one.chat_turn_count for one in first.session.participants] == [3, 3]
        second = await sessions.integrate("s", integrator)
        assert insights_of(second.session) == [[1, 2, 3], [1, 2, 3]]
        assert integrator.handed == [("a", [1, 2]), ("b", [1]), ("a", [3]), ("b", [2, 3])]

    async def test_what_another_integration_has_covered_meanwhile_is_left_to_it(
        self, store: AsyncMongoStore
    ) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a"])
        await sessions.append_chat_turns("s", "a", said(1, 2))

        async def faster() -> None:
            [result] = (await sessions.integrate("s", lambda *_: ["faster"])).results
            assert result.status is INTEGRATED

        slower = Integrator(faster)
        [result] = (await sessions.integrate("s", slower)).results
        assert result == ParticipantIntegration(participant="a", status=NOTHING_NEW, last_integration_turn=2)
        assert insights_of(await sessions.get("s")) == [["faster"]]
        assert slower.handed == [("a", [1, 2])]

    async def test_what_another_integration_has_left_is_gone_on_with(self, store: AsyncMongoStore) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a"])
        await sessions.append_chat_turns("s", "a", said(1))

        async def second_begins() -> None:
            await sessions.append_chat_turns("s", "a", said(2, 3))

            async def first_ends() -> None:
                proceed.set()
                await first_done.wait()

            second = Integrator(first_ends)
            results.append((second, asyncio.create_task(sessions.integrate("s", second))))
            await proceed.wait()

        results: list[Any] = []
        proceed, first_done = asyncio.Event(), asyncio.Event()
        [result] = (await sessions.integrate("s", Integrator(second_begins))).results
        assert (result.turns_integrated, result.last_integration_turn) == (1, 1)
        first_done.set()
        [(second, task)] = results
        [result] = (await task).results
        assert (result.status, result.turns_integrated, result.last_integration_turn) == (INTEGRATED, 2, 3)
        assert second.handed == [("a", [1, 2, 3]), ("a", [2, 3])]
        assert insights_of(await sessions.get("s")) == [[1, 2, 3]]

    async def test_parallel_integrations_count_each_turn_once(self, store: AsyncMongoStore) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a", "b"])
        covered = {"a": 0, "b": 0}

        async def integrate() -> None:
            for _ in range(5):
                for result in (await sessions.integrate("s", Integrator())).results:
                    assert result.status is not FAILED
                    assert result.insights_added == result.turns_integrated
                    covered[result.participant] += result.turns_integrated

        async def append(caller: int) -> None:
            for n in range(20):
                await sessions.append_chat_turns("s", "ab"[n % 2], said(f"{caller}.{n}", f"{caller}.{n}'"))

        await asyncio.gather(*(append(caller) for caller in range(6)), *(integrate() for _ in range(6)))
        await integrate()
        for bound in await sessions.list_participants("s"):
            assert bound.chat_turn_count == bound.last_integration_turn == covered[bound.participant] == 120
            turns = sessions.iter_chat_turns("s", bound.participant)
            assert bound.insights == [turn.content async for turn in turns]

    @pytest.mark.parametrize("change", ["truncate", "unbind", "bind", "delete", "purge"])
    async def test_insights_of_what_is_gone_meanwhile_are_dropped(
        self, store: AsyncMongoStore, change: str
    ) -> None:
        sessions = store.sessions
        await sessions.create("s", participants=["a", "b"])
        for name in "ab":
            await sessions.append_chat_turns("s", name, said("old"))

        async def meanwhile() -> None:
            if change == "truncate":
                await sessions.truncate("s")
            elif change in ("delete", "purge"):
                await getattr(sessions, change)("s")
            else:
                await sessions.unbind_participant("s", "a")
            if change == "bind":
                await sessions.bind_participant("s", "a")
            if change in ("truncate", "bind"):
                # As many as before: the numbers alone would not tell.
                await sessions.append_chat_turns("s", "a", said("new"))

        integrator = Integrator(meanwhile)
        if change in ("delete", "purge"):
            with pytest.raises(NotFoundError) as caught:
                await sessions.integrate("s", integrator)
            assert caught.value.kind == "session"
            if change == "delete":
                assert insights_of(await sessions.restore("s")) == [[], []]
            return
        integration = await sessions.integrate("s", integrator)
        assert integration.results[0] == ParticipantIntegration(participant="a", status=NOTHING_NEW)
        found = {one.participant: one.insights for one in integration.session.participants}
        assert (
            found
            == {
                "truncate": {"a": [], "b": []},
                "unbind": {"b": ["old"]},
                "bind": {"b": ["old"], "a": []},
            }[change]
        )
        assert ("b", [1]) in integrator.handed or change == "truncate"
        integration = await sessions.integrate("s", Integrator())
        found = {one.participant: one.insights for one in integration.session.participants}
        assert found.get("a") == (None if change == "unbind" else ["new"])
